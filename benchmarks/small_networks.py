"""Small networks from random weights: `casebook train PHOTOS --model NAME` beside a plain PyTorch loop of equal epochs.

    python benchmarks/small_networks.py FOLDER ... --out FILE.jsonl [--networks lenet5 resnet20] [--seeds 0 1] [--quick]

Every arm learns the same split of the same pictures at the same input size for as many epochs, on one thread:

- casebook: `casebook.train` with nothing but the network, the epochs and the seed. `--recipes classic scratch` adds an
  arm for each named recipe of ours.
- plain: a loop in torch alone, with torch's own initial weights: cross entropy, batches of 32, a cosine after a
  twentieth of warm-up, pictures moved by up to an eighth of their side, and the epoch with the best validation
  accuracy. Four arms: AdamW at 1e-3 and 3e-3, SGD with Nesterov momentum at 0.01 and 0.05 (`--plain` chooses).
  "Plain loop's best" is the one with the best validation accuracy, the mean over the seeds.

A finished arm is a line of FILE.jsonl and is not run again, so an interrupted benchmark goes on where it stopped.
Differences are paired by test pictures: the mean over the seeds of each picture, and a normal interval over pictures.
"""

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from interleave import command_line, say, table
from torch.nn.functional import cross_entropy, pad

import casebook

