"""The other sections of a report: mistakes, classes, calibration, training, settings."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..evaluation.predictions import Predictions
from ..formatting import percent_text, short
from .charts import Line, Phase, interval_bar, line_chart, reliability_chart
from .page import bar_start, cut, ends, text

# The captions and data URIs of the small pictures that explain the answer of a row.
Explanations = Callable[[int], Sequence[tuple[str, str]]]
PHASES = {"train": "training", "head": "new head", "tune": "fine-tuning"}


def mistakes_section(
    evaluation: dict[str, Any],
    predictions: Predictions,
    mistakes: Sequence[int],
    source_of: Callable[[int], tuple[str, bool]],
) -> str:
    """`source_of` a row is the data URI of its picture, "" without one, and whether it is tiny."""
    n = evaluation["n"]
    if not mistakes:
        low = evaluation["top1_interval"][0]
        return (
            f"<p>None: all {n:,} pictures were recognised. That does not make the network infallible; {n:,} pictures "
            f"without a mistake are consistent with an accuracy from {percent_text(low)} up.</p>"
        )
    num_wrong = n - round(evaluation["top1"] * n)
    count = f"{len(mistakes)} of {num_wrong:,}" if len(mistakes) < num_wrong else f"All {num_wrong:,}"
    parts = [
        f'<p class="said">{count}, the highest probability of a wrong class first. '
        "Look here for wrong labels before you look for a better network.</p>"
        '<ul class="pictures large">'
    ]
    predicted, confidence = predictions.predicted(), predictions.confidences()
    for row in mistakes:
        source, small = source_of(row)
        name = predictions.names[row]
        truth = int(predictions.labels[row])
        picture = (
            f'<img{" class=small" if small else ""} src="{source}" alt="{text(cut(name))}">'
            if source
            else '<div class="missing">no picture</div>'
        )
        parts.append(
            f"<li><figure>{picture}<figcaption>"
            f'<bdi class="as-wrong">{text(predictions.classes[predicted[row]])}</bdi> '
            f"{percent_text(float(confidence[row]))}<br>"
            f"labelled <bdi>{text(predictions.classes[truth])}</bdi> "
            f"{percent_text(float(predictions.probabilities[row, truth]))}"
            f'<bdi class="file" title="{text(cut(name))}">{text(cut(name).rsplit("/", 1)[-1])}</bdi>'
            "</figcaption></figure></li>"
        )
    parts.append("</ul>")
    return "".join(parts)


def explained_section(
    predictions: Predictions,
    mistakes: Sequence[int],
    source_of: Callable[[int], tuple[str, bool]],
    explanations: Explanations,
) -> str:
    """The pictures of `mistakes` beside what explains each one; "" where nothing does."""
    parts = []
    predicted = predictions.predicted()
    for row in mistakes:
        told = explanations(row)
        if not told:
            continue
        taken, truth = (text(predictions.classes[int(i)]) for i in (predicted[row], predictions.labels[row]))
        source, small = source_of(row)
        shown = [(f"taken for {taken}, labelled {truth}", source, small)] if source else []
        figures = "".join(
            f'<li><figure><img{" class=small" if tiny else ""} src="{uri}" alt="">'
            f"<figcaption><bdi>{caption}</bdi></figcaption></figure></li>"
            for caption, uri, tiny in [*shown, *((text(caption), uri, False) for caption, uri in told)]
        )
        parts.append(f'<ul class="pictures large">{figures}</ul>')
    if not parts:
        return ""
    said = (
        "What in the picture spoke for the answer, after four methods. They show where a network looked, not whether "
        "it was right to: a map on the background is a reason to doubt the data."
    )
    return f'<p class="said">{said}</p>{"".join(parts)}'


def classes_section(evaluation: dict[str, Any], predictions: Predictions) -> str:
    table = evaluation["per_class"]
    occurring = {entry["index"] for entry in table}
    unseen = [entry["class"] for entry in table if not entry["n"]] + [
        name for index, name in enumerate(predictions.classes) if index not in occurring
    ]
    said = (
        "<b>Precision</b>: of what was called so, the share that is. <b>Recall</b>: of what is so, the share that "
        "was found. <b>F1</b>: their harmonic mean, here with its 95 % interval."
    )
    parts = [f'<p class="said">{said}</p>']
    if unseen:
        many = f"{len(unseen):,} classes have" if len(unseen) > 1 else "One class has"
        named = ", ".join(f"<bdi>{text(name)}</bdi>" for name in unseen[:12])
        parts.append(
            f'<p class="said">{many} no picture in this set, so nothing is known about them: {named}'
            f"{' and others' if len(unseen) > 12 else ''}.</p>"
        )

    def header(label: str, kind: str = "number", first: str = "ascending") -> str:
        style = ' class="number"' if kind == "number" else ""
        return (
            f'<th scope="col"{style} data-kind="{kind}" data-first="{first}">'
            f'<button type="button" class="sort">{label}</button></th>'
        )

    def share(value: float | None) -> str:
        shown = "–" if value is None else percent_text(value)
        return f'<td class="number" data-value="{"" if value is None else value}">{shown}</td>'

    start = bar_start(min(entry["f1_interval"][0] for entry in table if entry["n"]))
    parts.append(
        '<div class="scroll tall" tabindex="0" role="region" aria-label="Classes"><table class="list"><thead><tr>'
        + header("Class", "text")
        + header("Pictures", first="descending")
        + "".join(map(header, ("Precision", "Recall", "F1")))
        + f'<th scope="col" class="share"><span class="unseen">F1 interval</span>{ends(start)}</th>'
        + "</tr></thead><tbody>"
    )
    for entry in table:
        name = text(entry["class"])
        known = entry["n"] > 0
        low, high = entry["f1_interval"]
        parts.append(
            f'<tr><td data-value="{name}"><bdi>{name}</bdi></td>'
            f'<td class="number" data-value="{entry["n"]}">{entry["n"]:,}</td>'
            f"{share(entry['precision'])}{share(entry['recall'])}{share(entry['f1'] if known else None)}"
            f'<td class="share" title="{percent_text(low)} to {percent_text(high)}">'
            f"{interval_bar(entry['f1'], entry['f1_interval'], start) if known else ''}</td></tr>"
        )
    parts.append("</tbody></table></div>")
    return "".join(parts)


def calibration_section(evaluation: dict[str, Any]) -> str:
    if not evaluation.get("reliability"):
        return ""
    ece, (low, high) = evaluation["ece"], evaluation["ece_interval"]
    limit = evaluation["ece_if_calibrated"]
    gap = sum(b["n"] * (b["confidence"] - b["accuracy"]) for b in evaluation["reliability"]) / evaluation["n"]
    if ece <= limit:
        verdict = (
            f"A perfectly calibrated network would show up to {percent_text(limit)} on a set of this size, so no "
            "miscalibration is detectable."
        )
    else:
        lean = "more confident than it is right" if gap > 0 else "less confident than it could be"
        verdict = (
            f"That is more than the {percent_text(limit)} that chance alone would explain: on average the network "
            f"is {lean}, by {percent_text(abs(gap))}."
        )
    return (
        f'<div class="calibration"><div>{reliability_chart(evaluation["reliability"])}</div><div>'
        f"<p>The expected calibration error is <b>{percent_text(ece)}</b> ({100 * low:.1f} to {100 * high:.1f} %): "
        f"so far the probability of the predicted class lies, on average, from how often it is right. {verdict}</p>"
        '<p class="said">Bars: the share that was right among predictions of about that probability. Below: how many '
        "predictions there are. 15 bins of equal width; point at one for its numbers.</p></div></div>"
    )


def training_section(history: Sequence[dict[str, Any]]) -> str:
    if not history:
        return ""
    epochs = [row.get("epoch") for row in history]
    names = [str(row.get("phase", "train")) for row in history]
    phases = [
        Phase(place, PHASES.get(name, name))
        for place, name in enumerate(names)
        if place == 0 or names[place - 1] != name
    ]
    places = []
    for place, (epoch, name) in enumerate(zip(epochs, names, strict=True)):
        of_phase = f" ({PHASES.get(name, name)})" if len(phases) > 1 else ""
        places.append(f"epoch {place + 1 if epoch is None else epoch}{of_phase}")

    def values(key: str) -> list[float | None]:
        return [row.get(key) for row in history]

    figures = []
    for caption, percent, lines in (
        ("Loss", False, (("training", "training", "train_loss"), ("validation", "validation", "val_loss"))),
        ("Validation top-1 accuracy", True, (("validation", "validation", "val_top1"),)),
        ("Learning rate", False, (("learning rate", "training", "learning_rate"),)),
    ):
        drawn = [
            Line(name, style, values(key)) for name, style, key in lines if any(v is not None for v in values(key))
        ]
        if drawn and (chart := line_chart(f"{caption} over epochs", drawn, places, phases, percent=percent)):
            figures.append(f"<figure><figcaption>{caption}</figcaption>{chart}</figure>")
    seconds = sum(s for s in values("seconds") if isinstance(s, (int, float)))
    best = [(v, place) for place, v in enumerate(values("val_top1")) if isinstance(v, (int, float)) and np.isfinite(v)]
    said = [f"{len(history):,} {'epoch' if len(history) == 1 else 'epochs'}"]
    if seconds:
        said.append(f"{_duration(seconds)} of training")
    if best:
        top, place = max(best, key=lambda entry: (entry[0], -entry[1]))
        said.append(f"validation accuracy highest at {percent_text(top)} in {places[place]}")
    return (
        f'<p class="said">{text("; ".join(said))}.</p><div class="charts">{"".join(figures)}</div>'
        f"<details><summary>All values</summary>{_history_table(history)}</details>"
    )


def _history_table(history: Sequence[dict[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in history for key in row))
    head = "".join(f'<th scope="col" class="number">{text(key.replace("_", " "))}</th>' for key in keys)
    rows = "".join(
        "<tr>" + "".join(f'<td class="number">{text(_value(row.get(key)))}</td>' for key in keys) + "</tr>"
        for row in history
    )
    return (
        '<div class="scroll tall" tabindex="0" role="region" aria-label="All values">'
        f'<table class="list"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def network_facts(model: dict[str, Any]) -> dict[str, Any]:
    facts = {key: value for key, value in model.items() if key not in ("classes", "format")}
    if "classes" in model:
        facts["classes"] = len(model["classes"])
    return facts


def facts(*tables: tuple[str, dict[str, Any]]) -> str:
    parts = []
    for name, record in tables:
        if record:
            rows = "".join(
                f'<tr><th scope="row">{text(key)}</th><td>{text(value)}</td></tr>' for key, value in _flat(record)
            )
            heading = f"<h3>{name}</h3>" if name else ""
            parts.append(f"<div>{heading}<table><tbody>{rows}</tbody></table></div>")
    return f'<div class="facts">{"".join(parts)}</div>' if parts else ""


def _flat(record: dict[str, Any], before: str = "") -> Iterable[tuple[str, str]]:
    for key, value in record.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", _value(value)


def _value(value: Any) -> str:
    if value is None or value in ([], (), {}, ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return short(value) if abs(value) < 1e4 else f"{value:,.0f}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return (
            "; ".join(map(_value, value)) if any(isinstance(v, dict) for v in value) else ", ".join(map(_value, value))
        )
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
