"""Planted wrong labels: how many are found, beside chance, the most confident mistakes, and cleanlab.

    python benchmarks/suspects.py dogs_vs_cats=FOLDER@mobilenet_v2@FILE sign_digits=FOLDER@resnet20@cifar10 ... \
        [--most 5000] [--seeds 10] [--shares 0.05] [--next] [--json FILE]

Each set is NAME=DATA@NETWORK@WEIGHTS, of which at most `--most` pictures are taken. For each seed, a share of the
labels is replaced by other classes, at random or, with `--next`, by the class after it, and the pictures are judged as
`casebook data suspects` does: out of fold, on features that are computed once, copies in one fold. All lists rest on
these same probabilities and differ in their order alone:

- Casebook: copies with another label first, then the least probable labels;
- the mistakes: pictures taken for another class, the most confident answer first, as a report of a run lists them;
- cleanlab (2.9, where it is installed): `find_label_issues`, ranked by self-confidence.

Precision is the share of planted labels among the first n, n being the number planted; at that length it is also the
recall, and chance gives the share. A label that was wrong before counts as a false alarm. `estimated` is how many are
said to be wrong, beside `doubted`, the count of confident learning; `within` says how often the interval of the
estimate has the planted number; `applied` are the labels that `--apply` acts on. With the share 0 nothing is planted,
and only the counts are given. Figures are means over the seeds, with the lowest and the highest. Nothing is timed.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import casebook
from casebook.data.datasets import PictureDataset, scan_source
from casebook.data.duplicates import duplicates
from casebook.data.sources import load_source
from casebook.data.split import numbers_of_tied
from casebook.evaluation.metrics import wilson_interval
from casebook.evaluation.suspects import doubted, order_suspects, out_of_fold, wrong_labels

COUNTS = ("estimated", "estimated_low", "estimated_high", "doubted", "applied", "applied_right")  # others are shares


class Pictures(NamedTuple):
    """Features (N, F), labels (N,), and for each picture the number of the set of copies it is in (N,)."""

    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    groups: NDArray[np.int64]


def load(data: str, network: str, weights: str, most: int) -> Pictures:
    source = load_source(data)
    scan = scan_source(source)
    readable = [index for index, facts in enumerate(scan.facts) if facts.error is None]
    if len(readable) > most:
        readable = sorted(np.random.default_rng(0).choice(readable, most, replace=False).tolist())
    found = casebook.features(network, PictureDataset(source, readable), weights=weights)
    assert found.labels is not None
    values = found.values if found.values.ndim == 2 else found.values.mean((2, 3))
    names = set(found.names)
    rows = [index for index in readable if source.pictures[index].name in names]
    return Pictures(values, found.labels, numbers_of_tied(source, duplicates(scan, source), rows))


def planted(
    labels: NDArray[np.int64], share: float, seed: int, to_next: bool
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    generator = np.random.default_rng(seed)
    num_classes = int(labels.max()) + 1
    wrong = np.zeros(len(labels), bool)
    wrong[generator.choice(len(labels), round(share * len(labels)), replace=False)] = True
    moved = (
        (labels + 1) % num_classes
        if to_next
        else (labels + generator.integers(1, num_classes, len(labels))) % num_classes
    )
    return np.where(wrong, moved, labels), wrong


def disagreeing(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> list[int]:
    """The rows whose copies have another label."""
    of_group: dict[int, set[int]] = {}
    for label, group in zip(labels.tolist(), groups.tolist(), strict=True):
        of_group.setdefault(group, set()).add(label)
    return [row for row, group in enumerate(groups.tolist()) if len(of_group[group]) > 1]


def once(pictures: Pictures, share: float, seed: int, to_next: bool) -> dict[str, Any]:
    labels, wrong = planted(pictures.labels, share, seed, to_next)
    said = out_of_fold(pictures.features, labels, pictures.groups, seed=seed).probabilities
    num = int(wrong.sum())
    ours = [row for row, _ in order_suspects(said, labels, disagreeing(labels, pictures.groups))]
    taken = said.argmax(1)
    mistakes = np.flatnonzero(taken != labels)
    mistakes = mistakes[np.argsort(-said.max(1)[mistakes], kind="stable")]
    is_doubted, estimate = doubted(said, labels), wrong_labels(said, labels)
    is_applied, (low, high) = estimate.probabilities > 0.5, estimate.interval
    counts = {
        "accuracy": float((taken == pictures.labels).mean()),
        "estimated": estimate.share * len(labels),
        "estimated_low": low * len(labels),
        "estimated_high": high * len(labels),
        "within": float(round(low * len(labels)) <= num <= round(high * len(labels))),
        "doubted": float(is_doubted.sum()),
        "applied": float(is_applied.sum()),
        "applied_right": float((is_applied & ~wrong).sum()),
    }
    if not num:
        return counts
    suggested = np.where(np.arange(said.shape[1]) == labels[:, None], -1, said).argmax(1)
    found = counts | {
        "applied_precision": float(wrong[is_applied].mean()) if is_applied.any() else 1.0,
        "applied_recall": float(wrong[is_applied].sum() / num),
        "casebook": hits(ours, wrong, num),
        "mistakes": hits(mistakes, wrong, num),
        "listed": len(ours) / len(labels),
        "recall_listed": float(wrong[ours].sum() / num),
        "doubted_precision": float(wrong[is_doubted].mean()) if is_doubted.any() else 0.0,
        "doubted_recall": float(wrong[is_doubted].sum() / num),
        "suggested_right": float((suggested == pictures.labels)[is_doubted & wrong].mean()),
        "casebook_interval": wilson_interval(int(wrong[ours[:num]].sum()), num),
    }
    return found | cleanlab_figures(labels, said, wrong, is_doubted)


def hits(rows: Sequence[int] | NDArray[np.intp], wrong: NDArray[np.bool_], num: int) -> float:
    return float(wrong[np.asarray(rows)[:num]].sum() / num)


def cleanlab_figures(
    labels: NDArray[np.int64], said: NDArray[np.float64], wrong: NDArray[np.bool_], is_doubted: NDArray[np.bool_]
) -> dict[str, float]:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError:
        return {}
    ranked = find_label_issues(labels, said, return_indices_ranked_by="self_confidence", n_jobs=1)
    same = find_label_issues(labels, said, filter_by="confident_learning", n_jobs=1)
    return {
        "cleanlab": hits(ranked, wrong, int(wrong.sum())),
        "cleanlab_precision": float(wrong[ranked].mean()),
        "cleanlab_recall": float(wrong[ranked].sum() / wrong.sum()),
        "same_as_doubted": float((same == is_doubted).mean()),
    }


def summary(rounds: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The mean, the least and the most of each figure over the seeds; of the interval, that of the first seed."""
    found = {}
    for key in rounds[0]:
        values = list(rounds[0][key]) if key == "casebook_interval" else [one[key] for one in rounds]
        found[key] = {"mean": float(np.mean(values)), "least": min(values), "most": max(values)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", metavar="NAME=DATA@NETWORK@WEIGHTS")
    parser.add_argument("--most", type=int, default=5000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05])
    parser.add_argument("--next", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    document = {}
    for one in given.sets:
        name, _, rest = one.partition("=")
        data, network, weights = rest.split("@")
        pictures = load(data, network, weights, given.most)
        for share in given.shares:
            planted_in = f"{name}, {100 * share:g} % planted"
            document[planted_in] = summary([once(pictures, share, seed, given.next) for seed in range(given.seeds)])
            print(f"\n{planted_in}, {len(pictures.labels)} pictures")
            for key, found in document[planted_in].items():
                one = 1 if key in COUNTS else 100
                print(
                    f"  {key:<20} {one * found['mean']:6.1f}  ({one * found['least']:.1f} to {one * found['most']:.1f})"
                )
            if given.json:
                given.json.write_text(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
