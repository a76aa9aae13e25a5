"""Who may ask the studio: a launch token that works once, a cookie that it becomes, and a token in the page.

Only hashes are kept on disk. They outlive the server, so a tab that is open goes on after a restart.
"""

import hashlib
import hmac
import json
import secrets
import time
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..files import write_json

MOST_SESSIONS = 16
SESSION_SECONDS = 30 * 24 * 3600


class Sessions:
    """The launch token of this start, and the browsers that have used one."""

    def __init__(self, folder: Path):
        self._path = folder / "session.json"
        self.launch_token: str | None = secrets.token_urlsafe(32)
        document = self._read()
        self.last_port: int = document["port"]
        self._created: dict[str, float] = document["sessions"]

    def launch(self, token: str) -> str | None:
        """A new cookie for the right token, which is then used up; None for any other."""
        if self.launch_token is None or not hmac.compare_digest(token.encode(), self.launch_token.encode()):
            return None
        self.launch_token = None
        cookie = secrets.token_urlsafe(32)
        self._created[_hash(cookie)] = time.time()
        self._created = dict(sorted(self._created.items(), key=lambda item: item[1])[-MOST_SESSIONS:])
        self._write()
        return cookie

    def knows(self, cookie: str) -> bool:
        created = self._created.get(_hash(cookie))
        return created is not None and time.time() - created < SESSION_SECONDS

    def keep_port(self, port: int) -> None:
        """So that the next start is found at the same address."""
        self.last_port = port
        self._write()

    def _read(self) -> dict[str, Any]:
        try:
            document = json.loads(self._path.read_text(encoding="utf-8"))
            port, created = int(document["port"]), dict(document["sessions"])
            if 0 <= port <= 65535 and all(isinstance(time, int | float) for time in created.values()):
                return {"port": port, "sessions": created}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return {"port": 0, "sessions": {}}

    def _write(self) -> None:
        try:
            write_json(self._path, {"port": self.last_port, "sessions": self._created})
            self._path.chmod(0o600)
        except (RunError, OSError):
            pass  # a full disk: the session lasts as long as the server


def page_token(cookie: str) -> str:
    """What a page sends with each change. It follows from the cookie, which scripts cannot read."""
    return hmac.new(cookie.encode(), b"casebook page", hashlib.sha256).hexdigest()


def cookie_name(port: int) -> str:
    """Browsers keep cookies by host, not by port; two studios must not overwrite each other's."""
    return f"casebook_studio_{port}"


def _hash(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
