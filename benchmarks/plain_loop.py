"""A training loop written by hand from Casebook's parts, beside `casebook.train` with the same settings.

    python benchmarks/plain_loop.py [--seeds 12] [--epochs 4]

LeNet-5 on the built-in digits, one split. Both arms have AdamW, a cosine after two epochs of warm-up, smoothed labels
and the epoch with the best validation accuracy; neither averages its weights. They draw different random numbers, so
they are compared by their mean over the seeds. Few epochs leave errors to compare. The interval is Student's, at 95 %,
for the mean of the seeds' differences.
"""

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from interleave import say, table
from scipy import stats
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import casebook
from casebook.augmentation.policy import POLICIES

WARMUP_EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY, LABEL_SMOOTHING = 2, 32, 3e-3, 0.05, 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = casebook.load_data("digits")
    counts = []
    for seed in range(options.seeds):
        counts.append((by_hand(data, seed, options.epochs), by_casebook(data, seed, options.epochs)))
        say(f"seed {seed}: by hand {counts[-1][0]} wrong, casebook.train {counts[-1][1]}")
    errors = 100 * np.array(counts) / len(data.test)
    difference = errors[:, 0] - errors[:, 1]
    half = stats.t.ppf(0.975, len(difference) - 1) * difference.std(ddof=1) / math.sqrt(len(difference))
    rows = [(name, f"{errors[:, place].mean():.2f} %", f"{errors[:, place].std(ddof=1):.2f}")
            for place, name in enumerate(("by hand", "casebook.train"))]  # fmt: skip
    print(table(("arm", "mean error", "standard deviation"), rows))
    mean, num_test = difference.mean(), len(data.test)
    print(f"{num_test} test pictures, {options.seeds} seeds")
    print(f"by hand minus casebook.train: {mean:+.2f} points ({mean - half:+.2f} to {mean + half:+.2f})")


def by_hand(data: casebook.PictureData, seed: int, epochs: int) -> int:
    """How many test pictures are wrong."""
    torch.manual_seed(seed)
    model = casebook.create_model("lenet5", num_classes=len(data.classes))
    policy = POLICIES["cifar"].policy.changed({"padding": 3, "mirror": 0.0})
    augmented = data.train.with_transform(casebook.Augment(policy, model.preprocessing))
    batches = DataLoader(augmented, BATCH_SIZE, shuffle=True)
    optimiser = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    warmup, total = WARMUP_EPOCHS * len(batches), epochs * len(batches)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    best_wrong, found = len(data.val) + 1, 0
    for _ in range(epochs):
        model.train()
        for images, labels in batches:
            loss = cross_entropy(model(images), labels, label_smoothing=LABEL_SMOOTHING)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        if (now := wrong(model, data.val)) < best_wrong:
            best_wrong, found = now, wrong(model, data.test)
    return found


def wrong(model: torch.nn.Module, pictures: casebook.PictureDataset) -> int:
    model.eval()
    with torch.inference_mode():
        batches = DataLoader(pictures.with_transform(model.preprocessing), 256)
        return sum(int((model(images).argmax(1) != labels).sum()) for images, labels in batches)


def by_casebook(data: casebook.PictureData, seed: int, epochs: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run = casebook.train(
            data, recipe="digits", out=Path(folder) / "run", seed=seed, epochs=epochs, warmup_epochs=WARMUP_EPOCHS,
            batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, decay_all=True,
            label_smoothing=LABEL_SMOOTHING, ema_decay=0.0, threads=1,
        )  # fmt: skip
        return round((1 - run.test.top1) * len(data.test))


if __name__ == "__main__":
    main()
