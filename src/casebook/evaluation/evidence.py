"""What a run's validation pictures show about its mistakes -> judgement.json, judgement.safetensors and a `Judge`.

No validation picture both fits and promises. The promise counts mistakes in the order of the margins, which no
temperature changes; the sets use the network's own probabilities; the limit of `Unlike` is a score of a validation
picture, given which those below it are independent draws; the pictures that are kept for it come from the training
part. Only the temperature is fitted, and nothing is promised about it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.datasets import PictureData
from ..device import autocast, choose_precision
from ..errors import DataError, RunError
from ..files import write_atomically, write_json
from ..formatting import share_text
from ..models.layers import Network
from ..progress import Reporter, silent
from ..runner.unsure import Judge, PredictionSets, Unlike, margins
from ..training.features import Arithmetic, FeatureExtractor, Views
from ..training.plan import make_prepare
from ..training.run import Run
from ..training.temperature import fit_temperature
from .classifier import ACTIVATIONS, Classifier
from .conformal import Calibrated, calibrate_sets
from .labelled import own_data
from .predictions import Predictions
from .promise import CONFIDENCE, Promise, find_promise, pictures_needed, possible_promises
from .unlike import choose_kept, fit_unlike
from .views import Asking, Shown, ask

FORMAT = 1
NUMBERS, TABLE = "judgement.json", "judgement.safetensors"


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """`margins` and `wrong` are those of the validation pictures that are not unlike the training pictures."""

    temperature: float
    sets: Calibrated
    unlike: Unlike | None
    margins: NDArray[np.float32]
    wrong: NDArray[np.bool_]
    num_pictures: int
    """Validation pictures, the unlike ones included."""

    def promises(self) -> list[Promise]:
        """What can be promised, the strictest first; perhaps nothing."""
        return possible_promises(self.margins, self.wrong)

    def judge(self, most_wrong: float) -> Judge:
        """The judge whose answers are wrong in at most this share, at 95 % confidence.

        Raises RunError where the validation pictures do not allow this promise, saying what they do allow.
        """
        if not 0 < most_wrong < 1:
            raise DataError(f"unsure is {most_wrong}, expected a share of wrong answers between 0 and 1, such as 0.01")
        promise = find_promise(self.margins, self.wrong, most_wrong)
        if promise is None:
            raise RunError(self._refusal(most_wrong))
        return self.judge_of(promise)

    def judge_of(self, promise: Promise) -> Judge:
        """The judge that keeps a promise of `promises`."""
        return Judge(promise.most_wrong, promise.confidence, promise.least_margin, self.temperature, self.sets.sets,
                     self.unlike)  # fmt: skip

    def _refusal(self, most_wrong: float) -> str:
        n, needed = len(self.margins), pictures_needed(most_wrong)
        said = f"cannot promise at most {share_text(most_wrong)} wrong answers at {share_text(CONFIDENCE)} confidence: "
        if n < needed:
            said += f"{n} validation pictures are too few, it takes {needed} answers without a mistake"
        else:
            said += f"too many of its surest answers for {n} validation pictures are wrong"
        allowed = [promise for promise in self.promises() if promise.most_wrong > most_wrong]
        if not allowed:
            return f"{said}; no useful promise can be made, so give it more validation pictures or train it better"
        best = allowed[0]
        allows = f"the strictest promise that they allow is at most {share_text(best.most_wrong)}"
        return f"{said}; {allows}: --unsure {best.most_wrong:g}"


def gather_evidence(
    classifier: Classifier, data: PictureData, *, frozen: bool = False, report: Reporter = silent
) -> Evidence:
    """Asks a run's classifier about its validation pictures, and some of its training pictures.

    `frozen`: the run's training has just validated a head on cached features, in the classifier's own arithmetic, so
    they need not be computed again.

    Raises RunError where there are no validation pictures, DataError where none can be read.
    """
    if not data.split.val:
        raise RunError(f"{classifier.name} has no validation pictures, on which a promise could rest")
    if frozen:
        said = ask_head(classifier, data, data.split.val, report).predictions
    else:
        said = ask(classifier, data.source, data.split.val, asking=Asking(features=True, report=report)).predictions
    unlike, near = None, np.ones(len(said.labels), bool)
    if said.features is not None and said.features.shape[1]:
        unlike = fit_unlike(_kept_features(classifier, data, report), said.features)
        near = unlike.scores(said.features) < unlike.limit
    return Evidence(
        temperature=fit_temperature(said.probabilities, said.labels),
        sets=calibrate_sets(said.probabilities, said.labels),
        unlike=unlike,
        margins=margins(said.probabilities)[near],
        wrong=(said.predicted() != said.labels)[near],
        num_pictures=len(said.labels),
    )


def ask_head(classifier: Classifier, data: PictureData, indices: Sequence[int], report: Reporter = silent) -> Shown:
    """What a run's classifier says of pictures of its data, by features from the cache or for the cache.

    As `ask` but for rounding, and faster: each core has pictures of its own, and norms are folded into convolutions.
    Raises DataError when not one picture can be read.
    """
    found = _extractor(classifier, classifier.dtype, report)(data.source, indices, data.scan.contents)
    values = torch.from_numpy(found.values[:, 0]).to(classifier.device)
    head: Any = classifier.model.head.classifier  # type: ignore[union-attr]
    with torch.inference_mode(), autocast(classifier.device, classifier.dtype):
        logits = torch.cat([head(part) for part in values.split(classifier.batch_size)])
    predictions = Predictions(
        tuple(data.source.pictures[index].name for index in found.indices),
        data.source.truth(found.indices),
        ACTIVATIONS[classifier.task](logits.float()).cpu().numpy(),
        classifier.classes,
        _pooled(found.values[:, 0]),
    )
    return Shown(predictions, tuple(found.indices.tolist()), found.skipped, None)


def _kept_features(classifier: Classifier, data: PictureData, report: Reporter) -> NDArray[np.float32]:
    """(M, F) of some training pictures; where a head was trained on cached features, they come from the cache."""
    train = np.array(data.split.train)
    labels = np.array([data.source.pictures[index].label for index in train])
    kept = train[choose_kept(labels)].tolist()
    precision = classifier.run.recipe.precision if classifier.run else "fp32"
    dtype = choose_precision(precision, classifier.device, classifier.preprocessing.size)
    return _pooled(_extractor(classifier, dtype, report)(data.source, kept, data.scan.contents).values[:, 0])


def _extractor(classifier: Classifier, dtype: torch.dtype, report: Reporter) -> FeatureExtractor:
    """The extractor whose cached features are those of the run's training."""
    network, run = classifier.model, classifier.run
    assert isinstance(network, Network)
    return FeatureExtractor(
        network,
        {"architecture": network.name, **network.options},
        classifier.preprocessing,
        make_prepare(classifier.preprocessing, classifier.device, run is None or run.recipe.channels_last),
        Views(),
        Arithmetic(classifier.device, dtype),
        report,
    )


