"""Six seeded trainings -> the SHA-256 of the weights each ends with, to show that a refactoring changes no bit.

Run it before and after the change, with the same torch and on the same machine, and compare:

    python benchmarks/same_weights.py PHOTOS WEIGHTS --out before.json
    python benchmarks/same_weights.py PHOTOS WEIGHTS --against before.json

PHOTOS has one folder for each class, WEIGHTS are for MobileNet v2. One thread computes, and nothing is taken from an
earlier run's cache.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import safetensors

PICTURES_PER_CLASS = 48
PHOTOS = ["--model", "mobilenet_v2", "--input-size", "96", "--epochs", "2", "--batch-size", "16", "--seed", "3"]
TRAININGS = {
    "digits": ["digits", "--epochs", "4"],
    "head": ["PHOTOS", *PHOTOS, "--weights", "WEIGHTS", "--transfer", "head"],
    "last:1": ["PHOTOS", *PHOTOS, "--weights", "WEIGHTS", "--transfer", "last:1"],
    "full": ["PHOTOS", *PHOTOS, "--weights", "WEIGHTS", "--transfer", "full", "--policy", "strong"],
    "cached views": ["PHOTOS", *PHOTOS, "--weights", "WEIGHTS", "--transfer", "head", "--set", "feature_views=3"],
    "two processes": ["PHOTOS", *PHOTOS, "--weights", "WEIGHTS", "--transfer", "last:2", "--workers", "1"],
}


def some_pictures(photos: Path, folder: Path) -> Path:
    """A folder with the first pictures of each class."""
    for of_class in sorted(path for path in photos.iterdir() if path.is_dir()):
        (folder / of_class.name).mkdir(parents=True)
        for picture in sorted(of_class.iterdir())[:PICTURES_PER_CLASS]:
            shutil.copy(picture, folder / of_class.name)
    return folder


def digest(path: Path) -> str:
    """Of names, types, shapes and values."""
    found = hashlib.sha256()
    with safetensors.safe_open(path, framework="np") as file:
        for name in sorted(file.keys()):
            value = file.get_tensor(name)
            found.update(f"{name} {value.dtype} {value.shape}\n".encode())
            found.update(value.tobytes())
    return found.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("photos", type=Path, metavar="PHOTOS")
    parser.add_argument("weights", type=Path, metavar="WEIGHTS")
    parser.add_argument("--out", type=Path, help="write the digests here")
    parser.add_argument("--against", type=Path, help="compare with the digests in this file")
    given = parser.parse_args()
    digests = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # "here" and not an absolute path, which the run would otherwise remember.
        values = {
            "PHOTOS": str(some_pictures(given.photos, folder / "photos")),
            "WEIGHTS": str(given.weights.resolve()),
        }
        for number, (name, arguments) in enumerate(TRAININGS.items()):
            out = folder / f"run-{number}"
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CASEBOOK_CACHE": str(folder / f"cache-{number}")}
            start = [sys.executable, "-m"]
            if name == "two processes":
                start += ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
            command = [*start, "casebook", "train", *(values.get(a, a) for a in arguments), "--out", str(out)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {' '.join(command)} failed\n{done.stderr}")
            digests[name] = digest(out / "model.safetensors")
            print(f"{name:15} {digests[name]}", flush=True)
    if given.out:
        given.out.write_text(json.dumps(digests, indent=2) + "\n")
    if given.against:
        before = json.loads(given.against.read_text())
        if differing := [name for name in TRAININGS if before.get(name) != digests[name]]:
            sys.exit(f"other weights than before: {', '.join(differing)}")
        print("the same weights as before, bit for bit")


if __name__ == "__main__":
    main()
