"""casebook studio"""

import typer


def studio(
    folder: str = typer.Argument(
        ".", help="The folder of the class folders, or one above; runs go to its folder runs."
    ),
    port: int = typer.Option(0, "--port", "-p", min=0, max=65535, help="Port; 0: the last one, or a free one."),
    host: str = typer.Option(
        "127.0.0.1", "--host", help="127.0.0.1 or localhost; the studio is for this machine alone."
    ),
    no_browser: bool = typer.Option(False, "--no-browser", help="Only print the address."),
) -> None:
    """Open the studio: a page in the browser that gathers, checks, labels, trains, explains and exports."""
    from casebook.studio.launch import open_studio

    open_studio(folder, host=host, port=port, browser=not no_browser)
