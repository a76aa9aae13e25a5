"""Verify in one call: a bundle -> whether it is whole, signed, and answers as it should."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runner.verify import Verified


def verify(bundle: str | Path, *, signed_by: str | Path | None = None) -> "Verified":
    """Checks every byte of a bundle, and its answers for its golden pictures, without running code inside it.

    With `signed_by`, a public Ed25519 key in PEM, the bundle must have a signature of the matching private key; see
    `export` with `sign`. Raises BundleError for a file that is damaged or signed by nobody or somebody else. Other
    answers than where it was made are no error: see the result's `is_passed`.
    """
    from ..runner.bundle import Bundle
    from ..runner.signature import check_signature
    from ..runner.verify import verify as verify_opened

    opened = Bundle.open(bundle)
    if signed_by is not None:
        check_signature(opened, signed_by)
    return verify_opened(opened)
