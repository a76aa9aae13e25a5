"""Which names are those of networks from elsewhere, and whose code may run. Light, for the start of a command."""

import os
import re
from collections.abc import Iterable

TIMM = "timm/"
TRUST = "CASEBOOK_TRUST_CODE"
CODE = re.compile(r"(?!https?:)(?:[^:]+\.py|[A-Za-z_]\w*(?:\.\w+)*):[A-Za-z_]\w*")


def is_foreign(name: str) -> bool:
    """Whether a name is "timm/NAME", or the function of a user: "FILE.py:FUNCTION" or "PACKAGE.MODULE:FUNCTION"."""
    return name.startswith(TIMM) or CODE.fullmatch(name) is not None


def trust_named(arguments: Iterable[str]) -> None:
    """Trusts the code that somebody typed: the functions among the arguments of a command, for this process."""
    named = [argument for argument in arguments if CODE.fullmatch(argument) and not os.path.exists(argument)]  # noqa: PTH110
    if named:
        os.environ[TRUST] = ",".join([*filter(None, [os.environ.get(TRUST)]), *named])
