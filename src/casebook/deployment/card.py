"""What a bundle says of itself: provenance and figures for bundle.json, and MODEL_CARD.md for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import casebook

from ..evaluation.classifier import Classifier
from ..evaluation.evidence import evidence_of
from ..evaluation.promise import CONFIDENCE
from ..evaluation.shift import read_shift
from ..formatting import percent_text, share_text, size_text
from ..models import list_models, model_card
from ..models.layers import Network

USE = {
    "singlelabel": "It answers with one of them whatever a picture shows.",
    "multilabel": "Each class is given where its probability reaches its threshold, fitted on validation pictures and "
    "listed in bundle.json; a picture may get none. The bundle never says 'unsure'.",
}
UNMEASURED = "None was measured: the network was exported without a finished run."


def provenance(classifier: Classifier) -> dict[str, Any]:
    """Where the network comes from. Paths are shortened to their last part; they are nobody else's business."""
    network, run = classifier.model, classifier.run
    found: dict[str, Any] = {"casebook": casebook.__version__, "torch": torch.__version__}
    if isinstance(network, Network):
        found |= {"network": network.name, "options": dict(network.options)}
    if run is not None:
        source = run.model.get("source_weights") or {}
        found |= {
            "data": Path(run.recipe.data).name,
            "seed": run.recipe.seed,
            "epochs": run.recipe.epochs,
            "transfer": run.model.get("transfer", {}).get("strategy", "none"),
            "source_weights": {"source": Path(source["source"]).name, "sha256": source["sha256"]} if source else None,
        }
        if run.is_complete:
            found["pictures"] = run.evaluation["pictures"]
    return found


def metrics(classifier: Classifier) -> dict[str, Any]:
    """The figures of the locked test set, with their intervals; nothing without a finished run."""
    if classifier.run is None or not classifier.run.is_complete:
        return {}
    test = classifier.run.evaluation["test"]
    names = (
        "n",
        "top1",
        "top1_interval",
        "top5",
        "top5_interval",
        "map",
        "map_interval",
        "subset_accuracy",
        "subset_accuracy_interval",
        "macro_f1",
        "macro_f1_interval",
        "ece",
        "ece_interval",
    )
    found = {"test": {name: test[name] for name in names if test.get(name) is not None}}
    if shift := read_shift(classifier.run):
        found["shift"] = {
            "n": shift["n"],
            "clean": shift["clean"]["accuracy"],
            "mean": shift["mean_accuracy"],
            "mean_interval": shift["mean_accuracy_interval"],
            "corruptions": {one["name"]: one["mean_accuracy"] for one in shift["corruptions"]},
        }
    return found


def promise(classifier: Classifier, most_wrong: float, without: Sequence[str] = ()) -> dict[str, Any]:
    """What a bundle with a promise says of it beside the numbers of its judges.

    Which networks are `without` it, how the locked test pictures fared, and what the prediction sets rest on.
    """
    evidence = evidence_of(classifier)
    judged = (classifier.run.evaluation.get("unsure") if classifier.run and classifier.run.is_complete else None) or {}
    fared = next((one["here"] for one in judged.get("promises", ()) if one["most_wrong"] == most_wrong), None)
    names = ("n", "answered", "answered_share", "answered_interval", "wrong", "wrong_interval")
    return {
        "most_wrong": most_wrong,
        "confidence": CONFIDENCE,
        "num_validation": evidence.num_pictures,
        "test": None if fared is None else {name: fared[name] for name in names},
        "sets": {"coverage": evidence.sets.sets.coverage, "n": evidence.sets.n, "spread": list(evidence.sets.spread)},
        "without": list(without),
    }


def licences(classifier: Classifier) -> str:
    """LICENCES.md."""
    lines = ["# Licences", "", f"The runner in this file is part of Casebook {casebook.__version__}, Apache-2.0."]
    name = getattr(classifier.model, "name", "")
    if name in list_models() and (published := model_card(name).weights):
        lines += ["", "Weights that are published for this network, one of which it may have been trained from:", ""]
        lines += [f"- {weights.name}: {weights.licence} ({weights.source})" for weights in published]
    lines += ["", "The golden pictures that are numbered were drawn by Casebook and are free of rights. Those called "
              "`own-...` were given by whoever made this file."]  # fmt: skip
    return "\n".join(lines) + "\n"


