"""casebook serve"""

import typer


def serve(
    bundles: list[str] = typer.Argument(..., help="Bundles: FILE, NAME=FILE or NAME@VERSION=FILE."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; others than loopback need a token."),
    port: int = typer.Option(8000, "--port", "-p", min=0, max=65535, help="Port; 0 takes a free one."),
    token_file: str = typer.Option(
        None, "--token-file", metavar="FILE", help="File with the token that clients send; or set CASEBOOK_TOKEN."
    ),
    cors: list[str] = typer.Option([], "--cors", metavar="ORIGIN", help="Let pages of this origin call; repeatable."),
    allow_host: list[str] = typer.Option(
        [],
        "--allow-host",
        metavar="NAME",
        help="Another name under which a server without a token is called; repeatable.",
    ),
    workers: int = typer.Option(1, "--workers", min=1, max=64, help="Processes."),
    signed_by: str = typer.Option(
        None, "--signed-by", metavar="PUBLIC.pem", help="Serve only bundles that this key's other half has signed."
    ),
    engine: str = typer.Option(None, "--engine", help="onnxruntime or openvino; default: what 'bench' chose here."),
    network: str = typer.Option(None, "--network", help="float32 or int8; default: what 'bench' chose here."),
    threads: int = typer.Option(0, "--threads", min=0, help="Engine threads of each process; 0: the cores, shared."),
    max_batch: int = typer.Option(8, "--max-batch", min=1, max=1024, help="Pictures in one call of the engine."),
    batch_wait_ms: float = typer.Option(
        0.0, "--batch-wait-ms", min=0, max=1000, help="How long the first picture waits for others."
    ),
    queue: int = typer.Option(512, "--queue", min=1, help="Pictures that may wait; more are answered with 503."),
    max_body_mib: float = typer.Option(64, "--max-body-mib", help="Largest body of a request."),
    time_limit: float = typer.Option(30, "--time-limit", help="Seconds for an answer."),
) -> None:
    """Answer pictures over HTTP: a page, a JSON API, and the Open Inference Protocol V2."""
    from casebook.runner.server.settings import MIB, Access, Batching, Limits, ServerSettings, read_token
    from casebook.workflows.serve import serve as serve_bundles

    settings = ServerSettings(
        access=Access(host, port, read_token(token_file), tuple(cors), tuple(allow_host)),
        limits=Limits(body_bytes=round(max_body_mib * MIB), queue=queue, answer_seconds=time_limit),
        batching=Batching(max_batch, batch_wait_ms),
        engine=engine, network=network, threads=threads, workers=workers, signed_by=signed_by,
    )  # fmt: skip
    serve_bundles(bundles, settings)
