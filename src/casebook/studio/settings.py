"""How a studio is started, and where it keeps what: plain data, checked once."""

import dataclasses
from pathlib import Path

from ..errors import ServerError
from ..runner.server.settings import MIB, Limits

STATE = ".casebook-studio"
JSON_BYTES = MIB  # of the body of an ordinary request
LOOPBACK = ("127.0.0.1", "localhost")
UPLOAD_BYTES = 64 * MIB  # of one uploaded file


@dataclasses.dataclass(frozen=True)
class StudioSettings:
    """Raises ServerError for a folder that is none, and for an address that other machines can reach."""

    root: Path
    """Pictures are opened below it. Made absolute, without symbolic links."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes the port of the last start where it is free, else any."""
    limits: Limits = dataclasses.field(
        default_factory=lambda: Limits(body_bytes=UPLOAD_BYTES, json_bytes=JSON_BYTES, connections=200)
    )

    def __post_init__(self) -> None:
        try:
            root = self.root.expanduser().resolve(strict=True)
        except OSError as error:
            raise ServerError(f"there is no folder {str(self.root)!r}; name a folder with pictures") from error
        if not root.is_dir():
            raise ServerError(f"{self.root} is a file; name the folder that it is in")
        object.__setattr__(self, "root", root)
        if not 0 <= self.port <= 65535:
            raise ServerError(f"port is {self.port}, expected 0 to 65535")
        if self.host not in LOOPBACK:
            raise ServerError(
                f"host {self.host} lets other machines in, and the studio is for this machine alone; leave out --host. "
                "To use it from elsewhere, forward the port: ssh -L 8000:127.0.0.1:8000 MACHINE"
            )

    @property
    def state(self) -> Path:
        """The folder of the studio's own files."""
        return self.root / STATE

    @property
    def runs(self) -> Path:
        return self.root / "runs"
