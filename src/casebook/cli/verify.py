"""casebook verify"""

import typer

from ..formatting import one_line
from .output import print_json


def verify(
    bundle: str = typer.Argument(..., help="Bundle to check. No code inside it is run."),
    signed_by: str = typer.Option(
        None, "--signed-by", metavar="PUBLIC.pem", help="Its signature must have been made with this key's other half."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:
    """Say whether a bundle is whole, who signed it, and whether it answers here as where it was made."""
    from casebook.workflows.verify import verify as verify_bundle

    found = verify_bundle(bundle, signed_by=signed_by)
    if json_:
        print_json(found.to_dict() | {"signed_by": signed_by})
    else:
        if signed_by:
            print(f"signature: made with the key of {signed_by}")
        print("\n".join(map(one_line, found.lines())))
    if not found.is_passed:
        raise typer.Exit(1)