BATCH = 32
PLAIN = {
    "adamw 0.001": lambda weights: torch.optim.AdamW(weights, 1e-3, weight_decay=0.05),
    "adamw 0.003": lambda weights: torch.optim.AdamW(weights, 3e-3, weight_decay=0.05),
    "sgd 0.01": lambda weights: torch.optim.SGD(weights, 0.01, 0.9, nesterov=True, weight_decay=5e-4),
    "sgd 0.05": lambda weights: torch.optim.SGD(weights, 0.05, 0.9, nesterov=True, weight_decay=5e-4),
}
EPOCHS = {"lenet5": 60, "resnet20": 20, "squeezenet1_1": 15}
OURS = "casebook"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="pictures in class folders")
    parser.add_argument("--networks", nargs="+", default=list(EPOCHS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--epochs", type=int, help=f"default: {EPOCHS}, and 20 for others")
    parser.add_argument("--input-size", type=int, help="side of the input; default: what Casebook chooses")
    parser.add_argument("--recipes", nargs="*", default=[], help="recipes of Casebook beside the default")
    parser.add_argument("--plain", nargs="*", default=list(PLAIN), choices=PLAIN, metavar="ARM")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.jsonl")
    parser.add_argument("--quick", action="store_true", help="two epochs and one plain arm: does everything run?")
    given = parser.parse_args()
    torch.set_num_threads(1)
    done = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    plain = given.plain[:1] if given.quick else given.plain
    for folder in given.folders:
        data = casebook.load_data(folder)
        for name in given.networks:
            epochs = 2 if given.quick else given.epochs or EPOCHS.get(name, 20)
            rows = []
            for seed in given.seeds:
                task = {"set": folder.name, "network": name, "epochs": epochs, "size": given.input_size, "seed": seed}
                for arm in (OURS, *given.recipes, *plain):
                    found = next((row for row in done if row.items() >= (task | {"arm": arm}).items()), None)
                    if found is None:
                        found = run_arm(data, task | {"arm": arm}, rows)
                        with given.out.open("a") as file:
                            file.write(json.dumps(found) + "\n")
                    rows.append(found)
                    shown = f"{folder.name}, {name}, seed {seed}, {arm}"
                    say(f"{shown}: {np.mean(found['right']):.3f} in {found['seconds']:.0f} s")
            print(f"\n{folder.name}, {name}, {epochs} epochs, seeds {given.seeds}, {len(data.test)} test pictures\n")
            print(report(rows, plain))
    print(f"\n{command_line()}")


def run_arm(data: casebook.PictureData, task: dict[str, Any], earlier: list[dict[str, Any]]) -> dict[str, Any]:
    """One training: the task with whether each test picture was right, the best validation accuracy, and seconds."""
    began = time.perf_counter()
    if task["arm"] in PLAIN:
        ours = next(row for row in earlier if row["seed"] == task["seed"] and row["arm"] == OURS)
        found = by_hand(data, task, ours)
    else:
        found = by_casebook(data, task)
    return task | found | {"seconds": round(time.perf_counter() - began, 1)}


def by_casebook(data: casebook.PictureData, task: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = casebook.train(
            data, recipe=None if task["arm"] == OURS else task["arm"], model=task["network"], seed=task["seed"],
            epochs=task["epochs"], input_size=task["size"], threads=1, workers=0, device="cpu",
            out=Path(folder) / "run",
        )  # fmt: skip
        with (run.path / "metrics.jsonl").open() as file:
            val = max(json.loads(line)["val_top1"] for line in file)
        classifier = casebook.load(run.path, device="cpu")
        right = answers_right(classifier.model, *tensors(data.test, classifier.preprocessing))
        recipe = run.recipe
        said = {"mirror": recipe.mirror, "crop": recipe.crop, "optimiser": recipe.optimiser,
                "learning_rate": recipe.learning_rate, "batch_size": recipe.batch_size}  # fmt: skip
        return {"right": right, "val": val, "options": run.model["options"], "settings": said,
                "preprocessing": run.model["preprocessing"]}  # fmt: skip


def by_hand(data: casebook.PictureData, task: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The plain loop: on casebook's network for its pictures, but with torch's own initial weights."""
    preprocessing = casebook.Preprocessing.from_dict(ours["preprocessing"])
    torch.manual_seed(task["seed"])
    network = casebook.create_model(task["network"], **ours["options"])
    for module in network.modules():
        reset: Any = getattr(module, "reset_parameters", None)
        if reset is not None:
            reset()
    images, labels = tensors(data.train, preprocessing)
    validation, test = tensors(data.val, preprocessing), tensors(data.test, preprocessing)
    optimiser = PLAIN[task["arm"]](network.parameters())
    total = task["epochs"] * -(-len(images) // BATCH)
    warmup = total / 20
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / (total - warmup)))),
    )
    best, right = -1.0, []
    for _ in range(task["epochs"]):
        network.train()
        for places in torch.randperm(len(images)).split(BATCH):
            outputs = network(moved(images[places], preprocessing.size // 8))
            logits = outputs[0] if isinstance(outputs, tuple) else outputs
            loss = cross_entropy(logits, labels[places])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        val = float(np.mean(answers_right(network, *validation)))
        if val >= best:
            best, right = val, answers_right(network, *test)
    return {"right": right, "val": best}


def moved(images: torch.Tensor, reach: int) -> torch.Tensor:
    """Each picture moved by up to `reach` pixels; what comes in repeats the edge."""
    side = images.shape[-1]
    padded = pad(images, (reach,) * 4, mode="replicate")
    places = torch.randint(0, 2 * reach + 1, (len(images), 2)).tolist()
    return torch.stack([one[:, y : y + side, x : x + side] for one, (y, x) in zip(padded, places, strict=True)])


def tensors(pictures: Any, preprocessing: Any) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = zip(*pictures.with_transform(preprocessing), strict=True)
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


def answers_right(network: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[int]:
    network.eval()
    with torch.inference_mode():
        found = torch.cat([network(batch).argmax(1) for batch in images.split(256)])
    return (found == labels).int().tolist()


def report(rows: list[dict[str, Any]], plain: list[str]) -> str:
    """A row an arm: accuracy of each, and casebook's lead with its 95 % interval over test pictures."""
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    right = {arm: np.array([row["right"] for row in rows if row["arm"] == arm]) for arm in arms}
    val = {arm: float(np.mean([row["val"] for row in rows if row["arm"] == arm])) for arm in arms}
    chosen = max((arm for arm in arms if arm in plain), key=lambda arm: val[arm], default="")
    shown = []
    for arm in arms:
        lead = 100 * (right[OURS].mean(0) - right[arm].mean(0))
        half = 1.96 * lead.std(ddof=1) / math.sqrt(len(lead))
        ahead = "" if arm == OURS else f"{lead.mean():+.1f} ({lead.mean() - half:+.1f} to {lead.mean() + half:+.1f})"
        each = " ".join(f"{100 * one.mean():.1f}" for one in right[arm])
        name = f"{arm}, plain loop's best" if arm == chosen else arm
        shown.append((name, f"{100 * right[arm].mean():.1f} %", each, f"{100 * val[arm]:.1f} %", ahead))
    return table(("arm", "test", "each seed", "validation", "casebook's lead in points"), shown)


if __name__ == "__main__":
    main()
