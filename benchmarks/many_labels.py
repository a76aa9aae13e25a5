"""Pictures with two labels: Casebook beside a plain PyTorch loop with the same settings, mAP paired by pictures.

    python benchmarks/many_labels.py FOLDER --side 32 --pairs 1500 --epochs 12 --out WORK

FOLDER has a folder of pictures for each class. Pairs of pictures, drawn by the seed, stand side by side in one picture
that has the labels of both. Both sides train ResNet-20 from random weights on the split that Casebook made. Casebook
keeps its best epoch by validation, the plain loop its last.
"""

import argparse
import csv
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

import casebook
from casebook.evaluation.labelled import own_data
from casebook.evaluation.many_labels import average_precisions, paired_map

RATE, DECAY, BATCH = 3e-3, 0.05, 32


def make_pairs(folder: Path, out: Path, side: int, pairs: int) -> Path:
    """A list of pictures, each two of the folder's side by side, squeezed into a square; one column of labels."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    order = np.random.default_rng(0).permutation(len(files))[: 2 * pairs].reshape(-1, 2)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, places in enumerate(order):
        halves = [Image.open(files[place]).convert("RGB").resize((side, side)) for place in places]
        picture = Image.new("RGB", (2 * side, 2 * side))
        for place, half in enumerate(halves):
            picture.paste(half, (place * side, side // 2))
        picture.save(out / f"{number:05d}.png")
        rows.append((f"{number:05d}.png", "|".join(sorted({files[place].parent.name for place in places}))))
    path = out / "list.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label"), *rows])
    return path


def plain_loop(run: casebook.Run, epochs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, K) test probabilities of a plain training of the same network, their truth, and its seconds."""
    data, preprocessing = own_data(run), run.preprocessing

    def tensors(indices: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = np.stack([preprocessing.pixels(data.source.open(index)) for index in indices])
        return preprocessing.normalise_tensor(torch.from_numpy(pixels)), torch.from_numpy(data.source.truth(indices))

    images, targets = tensors(data.split.train)
    torch.manual_seed(0)
    network = casebook.create_model("resnet20", num_classes=len(run.classes), in_channels=images.shape[1])
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    steps = epochs * -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    started = time.perf_counter()
    for _ in range(epochs):
        network.train()
        for places in torch.randperm(len(images)).split(BATCH):
            loss = functional.binary_cross_entropy_with_logits(network(images[places]), targets[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    seconds = time.perf_counter() - started
    network.eval()
    with torch.inference_mode():
        test, truth = tensors(data.split.test)
        return torch.sigmoid(network(test)).numpy(), truth.numpy(), np.array(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    listed = make_pairs(given.folder, given.out / "pairs", given.side, given.pairs)
    run = casebook.train(
        listed, out=given.out / "run", model="resnet20", input_size=2 * given.side, optimiser="adamw",
        learning_rate=RATE, weight_decay=DECAY, batch_size=BATCH, epochs=given.epochs, policy="none", crop="none",
        mirror=False, device="cpu",
    )  # fmt: skip
    ours = casebook.score_many_labels(run.path).predictions
    probabilities, truth, seconds = plain_loop(run, given.epochs)
    difference, interval = paired_map(ours.probabilities, probabilities, truth)
    assert np.array_equal(ours.labels, truth)
    print(json.dumps({
        "pictures": run.evaluation["pictures"],
        "casebook_map": run.label_test.map, "casebook_map_interval": run.label_test.map_interval,
        "casebook_seconds": run.evaluation["training_seconds"],
        "plain_map": float(np.nanmean(average_precisions(probabilities, truth))), "plain_seconds": float(seconds),
        "difference": difference, "difference_interval": interval,
        "thresholds": [one | {"f1": round(one["f1"] or 0, 3)} for one in run.evaluation["thresholds"]],
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
