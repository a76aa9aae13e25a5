"""The command line of a bundle: python NAME.casebook predict PICTURES | verify | bench | info | serve."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BundleError, CasebookError
from ..formatting import one_line
from .answers import open_answerer
from .bench import SECONDS, bench
from .bundle import Bundle
from .choice import remember
from .engine import DEFAULT_ENGINE, ENGINES
from .server.command import add_options, serve_bundle
from .verify import verify


def main(arguments: Sequence[str] | None = None, *, bundle: str | Path | None = None) -> int:
    """Runs a command on the bundle that this code travels in, or on `bundle`; gives the exit code."""
    path = Path(sys.argv[0]) if bundle is None else Path(bundle)
    given = parser(path.name).parse_args(arguments)
    try:
        return given.command(path, given)
    except CasebookError as error:
        print(f"Error: {one_line(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1


def parser(name: str) -> argparse.ArgumentParser:
    """Of the bundle called `name`."""
    found = argparse.ArgumentParser(prog=f"python {name}", description="A picture classifier that runs itself.")
    commands = found.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="say what is in pictures")
    predict.add_argument("pictures", nargs="+", help="files, folders or patterns")
    predict.add_argument("--top", "-k", type=int, default=5, help="classes to name for each picture (default 5)")
    predict.add_argument("--network", help="float32 or int8; default: what bench chose, else float32")
    predict.add_argument("--engine", choices=ENGINES, help=f"default: what bench chose, else {DEFAULT_ENGINE}")
    predict.add_argument("--threads", type=int, default=0, help="default: what bench chose, else all cores")
    predict.set_defaults(command=_predict)
    check = commands.add_parser("verify", help="say whether this machine gives the answers of the one that made it")
    check.add_argument("--engine", choices=ENGINES, default=DEFAULT_ENGINE, help=f"default {DEFAULT_ENGINE}")
    check.add_argument("--threads", type=int, default=0, help="default: all cores that the process may use")
    check.set_defaults(command=_verify)
    measure = commands.add_parser("bench", help="find the fastest way to answer on this machine, and keep it")
    measure.add_argument("--seconds", type=float, default=SECONDS, help=f"for each way (default {SECONDS:g})")
    measure.set_defaults(command=_bench)
    info = commands.add_parser("info", help="say what the bundle holds")
    info.set_defaults(command=_info)
    serve = commands.add_parser("serve", help="answer pictures over HTTP")
    add_options(serve)
    serve.set_defaults(command=serve_bundle)
    for command in (predict, check, measure, info):
        command.add_argument("--json", action="store_true", help="print one JSON document")
    return found


def _predict(path: Path, given: argparse.Namespace) -> int:
    answerer = open_answerer(path, engine=given.engine, network=given.network, threads=given.threads)
    records, failed = [], 0
    for answer in answerer.stream(given.pictures, top=given.top):
        failed += answer.error is not None
        if given.json:
            records.append(answer.to_dict())
        elif answer.error is not None:
            print(f"Error: {one_line(answer.picture)}: {one_line(answer.error)}", file=sys.stderr)
        else:
            print(one_line(str(answer)))
    if given.json:
        _print_json({"model": path.name, "pictures": records, "errors": failed})
    return 1 if failed else 0


def _verify(path: Path, given: argparse.Namespace) -> int:
    found = verify(Bundle.open(path), engine=given.engine, threads=given.threads)
    if given.json:
        _print_json(found.to_dict())
    else:
        print("\n".join(map(one_line, found.lines())))
    return 0 if found.is_passed else 1


def _bench(path: Path, given: argparse.Namespace) -> int:
    bundle = Bundle.open(path)
    rows = bench(bundle, seconds=given.seconds)
    fastest = rows[0]
    if fastest.problem:
        raise BundleError(f"nothing on this machine answers as it should: {fastest.problem}")
    file = remember(bundle, fastest.choice)
    if given.json:
        _print_json({"choice": fastest.choice._asdict(), "file": str(file), "rows": [row.to_dict() for row in rows]})
    else:
        print("\n".join(one_line(str(row)) for row in rows))
        print(f"chosen: {fastest.choice}; predict uses it from now on ({file})")
    return 0


def _info(path: Path, given: argparse.Namespace) -> int:
    bundle = Bundle.open(path)
    document = {key: value for key, value in bundle.manifest.items() if key != "members"}
    document |= {"sha256": bundle.sha256, "bytes": path.stat().st_size}
    if given.json:
        _print_json(document)
    else:
        for key, value in document.items():
            print(one_line(f"{key}: {json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value}"))
    return 0


def _print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))
