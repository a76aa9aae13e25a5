"""Tasks that make something to take away or to look at: export, draw."""

from collections.abc import Mapping
from typing import Any

import casebook

from ...errors import ModelError
from ...models import list_models
from .pictures import RUN, files_folder, run_path
from .task import Field, Task, Work


def export(work: Work) -> Mapping[str, Any]:
    """A bundle in exports/, and on request a page that classifies in a browser and a Keras file with its labels."""
    name, folder = work.settings["run"], work.studio.root / "exports"
    path = run_path(work, name)
    if work.settings.get("keras"):
        from ...models.keras.network import import_keras

        import_keras()  # before the minute that the rest may take
    folder.mkdir(exist_ok=True)
    settings = casebook.ExportSettings(int8=work.settings.get("int8", "auto"), unsure=work.settings.get("unsure"))
    found = casebook.export(path, folder / f"{name}.casebook", settings=settings, progress=work.report)
    exported = [found.path.name]
    if work.settings.get("web"):
        page = casebook.export_web(found.path, folder / f"{name}.html", progress=work.report)
        exported.append(page.path.name)
    if work.settings.get("keras"):
        casebook.export_keras(path, folder / f"{name}.keras")
        exported += [f"{name}.keras", f"{name}.json"]
    document = {key: found.document[key] for key in ("bytes", "sha256", "golden", "networks", "int8")}
    return {"exported": exported, "folder": "exports", **document}


def draw(work: Work) -> Mapping[str, Any]:
    network = work.settings["network"]
    if network not in list_models():
        raise ModelError(f"there is no network {network!r}; the list has all of them")
    folder = files_folder(work)
    drawing = casebook.draw(network, level=work.settings.get("level"))
    if work.settings.get("level", "strip") == "strip":
        drawing.write(folder / "drawing.svg")
        return {"files": ["drawing.svg"]}
    casebook.draw(network, level=work.settings["level"], out=folder / "drawing.html")
    return {"files": ["drawing.html"]}


TASKS = (
    Task("export", "export", export, {"run": RUN, "int8": Field(str, choices=("auto", "off", "require")),
                                      "unsure": Field(float, least=0.0001, most=0.5), "web": Field(bool),
                                      "keras": Field(bool)}),
    Task("draw", "drawing", draw, {"network": Field(str, required=True, most=80),
                                   "level": Field(str, choices=("strip", "block", "layers"))}, needs_project=False),
)  # fmt: skip
