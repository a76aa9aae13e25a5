"""casebook export"""

import shlex

import typer

from ..formatting import size_text
from ..progress import TerminalDisplay
from .output import next_step, print_json


def export(
    model: str = typer.Argument(
        ..., help="Run folder, or the name of a network (then with --weights); with --web also a bundle."
    ),
    out: str = typer.Option(None, "--out", "-o", metavar="FILE", help="The bundle; default: MODEL.casebook, here."),
    weights: str = typer.Option(
        None, "--weights", "-w", help="Weights of a named network: file, run folder or published name."
    ),
    classes: str = typer.Option(None, "--classes", help="CSV of index,id,name: the names of the network's outputs."),
    int8: str = typer.Option(
        "auto",
        help="An 8-bit network as well: auto (if it is good enough), off, or require (fails if it is not).",
    ),
    max_drop: float = typer.Option(
        1.0,
        "--max-drop",
        metavar="POINTS",
        help="Accuracy that 8 bits may cost: upper end of the 95 % interval.",
    ),
    golden: str = typer.Option(
        None, "--golden", metavar="DIR", help="Pictures of yours to check the bundle with. They travel inside it."
    ),
    unsure: float = typer.Option(
        None, "--unsure", metavar="SHARE",
        help="The bundle says 'unsure' so that of its answers at most this share is wrong, such as 0.01 for 1 %.",
    ),
    web: str = typer.Option(
        None, "--web", metavar="DIR|FILE.html", help="Also write a page that classifies pictures in a browser, offline."
    ),
    web_network: str = typer.Option(
        "float32", "--web-network", help="The page's network: float32, or int8 (a quarter of the size, slower)."
    ),
    onnxruntime_web: str = typer.Option(
        None,
        "--onnxruntime-web",
        metavar="DIR",
        help="The folder dist/ of the npm package onnxruntime-web, for --web where there is no network.",
    ),
    litert: str = typer.Option(
        None, "--litert", metavar="FILE.tflite", help="Also write a file for LiteRT on Android, compared with torch."
    ),
    coreml: str = typer.Option(
        None, "--coreml", metavar="DIR.mlpackage", help="Also write a Core ML package for Apple's devices; unproved."
    ),
    keras: str = typer.Option(
        None, "--keras", metavar="FILE.keras", help="Also write a file for Keras 3 on any backend, compared with torch."
    ),
    sign: str = typer.Option(
        None, "--sign", metavar="KEY.pem", help="Sign the bundle with this private Ed25519 key: MODEL.casebook.sig."
    ),
    json_: bool = typer.Option(False, "--json", help="Print one JSON document on stdout."),
) -> None:  # fmt: skip
    """Write a run as one file that runs anywhere without torch, and proves that it answers the same."""
    import casebook

    from ..runner.bundle import is_bundle

    settings = casebook.ExportSettings(golden=golden, unsure=unsure, int8=int8, max_drop=max_drop, sign=sign)  # type: ignore[arg-type]
    document, page, bundle = {}, None, model
    with TerminalDisplay() as display:
        if not (web and is_bundle(model)):
            exported = casebook.export(
                model, out, weights=weights, classes=classes, settings=settings, progress=display
            )
            document, bundle = exported.document, str(exported.path)
        if web:
            page = casebook.export_web(bundle, web, network=web_network, runtime=onnxruntime_web, progress=display)
            document["web"] = {"path": str(page.path), "bytes": page.size_bytes}
        if litert:
            worst = casebook.export_litert(model, litert, weights=weights, classes=classes)
            document["litert"] = {"path": litert, "worst_difference": worst}
        if keras:
            worst = casebook.export_keras(model, keras, weights=weights, classes=classes)
            document["keras"] = {"path": keras, "worst_difference": worst}
        if coreml:
            casebook.export_coreml(model, coreml, weights=weights, classes=classes)
            document["coreml"] = {"path": coreml}
    if json_:
        print_json(document)
        return
    if "bundle" in document:
        print(f"{bundle}: {size_text(document['bytes'])}, SHA-256 {document['sha256'][:16]}...")
    if document.get("signature"):
        print(f"{document['signature']}: its signature; 'casebook verify --signed-by PUBLIC.pem' checks it")
    for name, network in document.get("networks", {}).items():
        print(
            f"{name}: probabilities within {network['worst_difference']:.1e} of torch's on {document['golden']} golden "
            "pictures"
        )
    for kind in ("litert", "keras"):
        if found := document.get(kind):
            print(f"{found['path']}: probabilities within {found['worst_difference']:.1e} of torch's")
    if coreml:
        print(f"{coreml}: unproved; compare its answers with 'casebook predict' on a Mac or a phone")
    if page is None:
        next_step(f"python {shlex.quote(bundle)} predict PICTURES", "needs NumPy, Pillow and onnxruntime only")
        return
    print(f"{page.path}: {size_text(page.size_bytes)}")
    if page.path.is_dir():
        next_step(f"python -m http.server -d {shlex.quote(str(page.path))}", "serves the page on port 8000")
    else:
        next_step(f"open {shlex.quote(str(page.path))} in a browser", "it needs no server and no network")
