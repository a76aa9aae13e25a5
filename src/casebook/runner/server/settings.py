"""How a server is started: plain data, checked once."""

import dataclasses
import ipaddress
import os
from pathlib import Path

from ...errors import ServerError

MIB = 2**20
BACKLOG = 2048  # connections that the system holds until they are accepted
TOKEN_VARIABLE = "CASEBOOK_TOKEN"
MIN_TOKEN = 16  # characters


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may take."""

    body_bytes: int = 64 * MIB
    """Of a request, also after decompression."""
    json_bytes: int = 8 * MIB
    """Of the JSON in a request; parsing more would hold up the other requests."""
    total_bytes: int = 512 * MIB
    """Of all bodies in memory at once."""
    pictures: int = 64
    """In one request."""
    queue: int = 512
    """Pictures that were accepted and are not answered yet."""
    connections: int = 2000
    header_seconds: float = 5.0
    """To send the headers of a request."""
    idle_seconds: float = 5.0
    """Between two pieces of a body."""
    min_bytes_per_second: int = 8_000
    """Of a body, after the first `idle_seconds`."""
    answer_seconds: float = 30.0
    """From the whole request to its answer."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ServerError(f"{field.name} is {value}, expected more than 0")


@dataclasses.dataclass(frozen=True)
class Batching:
    """How pictures of different requests share a call of the engine."""

    max_pictures: int = 8
    wait_ms: float = 0.0
    """How long the first picture waits for others while the engine is free; 0 takes those that already wait."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_pictures <= 1024:
            raise ServerError(f"a batch of {self.max_pictures} pictures was asked for, expected 1 to 1024")
        if not 0 <= self.wait_ms <= 1000:
            raise ServerError(f"a batch is to wait {self.wait_ms} ms, expected 0 to 1000")


@dataclasses.dataclass(frozen=True)
class Access:
    """Who may ask the server, and from where."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    """Asked for in "Authorization: Bearer TOKEN", where given."""
    cors: tuple[str, ...] = ()
    """Origins whose pages may call the server, such as "https://example.org"."""
    hosts: tuple[str, ...] = ()
    """Names besides "localhost" under which a server on loopback is asked."""

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ServerError(f"port is {self.port}, expected 0 to 65535")
        if self.token is not None and (len(self.token) < MIN_TOKEN or not self.token.isascii()):
            raise ServerError(
                f"the token has to have {MIN_TOKEN} or more ASCII characters; openssl rand -hex 32 makes one"
            )
        if self.token is None and not self.loopback:
            raise ServerError(
                f"host {self.host} lets other machines in, so a token is needed: "
                f"give --token-file FILE or set {TOKEN_VARIABLE}"
            )
        for origin in self.cors:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise ServerError(f"the CORS origin is {origin!r}, expected one such as https://example.org")

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        try:
            return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """All that a server needs besides its bundles."""

    access: Access = dataclasses.field(default_factory=Access)
    limits: Limits = dataclasses.field(default_factory=Limits)
    batching: Batching = dataclasses.field(default_factory=Batching)
    engine: str | None = None
    network: str | None = None
    threads: int = 0
    """Of the engine. Without engine, network and threads, `bench`'s choice counts, or the default."""
    decoders: int = 0
    """Threads that decode pictures; 0 means one for each core, at most four."""
    workers: int = 1
    """Processes."""
    signed_by: str | None = None
    """The file of a public key: bundles without a signature of its other half are not served, nor loaded later."""
    drain_seconds: float = 1.0
    """After a signal to stop, how long new connections are still answered; readiness is refused at once."""

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= 64:
            raise ServerError(f"workers is {self.workers}, expected 1 to 64")


def read_token(path: str | None) -> str | None:
    """The token in a file, or in the environment, or None. A command line would show it to every user."""
    if path is None:
        return os.environ.get(TOKEN_VARIABLE) or None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise ServerError(f"cannot read the token file {path}: {error}") from error
