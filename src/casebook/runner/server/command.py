"""The options of `serve` for a bundle's own command line."""

import argparse
from pathlib import Path

from ..engine import DEFAULT_ENGINE, ENGINES
from .settings import MIB, Access, Batching, Limits, ServerSettings, read_token


def add_options(parser: argparse.ArgumentParser) -> None:
    """The same options as those of `casebook serve`."""
    access, limits, batching = Access(), Limits(), Batching()
    for name, kind, default, text in (
        ("--host", str, access.host, "the address to listen on; any but this machine's own needs a token"),
        ("--port", int, access.port, "0 takes a free one"),
        ("--token-file", str, None, "a file with the token that clients send; or set CASEBOOK_TOKEN"),
        ("--workers", int, 1, "processes"),
        ("--network", str, None, "float32 or int8; default: what bench chose, else float32"),
        ("--threads", int, 0, "of the engine in each process; 0: all cores, shared by the processes"),
        ("--max-batch", int, batching.max_pictures, "pictures in one call of the engine"),
        ("--batch-wait-ms", float, batching.wait_ms, "how long the first picture waits for others"),
        ("--queue", int, limits.queue, "pictures that may wait; more are answered with 503"),
        ("--max-body-mib", float, limits.body_bytes / MIB, "the largest body of a request"),
        ("--time-limit", float, limits.answer_seconds, "seconds for an answer"),
    ):
        shown = text if default is None else f"{text} (default {default})"
        parser.add_argument(name, type=kind, default=default, help=shown)
    parser.add_argument("--engine", choices=ENGINES, help=f"default: what bench chose, else {DEFAULT_ENGINE}")
    parser.add_argument("--cors", action="append", default=[], metavar="ORIGIN", help="lets pages of this origin call")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="another name of this machine"
    )


def serve_bundle(path: Path, given: argparse.Namespace) -> int:
    """Serves one bundle; gives the exit code. Raises CasebookError."""
    from .models import Source
    from .serving import serve

    settings = ServerSettings(
        access=Access(given.host, given.port, read_token(given.token_file), tuple(given.cors), tuple(given.allow_host)),
        limits=Limits(
            body_bytes=round(given.max_body_mib * MIB), queue=given.queue, answer_seconds=given.time_limit
        ),
        batching=Batching(given.max_batch, given.batch_wait_ms),
        engine=given.engine, network=given.network, threads=given.threads, workers=given.workers,
    )  # fmt: skip
    serve([Source(path)], settings)
    return 0