def card_text(manifest: dict[str, Any]) -> str:
    """MODEL_CARD.md, from bundle.json alone."""
    origin, classes = manifest["provenance"], manifest["classes"]
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    preprocessing = manifest["preprocessing"]
    gives = "that gives any number of" if manifest["task"] == "multilabel" else "into"
    lines = [
        f"# {manifest['name']}",
        "",
        f"A classifier of pictures {gives} {len(classes)} classes: {shown}.",
        "",
        "## The network",
        "",
        f"{origin.get('network', 'A network of another library')}, exported by Casebook {origin['casebook']}. It sees "
        f"pictures of {preprocessing['size']} x {preprocessing['size']} pixels in mode {preprocessing['mode']}.",
        "",
        *_network_lines(manifest["networks"], manifest["int8"]),
        "",
        "## The data",
        "",
        *_data_lines(origin),
        "",
        "## How good it is",
        "",
        *_accuracy_lines(manifest["metrics"]),
        "",
        *_promise_lines(manifest["promise"]),
        "## Use",
        "",
        "It tells these classes apart in pictures like those it was trained on. "
        + ("" if manifest["promise"] else f"{USE[manifest['task']]} ")
        + "It was not checked for other cameras, places or times than those of its data. Try it on pictures of your "
        "own before you rely on it.",
    ]
    return "\n".join(lines) + "\n"


def _network_lines(networks: dict[str, dict[str, Any]], int8: dict[str, Any] | None) -> list[str]:
    lines = [
        "| file | size | probabilities differ from the trained network by at most | right in validation |",
        "| --- | --- | --- | --- |",
    ]
    compared = int8 if int8 is not None and int8["difference"] is not None else None
    for name, one in networks.items():
        right = "not measured" if compared is None else f"{compared[f'{name}_right']} of {compared['n']}"
        size = size_text(one["bytes"])
        lines.append(f"| `{one['file']}` ({name}) | {size} | {one['worst_difference']:.1e} | {right} |")
    if int8 is not None:
        what = "It passed its gate" if int8["accepted"] else "There is no 8-bit network"
        lines += ["", f"{what}: {int8['reason']}."]
    return lines


def _promise_lines(promise: dict[str, Any] | None) -> list[str]:
    """What it means that the bundle says "unsure"; nothing where it always answers."""
    if promise is None:
        return []
    sets = promise["sets"]
    low, high = (percent_text(end) for end in sets["spread"])
    lines = [
        '## When it says "unsure"',
        "",
        f"Of the answers it gives, at most {share_text(promise['most_wrong'])} are wrong. This promise holds with "
        f"{share_text(promise['confidence'])} confidence for pictures from the same source as its "
        f"{promise['num_validation']} validation pictures, and for no others.",
    ]
    if promise["without"]:
        lines.append(f"The network {', '.join(promise['without'])} cannot keep it, so it is not asked.")
    if (test := promise["test"]) is not None:
        ends = [percent_text(end) for end in test["answered_interval"]]
        lines.append(
            f"Of the {test['n']} locked test pictures it answered {test['answered']} "
            f"({percent_text(test['answered_share'])}, 95 % interval {ends[0]} to {ends[1]}), {test['wrong']} of them "
            "wrongly."
        )
    lines += [
        "",
        f"Each answer also has candidates, a set of classes that holds the true one for {share_text(sets['coverage'])} "
        f"of new pictures. It rests on {sets['n']} validation pictures, so the share is between {low} and {high} with "
        "a probability of 90 %.",
        "",
    ]
    return lines


def _data_lines(origin: dict[str, Any]) -> list[str]:
    if "data" not in origin:
        return ["Unknown: the network came with weights that were trained elsewhere."]
    lines = [f"It was trained on `{origin['data']}`, seed {origin['seed']}, transfer: {origin['transfer']}."]
    if "pictures" in origin:
        counts = origin["pictures"]
        lines.append(
            f"{counts['train']} pictures trained it, {counts['val']} chose the best epoch, and {counts['test']} were "
            "locked away for the test."
        )
    if origin.get("source_weights"):
        lines.append(f"It started from the weights `{origin['source_weights']['source']}`.")
    return lines


def _accuracy_lines(metrics: dict[str, Any]) -> list[str]:
    if "test" not in metrics:
        return [UNMEASURED]
    test, lines = metrics["test"], []
    for name, title in (("top1", "Right"), ("top5", "Right class among the first five"),
                        ("map", "Mean average precision"), ("subset_accuracy", "Every label right"),
                        ("macro_f1", "Macro F1")):  # fmt: skip
        if name in test:
            low, high = test[f"{name}_interval"]
            lines.append(
                f"- {title}: {percent_text(test[name], 2)} (95 % interval {percent_text(low, 2)} to "
                f"{percent_text(high, 2)})"
            )
    return [f"On {test['n']} locked test pictures, scored once:", "", *lines, *_shift_lines(metrics)]


def _shift_lines(metrics: dict[str, Any]) -> list[str]:
    """The accuracy on changed copies of the test pictures, where it was measured."""
    if not (shift := metrics.get("shift")):
        return []
    low, high = (percent_text(end) for end in shift["mean_interval"])
    rows = [f"| {name} | {percent_text(share)} |" for name, share in shift["corruptions"].items()]
    return [
        "",
        f"On changed copies of {shift['n']} of them, {percent_text(shift['mean'])} are right (95 % interval {low} to "
        f"{high}), and {percent_text(shift['clean'])} of the pictures as they are. The mean over five strengths:",
        "",
        "| change | right |",
        "| --- | --- |",
        *rows,
    ]
