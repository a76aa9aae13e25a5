"""An 8-bit network on a processor without VNNI, emulated, beside this one.

    python benchmarks/old_processor.py mobilenet_v2 --weights FILE --classes CSV --data FOLDER --pictures 250

The network is quantised here, with the ranges of 64 pictures and a setting chosen on 64 more. Then onnxruntime answers
for others, here and in the emulator, with and without the care that the runner takes where products of 8 bits overflow.
Needs qemu-user.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

AT_ONCE = 10


def answer(folder: Path) -> None:
    """In the emulator: the answers with and without care, as files. Needs no torch."""
    from casebook.runner.engine import open_engine, saturates

    pixels, content = np.load(folder / "pixels.npy"), (folder / "int8.onnx").read_bytes()
    print(f"8-bit products overflow: {saturates()}")
    for exact in (True, False):
        engine = open_engine("onnxruntime", content, threads=1, exact=exact)
        parts = [engine(pixels[i : i + AT_ONCE]).probabilities for i in range(0, len(pixels), AT_ONCE)]
        np.save(folder / f"{exact}.npy", np.concatenate(parts))


def compare(given: argparse.Namespace, folder: Path) -> None:
    from engines import CALIBRATION, pictures_of

    import casebook
    from casebook.deployment.graph import export_graph
    from casebook.deployment.quantise import NUM_PICTURES, quantise
    from casebook.evaluation.paired import paired_error

    classifier = casebook.load(given.network, weights=given.weights, classes=given.classes, device="cpu")
    pixels, labels = pictures_of(classifier, given.data)
    small = quantise(export_graph(classifier), pixels[:NUM_PICTURES], pixels[NUM_PICTURES:CALIBRATION])
    (folder / "int8.onnx").write_bytes(small.network)
    pixels, labels = (part[CALIBRATION : CALIBRATION + given.pictures] for part in (pixels, labels))
    np.save(folder / "pixels.npy", pixels)
    said = {}
    for where, command in (("here", []), (given.emulator, shlex.split(given.emulator))):
        script = [sys.executable, __file__, "--inside", str(folder)]
        done = subprocess.run([*command, *script], check=True, text=True, stdout=subprocess.PIPE)
        print(f"{where}: {done.stdout.strip()}", flush=True)
        for care in (True, False):
            said[where, care] = np.load(folder / f"{care}.npy")
    reference = said["here", True]
    for (where, care), found in said.items():
        paired = paired_error(found.argmax(1) != labels, reference.argmax(1) != labels)
        low, high = (100 * end for end in paired["interval"])
        print(
            f"{where}, {'with' if care else 'without'} care: "
            f"{(found.argmax(1) == labels).sum()} of {len(labels)} right, "
            f"largest difference of a probability {np.abs(found - reference).max():.1e}, "
            f"cost {100 * paired['difference']:.2f} points ({low:.2f} to {high:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", nargs="?")
    parser.add_argument("--weights")
    parser.add_argument("--classes")
    parser.add_argument("--data")
    parser.add_argument("--pictures", type=int, default=250)
    parser.add_argument("--emulator", default="qemu-x86_64 -cpu Haswell")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        answer(given.inside)
        return
    with tempfile.TemporaryDirectory() as scratch:
        compare(given, Path(scratch))


if __name__ == "__main__":
    main()
