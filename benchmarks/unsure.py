"""When to say "unsure": promises, prediction sets, probabilities and pictures of other things, on real data.

    python benchmarks/unsure.py --weights FILE --data dogs_vs_cats=FOLDER alpaca=FOLDER --imagenet FOLDER \
        --classes CSV --foreign mnist=FOLDER tiles=FOLDER signs=FOLDER --work FOLDER [--json FILE]

For each data set, MobileNet v2 is trained twice, as a new head on a frozen network and with its last three stages
fine-tuned; 45 % of the pictures validate and 20 % are locked away. Then, for each network:

- promises: how many test pictures get an answer at 1, 2 and 5 %, and how many of these are wrong. Since a test set is
  small, validation and test pictures are also dealt anew 1,000 times: what was promised on one hand is counted on the
  other.
- foreign pictures: ways to tell them are compared, each with the limit that refuses 5 % of the validation pictures. The
  foreign pictures are `--imagenet` without cats and dogs, noise, and those of `--foreign` (150 of each).
- calibration error on the test pictures before and after the temperature.

Prediction sets need many classes: the network with its own weights sees `--imagenet`, half of which calibrates and half
of which is counted, dealt 200 times; LAC against APS (Romano, Sesia and Candes, "Classification with Valid and Adaptive
Coverage", NeurIPS 2020, without its randomisation). A simulation tells what it costs that the epoch was chosen on the
pictures that promise: networks are trained on draws of a known law, of which the true error rate is counted.

Runs and what the networks said are kept in `--work` and used again. Nothing is timed.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf

import casebook
from casebook.evaluation.calibration import calibration_after
from casebook.evaluation.conformal import calibrate_sets, set_members
from casebook.evaluation.labelled import own_data
from casebook.evaluation.metrics import wilson_interval
from casebook.evaluation.promise import find_promise
from casebook.evaluation.unlike import choose_kept
from casebook.runner.reading import named_pictures, read_ahead
from casebook.runner.unsure import margins, unit_vectors, unlike_scores
from casebook.training.temperature import fit_temperature

SHARES = (0.01, 0.02, 0.05)
REFUSED = 0.05
DEALS = 1000
NUM_FOREIGN = 150
CATS_AND_DOGS = (*range(151, 269), *range(281, 286))  # indices of ImageNet's classes
STRATEGIES = {"head": {"transfer": "head"}, "tuned": {"transfer": "last:3", "epochs": 4}}


class Said(NamedTuple):
    """What a network says of N pictures; labels are -1 for foreign ones."""

    probabilities: np.ndarray
    features: np.ndarray
    labels: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1) != self.labels


class Seen(NamedTuple):
    """A network and all that it was asked about."""

    weight: np.ndarray
    bias: np.ndarray
    parts: dict[str, Said]  # train, val, test
    foreign: dict[str, Said]


# What the networks say


def ask(classifier: casebook.Classifier, pictures: Sequence[Any], labels: Sequence[int], kept: Path) -> Said:
    """From the file of an earlier time, if there is one."""
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        rows, pixels = [], []
        for reading in read_ahead(named_pictures(pictures), classifier.preprocessing):
            assert reading.pixels is not None, reading
            pixels.append(reading.pixels)
        for start in range(0, len(pixels), 32):
            rows.append(classifier.infer(np.stack(pixels[start : start + 32])))
        probabilities, features = (np.concatenate([row[i] for row in rows]) for i in (0, 2))
        np.savez(kept, probabilities=probabilities, features=features)
    found = np.load(kept)
    return Said(found["probabilities"], found["features"], np.asarray(labels))


def foreign_pictures(options: argparse.Namespace) -> Iterator[tuple[str, list[Any]]]:
    rng = np.random.default_rng(0)
    with options.classes.open() as file:
        ids = [row["wnid"] for row in csv.DictReader(file)]
    known = {ids[index] for index in CATS_AND_DOGS}
    yield "imagenet", [path for path in pictures_in(options.imagenet) if path.parent.name not in known]
    noise = [rng.integers(0, 256, (4 ** (1 + i % 4),) * 2 + (3,), dtype=np.uint8) for i in range(NUM_FOREIGN)]
    yield "noise", [Image.fromarray(one).resize((256, 256), Image.Resampling.BICUBIC) for one in noise]
    for name, folder in options.foreign.items():
        found, rng = pictures_in(folder), np.random.default_rng(0)
        yield name, [found[i] for i in sorted(rng.choice(len(found), NUM_FOREIGN, replace=False))]


def pictures_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def see(name: str, strategy: str, options: argparse.Namespace) -> Seen:
    """Trains the network, unless that was done before, and asks it about everything."""
    out = options.work / "runs" / f"{name}-{strategy}"
    if not out.exists():
        casebook.train(options.data[name], out=out, model="mobilenet_v2", weights=str(options.weights),
                       val_fraction=0.45, test_fraction=0.2, **STRATEGIES[strategy])  # fmt: skip
    classifier, data = casebook.load(out), own_data(casebook.open_run(out))
    outputs, parts = options.work / "outputs", {}
    for part in ("train", "val", "test"):
        indices = getattr(data.split, part)
        labels = [data.source.pictures[i].label for i in indices]
        parts[part] = ask(
            classifier, [data.source.path(i) for i in indices], labels, outputs / f"{out.name}-{part}.npz"
        )
    foreign = {
        kind: ask(classifier, pictures, [-1] * len(pictures), outputs / f"{out.name}-{kind}.npz")
        for kind, pictures in foreign_pictures(options)
    }
    last: Any = classifier.model.head.classifier  # type: ignore[union-attr]
    return Seen(last.weight.detach().numpy(), last.bias.detach().numpy(), parts, foreign)


# Ways to tell foreign pictures: each gives a score of pictures, higher for stranger ones


def largest_probability(seen: Seen) -> Callable[[Said], np.ndarray]:
    return lambda said: 1 - said.probabilities.max(axis=1)


def energy(seen: Seen) -> Callable[[Said], np.ndarray]:
    """Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020."""
    return lambda said: -logsumexp(said.features @ seen.weight.T + seen.bias, axis=1)


def mahalanobis(seen: Seen) -> Callable[[Said], np.ndarray]:
    """Lee et al., "A Simple Unified Framework", NeurIPS 2018, on the last features, with a shrunk covariance."""
    train = seen.parts["train"]
    means = np.stack([train.features[train.labels == label].mean(axis=0) for label in np.unique(train.labels)])
    inverse = LedoitWolf(assume_centered=True).fit(train.features - means[train.labels]).precision_

    def score(said: Said) -> np.ndarray:
        gaps = said.features[:, None] - means
        return np.einsum("ncf,fg,ncg->nc", gaps, inverse, gaps, optimize=True).min(axis=1)

    return score


def vim(seen: Seen) -> Callable[[Said], np.ndarray]:
    """Wang et al., "ViM: Out-Of-Distribution with Virtual-logit Matching", CVPR 2022; half of the directions kept."""
    train, origin = seen.parts["train"].features, -np.linalg.pinv(seen.weight) @ seen.bias
    values, vectors = np.linalg.eigh(np.cov(train - origin, rowvar=False))
    rank = min(len(train), train.shape[1]) // 2
    rest = vectors[:, np.argsort(values)[: train.shape[1] - rank]]

    def residual(features: np.ndarray) -> np.ndarray:
        return np.linalg.norm((features - origin) @ rest, axis=1)

    def logits(features: np.ndarray) -> np.ndarray:
        return features @ seen.weight.T + seen.bias

    scale = logits(train).max(axis=1).mean() / residual(train).mean()
    return lambda said: scale * residual(said.features) - logsumexp(logits(said.features), axis=1)


def nearest(most: int, neighbour: int = 1) -> Callable[[Seen], Callable[[Said], np.ndarray]]:
    """Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors", ICML 2022, on few kept features."""

    def fit(seen: Seen) -> Callable[[Said], np.ndarray]:
        train = seen.parts["train"]
        kept = unit_vectors(train.features[choose_kept(train.labels, most)]).astype(np.float16)
        return lambda said: unlike_scores(said.features, kept, neighbour)

    return fit


