"""Two networks for pictures that no network was named for: both are trained, and validation decides.

Small pictures can be learnt by a small network, or by a large one with weights that were learnt on photographs. Which
is better depends on the pictures. The small one is trained first; the other takes its place only where it is clearly
better on the validation pictures. The test pictures play no part. `rival.toml` in the run folder holds the recipe of
the other until the choice is made, so an interrupted contest goes on where it stopped.
"""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import CasebookError, Interrupted
from ..evaluation.classifier import Classifier
from ..evaluation.views import Asking, ask
from ..files import write_json
from ..progress import Event, Remark, Reporter, RunOpened
from ..runner.unsure import SMALLEST
from ..training.fine_tuning import Losses, judge, losses_of
from ..training.plan import sets_of
from ..training.recipe import make_recipe
from ..training.run import RIVAL_FILE, Run
from ..training.session import Outcome, resume_run, train_run

RIVAL_FOLDER, WINNER_FOLDER = "rival", "winner"  # in the run folder, while the contest lasts


@contextlib.contextmanager
def contest(session: AbstractContextManager[Outcome], report: Reporter) -> Iterator[Outcome]:
    """The outcome of `session`, or that of its rival where it has one that is better."""
    with session as first:
        path = first.run.path
        if not (path / RIVAL_FILE).is_file():
            yield first
            return
        try:
            outcome = _better(first, path, report)
        except Interrupted:
            raise
        except CasebookError as error:  # what is trained already is not lost for it
            report(Remark(f"the other network could not be tried, so {first.run.recipe.model} is kept: {error}"))
            _forget_rival(path)
            outcome = first
        yield outcome


def _better(first: Outcome, path: Path, report: Reporter) -> Outcome:
    def quietly(event: Event) -> None:
        if not isinstance(event, RunOpened):  # the run is that of the first network to whoever looks on
            report(event)

    folder, data = path / RIVAL_FOLDER, {"data": first.run.recipe.data}
    recipe = make_recipe(path / RIVAL_FILE).model_copy(update=data)
    report(Remark(f"{first.run.recipe.model} is trained; {recipe.model} with {recipe.weights} weights is tried next"))
    if (folder / "recipe.toml").is_file():
        session = resume_run(folder, data, report=quietly)
    else:
        session = train_run(recipe, out=folder, report=quietly)
    with session as second:
        found = judge(*_losses(first, second, report))
    names, simpler, other = (first.run.recipe.model, second.run.recipe.model), found.simpler, found.other
    figures = (
        f"on {len(simpler.right)} validation pictures {names[0]} has {simpler.top1:.1%} right with a log loss of "
        f"{simpler.losses.mean():.3f}, {names[1]} {other.top1:.1%} with {other.losses.mean():.3f} "
        f"({found.gained})"
    )
    kept, clearly = (names[1], "it is") if found.accepted else (names[0], f"{names[1]} is not")
    reason = f"two networks were tried and {kept} was kept, since {clearly} clearly better: {figures}"
    outcome = second if found.accepted else first
    write_json(outcome.run.path / "model.json", outcome.run.model | {"networks": found.tried("model", names)})
    if found.accepted:
        folder.rename(path / WINNER_FOLDER)
        adopt_winner(path)
    _forget_rival(path)
    report(Remark(reason))
    return dataclasses.replace(outcome, run=Run(path), notes=(*outcome.notes, reason))


def _forget_rival(path: Path) -> None:
    shutil.rmtree(path / RIVAL_FOLDER, ignore_errors=True)
    (path / RIVAL_FILE).unlink(missing_ok=True)


def adopt_winner(path: Path) -> None:
    """Moves the files of a rival that won into the run folder; one that was cut off is completed."""
    winner = path / WINNER_FOLDER
    if winner.is_dir():
        for file in winner.iterdir():
            file.replace(path / file.name)
        winner.rmdir()
        _forget_rival(path)


def _losses(first: Outcome, second: Outcome, report: Reporter) -> tuple[Losses, Losses, NDArray[np.int64]]:
    """The losses of both networks on the validation pictures that both can read, and the sets these belong to."""
    said: list[dict[int, NDArray[np.float32]]] = []
    for outcome in (first, second):
        run, data = outcome.run, outcome.data
        classifier = Classifier(
            run.path.name, run.network(), run.preprocessing, run.classes, run=run, device=outcome.device
        )
        found, readable, _, _ = ask(classifier, data.source, data.split.val, asking=Asking(report=report))
        said.append(dict(zip(readable, found.probabilities, strict=True)))
    common = [index for index in said[0] if index in said[1]]
    labels = first.data.source.truth(common)
    simpler, other = (
        losses_of(np.log(np.maximum([one[index] for index in common], SMALLEST), dtype=np.float64), labels)
        for one in said
    )
    return simpler, other, sets_of(first.data, first.run.recipe, common)