def _pooled(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, F) or feature maps (N, F, H, W) -> (N, F)."""
    return features.mean((2, 3)) if features.ndim == 4 else features


def write_evidence(run: Run, evidence: Evidence) -> None:
    """Writes judgement.safetensors, then judgement.json, which holds the digest of the other and of the weights."""
    from safetensors.numpy import save

    table: dict[str, NDArray] = {"margins": evidence.margins, "wrong": evidence.wrong}
    numbers: dict[str, Any] = {"temperature": evidence.temperature, "num_pictures": evidence.num_pictures,
                               "sets": {**dataclasses.asdict(evidence.sets.sets), "n": evidence.sets.n,
                                        "spread": list(evidence.sets.spread)},
                               "unlike": None}  # fmt: skip
    if evidence.unlike is not None:
        table["kept"] = evidence.unlike.kept
        numbers["unlike"] = {"limit": evidence.unlike.limit, "refused": evidence.unlike.refused,
                             "neighbour": evidence.unlike.neighbour}  # fmt: skip
    content = save({name: np.ascontiguousarray(values) for name, values in table.items()})
    write_atomically(run.path / TABLE, content)
    write_json(
        run.path / NUMBERS,
        {
            "format": FORMAT,
            **numbers,
            "promises": [promise.to_dict() for promise in evidence.promises()],
            "weights_sha256": weights_digest(run),
            "table_sha256": hashlib.sha256(content).hexdigest(),
        },
    )


def read_evidence(run: Run) -> Evidence:
    """What `write_evidence` wrote. Raises RunError where it is missing, damaged, or of other weights."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    make = f"'casebook evaluate {run.path} --unsure 0.01' makes it from the validation pictures"
    try:
        numbers = json.loads((run.path / NUMBERS).read_text(encoding="utf-8"))
        content = (run.path / TABLE).read_bytes()
    except FileNotFoundError as error:
        raise RunError(f"{run.path}: no {Path(error.filename).name}, which says when to be unsure; {make}") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{run.path}: {NUMBERS} or {TABLE} cannot be read ({error}); {make}") from error
    try:
        if numbers["format"] != FORMAT or numbers["table_sha256"] != hashlib.sha256(content).hexdigest():
            raise ValueError("the two files do not belong together")
        if numbers["weights_sha256"] != weights_digest(run):
            raise ValueError("they were made with other weights")
        table, sets, unlike = load(content), numbers["sets"], numbers["unlike"]
        spread = (float(sets["spread"][0]), float(sets["spread"][1]))
        return Evidence(
            temperature=float(numbers["temperature"]),
            sets=Calibrated(PredictionSets(sets["coverage"], sets["least_probability"]), sets["n"], spread),
            unlike=None if unlike is None else Unlike(kept=table["kept"], **unlike),
            margins=table["margins"],
            wrong=table["wrong"].astype(bool),
            num_pictures=int(numbers["num_pictures"]),
        )
    except (KeyError, TypeError, ValueError, IndexError, SafetensorError) as error:
        raise RunError(f"{run.path}: {NUMBERS} and {TABLE} are of no use: {error}; {make}") from error


def evidence_of(classifier: Classifier, *, report: Reporter = silent) -> Evidence:
    """The evidence of a run's classifier: read, or gathered from the run's own data and written.

    Raises RunError or DataError where there is neither.
    """
    run = classifier.run
    if run is None:
        raise RunError(f"{classifier.name} is no run folder: a promise rests on the validation pictures of a run")
    try:
        return read_evidence(run)
    except RunError:
        evidence = gather_evidence(classifier, own_data(run), report=report)
    write_evidence(run, evidence)
    return evidence


def weights_digest(run: Run) -> str:
    """SHA-256 of the run's weights. Raises RunError where they cannot be read."""
    path = run.path / "model.safetensors"
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{path}: {error.strerror or error}; restore it from a copy") from error