WAYS = {
    "largest probability": largest_probability,
    "energy": energy,
    "Mahalanobis": mahalanobis,
    "ViM": vim,
    "nearest of 50": nearest(50),
    "nearest of 200": nearest(200),
    "5th nearest of 200": nearest(200, 5),
    "nearest of all": nearest(10**9),
}


def refusals(seen: Seen) -> dict[str, dict[str, Any]]:
    """Way -> set of pictures -> [refused, of]."""
    found = {}
    for name, fit in WAYS.items():
        score = fit(seen)
        own = np.sort(score(seen.parts["val"]))
        limit = own[len(own) - max(1, int(REFUSED * len(own)))]
        sets = {"own test": seen.parts["test"], **seen.foreign}
        found[name] = {kind: [int((score(said) >= limit).sum()), len(said.labels)] for kind, said in sets.items()}
    return found


# Promises


def promises(seen: Seen) -> dict[str, Any]:
    """Share -> what is answered on the test pictures, and over many deals of validation and test pictures."""
    score, found = nearest(200)(seen), {}
    val, test = seen.parts["val"], seen.parts["test"]
    both = Said(*(np.concatenate(columns) for columns in zip(val, test, strict=True)))  # type: ignore[arg-type]
    lead, wrong, strange = margins(both.probabilities), both.wrong, score(both)
    n = len(val.labels)
    for share in SHARES:
        deals = [deal(lead, wrong, strange, n, share, np.random.default_rng(seed)) for seed in range(DEALS)]
        given = [one for one in deals if one]
        found[f"{share:g}"] = {
            "test": deal(lead, wrong, strange, n, share, None),
            "deals": len(deals),
            "given": len(given),
            "answered": float(np.mean([answered / of for of, answered, _ in given])) if given else None,
            "wrong": sum(bad for _, _, bad in given) / max(1, sum(answered for _, answered, _ in given)),
        }
    return found


