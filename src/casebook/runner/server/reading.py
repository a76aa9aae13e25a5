"""The body of a request, read under limits of size, speed and memory."""

import time
import zlib
from asyncio import timeout

from starlette.requests import Request

from .admission import Share
from .refusals import ClientGone, Refused
from .settings import MIB, Limits

WINDOW_BITS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_body(request: Request, limits: Limits, share: Share) -> bytes:
    """The whole body, decompressed. Raises Refused (400, 408, 413, 415, 503) and ClientGone."""
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.body_bytes:
        raise _too_large(limits)
    chunks, size, started = [], 0, time.monotonic()
    while True:
        try:
            async with timeout(limits.idle_seconds):
                message = await request.receive()
        except TimeoutError:
            raise Refused(408, "too_slow", f"no data came for {limits.idle_seconds:g} s") from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limits.body_bytes:
            raise _too_large(limits)
        share.take(num_bytes=len(chunk))
        chunks.append(chunk)
        if not message.get("more_body", False):
            return decompressed(b"".join(chunks), request.headers.get("content-encoding", "identity"), limits, share)
        allowed = limits.idle_seconds + size / limits.min_bytes_per_second
        if time.monotonic() - started > allowed:
            raise Refused(408, "too_slow", f"the body came at less than {limits.min_bytes_per_second} bytes a second")


def decompressed(body: bytes, encoding: str, limits: Limits, share: Share) -> bytes:
    """The body with its Content-Encoding undone, never more than the limit of a body."""
    encoding = encoding.strip().lower()
    if not body or encoding in ("", "identity"):
        return body
    if encoding not in WINDOW_BITS:
        raise Refused(415, "unknown_encoding", f"Content-Encoding is {encoding[:50]!r}, expected gzip or deflate")
    unpacker = zlib.decompressobj(WINDOW_BITS[encoding])
    try:
        found = unpacker.decompress(body, limits.body_bytes + 1)
    except zlib.error as error:
        raise Refused(400, "bad_encoding", f"the body is no {encoding} data ({error})") from error
    if len(found) > limits.body_bytes:
        raise _too_large(limits)
    if not unpacker.eof or unpacker.unused_data:
        raise Refused(400, "bad_encoding", f"the {encoding} data is cut off or has something after its end")
    share.take(num_bytes=len(found))
    return found


def _too_large(limits: Limits) -> Refused:
    return Refused(413, "body_too_large", f"the body is larger than the limit of {limits.body_bytes / MIB:g} MiB")
