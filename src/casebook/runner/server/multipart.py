"""multipart/form-data in memory. Starlette's own form parser writes large files to the disk, which we never do."""

import re
from typing import NamedTuple

from .refusals import bad_request

MAX_HEADER_BYTES = 8192
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{1,70}")  # RFC 2046, section 5.1.1

PARAMETER = re.compile(r';\s*([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]*))')


class Part(NamedTuple):
    field: str
    filename: str | None
    content: bytes


def parse_multipart(content_type: str, body: bytes, *, max_parts: int) -> list[Part]:
    """The parts in their order. Raises Refused (400)."""
    boundary = _parameters(content_type).get("boundary", "")
    if not BOUNDARY.fullmatch(boundary):
        raise bad_request("the Content-Type of a multipart body needs a boundary", "bad_multipart")
    mark = b"--" + boundary.encode("ascii")
    if not body.startswith(mark) and (b"\r\n" + mark) not in body:
        raise bad_request("the multipart body does not contain its boundary", "bad_multipart")
    position = 0 if body.startswith(mark) else body.index(b"\r\n" + mark) + 2
    parts: list[Part] = []
    while not body.startswith(b"--", position + len(mark)):
        line_end = body.find(b"\r\n", position + len(mark))
        if line_end < 0 or body[position + len(mark) : line_end].strip(b" \t"):
            raise bad_request("a boundary in the multipart body is not on a line of its own", "bad_multipart")
        end = body.find(b"\r\n" + mark, line_end)
        if end < 0:
            raise bad_request("the multipart body is cut off: its last boundary is missing", "bad_multipart")
        if len(parts) == max_parts:
            raise bad_request(f"the multipart body has more than {max_parts} parts", "too_many_parts")
        parts.append(_part(body, line_end + 2, end))
        position = end + 2
    return parts


def _part(body: bytes, start: int, end: int) -> Part:
    blank = body.find(b"\r\n\r\n", start - 2, min(end, start + MAX_HEADER_BYTES))
    if blank < 0:
        raise bad_request("a part of the multipart body has no headers, or too long ones", "bad_multipart")
    headers: dict[str, str] = {}
    for line in body[start:blank].decode("utf-8", "replace").split("\r\n"):
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    disposition = _parameters(headers.get("content-disposition", ""))
    if headers.get("content-transfer-encoding", "binary").lower() not in ("binary", "8bit", "7bit"):
        raise bad_request("a part has a Content-Transfer-Encoding; send the plain bytes", "bad_multipart")
    return Part(disposition.get("name", ""), disposition.get("filename"), body[blank + 4 : end])


def _parameters(value: str) -> dict[str, str]:
    """The parameters of a header, such as `name` and `filename`, without their quotes."""
    return {
        match[1].lower(): match[3] if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        for match in PARAMETER.finditer(value)
    }