def deal(
    lead: np.ndarray, wrong: np.ndarray, strange: np.ndarray, n: int, share: float, rng: np.random.Generator | None
) -> tuple[int, int, int] | None:
    """(pictures, answered, wrong) of those that did not promise, when n did; None where nothing can be promised."""
    order = np.arange(len(lead)) if rng is None else rng.permutation(len(lead))
    mine, others = order[:n], order[n:]
    limit = np.sort(strange[mine])[n - max(1, int(REFUSED * n))]
    near = mine[strange[mine] < limit]
    promise = find_promise(lead[near], wrong[near], share)
    if promise is None:
        return None
    answered = others[(strange[others] < limit) & (lead[others] > promise.least_margin)]
    return len(others), len(answered), int(wrong[answered].sum())


def calibration(seen: Seen) -> dict[str, Any]:
    val, test = seen.parts["val"], seen.parts["test"]
    temperature = fit_temperature(val.probabilities, val.labels)
    keys = ("ece", "ece_interval", "ece_if_calibrated", "log_loss")
    before, after = (calibration_after(test.probabilities, test.labels, one) for one in (1.0, temperature))
    return {"temperature": temperature, "before": {k: before[k] for k in keys}, "after": {k: after[k] for k in keys}}


# Prediction sets


def sets_of_many_classes(options: argparse.Namespace) -> dict[str, Any]:
    """Way -> mean coverage and mean size over 200 deals of the ImageNet pictures, at 90 % and 95 %."""
    with options.classes.open() as file:
        ids = [row["wnid"] for row in csv.DictReader(file)]
    pictures = pictures_in(options.imagenet)
    labels = np.array([ids.index(path.parent.name) for path in pictures])
    classifier = casebook.load("mobilenet_v2", weights=options.weights)
    said = ask(classifier, pictures, labels.tolist(), options.work / "outputs" / "imagenet-own.npz")
    found: dict[str, Any] = {}
    for coverage in (0.9, 0.95):
        results: dict[str, list[tuple[float, float]]] = {"LAC": [], "APS": []}
        for seed in range(200):
            order = np.random.default_rng(seed).permutation(len(labels))
            mine, others = order[: len(order) // 2], order[len(order) // 2 :]
            sets = calibrate_sets(said.probabilities[mine], labels[mine], coverage).sets
            for name, members in (
                ("LAC", set_members(said.probabilities[others], sets)),
                ("APS", aps_members(said.probabilities, labels, mine, others, coverage)),
            ):
                held = members[np.arange(len(others)), labels[others]].mean()
                results[name].append((float(held), float(members.sum(axis=1).mean())))
        found[f"{coverage:g}"] = {
            name: {"coverage": float(np.mean([c for c, _ in rows])), "mean_size": float(np.mean([s for _, s in rows])),
                   "spread": [float(end) for end in np.quantile([c for c, _ in rows], [0.05, 0.95])]}
            for name, rows in results.items()
        }  # fmt: skip
    return {"pictures": len(labels), "deals": 200, "top1": float(1 - said.wrong.mean()), **found}


def aps_members(
    probabilities: np.ndarray, labels: np.ndarray, mine: np.ndarray, others: np.ndarray, coverage: float
) -> np.ndarray:
    """(len(others), K): the most probable classes until their sum reaches what the calibration pictures need."""
    order = np.argsort(-probabilities, axis=1)
    sums = np.take_along_axis(np.cumsum(np.take_along_axis(probabilities, order, 1), axis=1), np.argsort(order, 1), 1)
    needed = np.sort(sums[mine, labels[mine]])
    limit = needed[min(len(mine), int(np.ceil((len(mine) + 1) * coverage))) - 1]
    return sums[others] <= limit


# What it costs that the epoch was chosen on the pictures that promise


def chosen_epochs(draws: int = 1000, share: float = 0.15) -> list[dict[str, Any]]:
    """Logistic regressions on 40 numbers, 60 pictures to train on, 30 epochs: the best by validation, or the last.

    One row for each number of validation pictures and each choice: how many draws got a promise, and broke it.
    """
    counts = {(n, choice): [0, 0] for n in (100, 400, 1600) for choice in ("best epoch", "last epoch")}
    for seed in range(draws):
        law = Law(np.random.default_rng(seed))
        epochs, (many, many_labels) = law.train(), law.pictures(20_000)
        for n in (100, 400, 1600):
            val, labels = law.pictures(n)
            best = int(np.argmax([((val @ one > 0) == labels).mean() for one in epochs]))
            for choice, weights in (("best epoch", epochs[best]), ("last epoch", epochs[-1])):
                promise = find_promise(np.abs(val @ weights), (val @ weights > 0) != labels, share)
                if promise is not None:
                    answered = np.abs(many @ weights) > promise.least_margin
                    rate = ((many @ weights > 0) != many_labels)[answered].mean()
                    counts[n, choice][0] += 1
                    counts[n, choice][1] += int(rate > share)
    return [
        {"validation": n, "kept": choice, "draws": draws, "given": given, "broken": broken,
         "interval": wilson_interval(broken, draws)}
        for (n, choice), (given, broken) in counts.items()
    ]  # fmt: skip


class Law:
    """Pictures of 40 numbers in two classes, of which a linear network can learn most."""

    def __init__(self, rng: np.random.Generator):
        self.rng, self.truth = rng, rng.normal(0, 1, 40) * 0.45

    def pictures(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        x = self.rng.normal(0, 1, (n, 40))
        return x, self.rng.random(n) < 1 / (1 + np.exp(-2.5 * x @ self.truth))

    def train(self) -> list[np.ndarray]:
        """The weights after each of 30 epochs on 60 pictures."""
        (x, y), weights, epochs = self.pictures(60), np.zeros(40), []
        for _ in range(30):
            for part in np.array_split(self.rng.permutation(60), 4):
                error = 1 / (1 + np.exp(-x[part] @ weights)) - y[part]
                weights = weights - 0.3 * x[part].T @ error / len(part)
            epochs.append(weights)
        return epochs


# Printing


def share_text(counts: Sequence[int]) -> str:
    low, high = wilson_interval(*counts)
    return f"{100 * counts[0] / counts[1]:.0f} ({100 * low:.0f} to {100 * high:.0f})"


def table(rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")
    print()


def show(name: str, found: dict[str, Any]) -> None:
    print(f"## {name}\n")
    table([["promise", "test: answered", "wrong", "deals with a promise", "answered", "wrong of the answers"]] + [
        [f"{100 * float(share):g} %", *(["none", ""] if row["test"] is None else
         [f"{row['test'][1]} of {row['test'][0]}", str(row["test"][2])]), f"{row['given']} of {row['deals']}",
         "" if row["answered"] is None else f"{100 * row['answered']:.0f} %", f"{100 * row['wrong']:.2f} %"]
        for share, row in found["promises"].items()])  # fmt: skip
    kinds = list(found["refusals"]["ViM"])
    table([["refused, %", *kinds]] + [[way, *(share_text(row[kind]) for kind in kinds)]
                                      for way, row in found["refusals"].items()])  # fmt: skip
    print(json.dumps(found["calibration"]), "\n", flush=True)


def main() -> None:
    def pair(text: str) -> tuple[str, Path]:
        name, _, folder = text.partition("=")
        return name, Path(folder)

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True, help="of MobileNet v2, for ImageNet")
    parser.add_argument("--data", type=pair, nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--imagenet", type=Path, required=True, metavar="FOLDER", help="folders named by WordNet ids")
    parser.add_argument("--classes", type=Path, required=True, metavar="CSV", help="index,wnid,name")
    parser.add_argument("--foreign", type=pair, nargs="*", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--work", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    options.data, options.foreign = dict(options.data), dict(options.foreign)
    document: dict[str, Any] = {"command": sys.argv, "epochs": chosen_epochs(), "sets": sets_of_many_classes(options)}
    print(json.dumps(document["epochs"], indent=1), json.dumps(document["sets"], indent=1), sep="\n\n", flush=True)
    for name in options.data:
        for strategy in STRATEGIES:
            seen = see(name, strategy, options)
            found = {"promises": promises(seen), "refusals": refusals(seen), "calibration": calibration(seen)}
            document[f"{name}, {strategy}"] = found
            show(f"{name}, {strategy}", found)
    if options.json:
        options.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
