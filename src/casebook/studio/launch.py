"""The studio in one call: checks what it needs, starts the server, opens the browser."""

import sys
import threading
import webbrowser
from importlib import util
from pathlib import Path

from ..errors import ServerError


def open_studio(folder: str | Path = ".", *, host: str = "127.0.0.1", port: int = 0, browser: bool = True) -> None:
    """Serves the studio of a folder until the process is told to stop, and prints the address that lets a browser in.

    Raises ServerError where the folder, the address or the packages are not there.
    """
    missing = [name for name in ("starlette", "uvicorn") if util.find_spec(name) is None]
    if missing:
        raise ServerError(f"the studio needs {' and '.join(missing)}; pip install 'casebook[studio]'")
    from .serving import serve
    from .settings import StudioSettings

    def opened(address: str) -> None:
        print(f"Casebook studio of {settings.root}\n\n    {address}\n", file=sys.stderr)
        print(
            "The address works once. Ctrl-C ends the studio; a training that runs goes on.", file=sys.stderr, flush=True
        )
        if browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    settings = StudioSettings(Path(folder), host, port)
    serve(settings, opened)
