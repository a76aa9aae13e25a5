"""What works on networks of timm and on a module from a file: a table.

    python benchmarks/any_network.py PHOTOS [--pictures 120] [--names convnext_atto ...] [--page FILE.md]

PHOTOS is a folder of class folders. Each network is trained on some of its pictures for one epoch from random weights,
then counted, drawn, explained by Grad-CAM, exported as a bundle and asked again there. "no" comes with what was said.
Needs timm and torchvision.
"""

import argparse
import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import casebook
from casebook.errors import CasebookError

NAMES = (
    "convnext_atto", "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "regnetx_002", "tf_efficientnetv2_b0",
    "maxvit_pico_rw_256", "mobilenetv4_conv_small", "ghostnet_050", "repvgg_a0", "hrnet_w18_small", "dpn48b",
    "resmlp_12_224",
)  # fmt: skip
STEPS = ("train", "last:1", "count", "draw", "Grad-CAM", "export", "bundle")
MODULE = """
from torch import nn

def small(num_classes=2, in_channels=3):
    def block(a, b):
        return nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b), nn.ReLU())
    blocks = [block(in_channels, 16), block(16, 32), block(32, 64)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
"""


def some_pictures(folder: Path, count: int, to: Path) -> Path:
    """A folder with the first pictures of each class."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    for path in classes:
        (to / path.name).mkdir(parents=True)
        for picture in sorted(path.iterdir())[: count // len(classes)]:
            shutil.copy(picture, to / path.name)
    return to


def row(name: str, data: Path, scratch: Path) -> dict[str, str]:
    """What each step said: "yes", or the reason why not."""
    said: dict[str, str] = {}
    picture = next(data.glob("*/*"))
    run = scratch / name.replace("/", "-").replace(":", "-")
    bundle = run.with_suffix(".casebook")

    def train() -> None:
        casebook.train(str(data), model=name, recipe="scratch", epochs=1, batch_size=16, out=run, workers=0)

    def stages() -> None:
        settings = {"transfer": "last:1", "weights": str(run), "epochs": 1, "batch_size": 16, "workers": 0}
        casebook.train(str(data), model=name, recipe="transfer", out=Path(f"{run}-stage"), **settings)

    def same() -> None:
        ours, bundled = (casebook.load(one).probabilities([picture]) for one in (run, bundle))
        if abs(ours - bundled).max() > 1e-4:
            raise CasebookError("the bundle answers otherwise")

    steps: dict[str, Callable[[], object]] = {
        "train": train,
        "last:1": stages,
        "count": lambda: casebook.count(name),
        "draw": lambda: casebook.draw(name, out=scratch / "drawing.svg"),
        "Grad-CAM": lambda: list(casebook.explain(run, [picture], method="grad-cam")),
        "export": lambda: casebook.export(run, bundle, settings=casebook.ExportSettings(int8="off")),
        "bundle": same,
    }
    for step, do in steps.items():
        began = time.perf_counter()
        try:
            do()
            said[step] = "yes"
        except CasebookError as error:
            said[step] = f"no: {error}"
        print(f"{name}: {step}: {said[step]} ({time.perf_counter() - began:.0f} s)", flush=True)
    return said


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--pictures", type=int, default=120)
    parser.add_argument("--names", nargs="+", default=NAMES)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    with working_folder() as scratch:
        data = some_pictures(given.photos, given.pictures, scratch / "data")
        module = scratch / "net.py"
        module.write_text(MODULE)
        casebook.trust_code(f"{module}:small")
        lines = [
            "| network | weights | multiply-adds | stages | " + " | ".join(STEPS) + " |",
            "| --- " * (4 + len(STEPS)) + "|",
        ]
        for name in [f"{module}:small", *(f"timm/{name}" for name in given.names)]:
            said = row(name, data, scratch)
            counted, shown = casebook.count(name).total, name.replace(f"{scratch}/", "")
            stages = len(casebook.create_model(name).stages)
            cells = [f"`{shown}`", f"{counted.parameters:,}", f"{counted.multiply_adds:,}", str(stages), *said.values()]
            lines.append("| " + " | ".join(cells) + " |")
    print("\n".join(lines))
    if given.page:
        given.page.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
