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
from typing import Any

import numpy as np

from ..errors import CasebookError, Interrupted
from ..evaluation.classifier import Classifier
from ..evaluation.views import Asking, ask
from ..files import write_json
from ..progress import Event, Remark, Reporter, RunOpened
from ..runner.unsure import SMALLEST
from ..training.fine_tuning import Losses, judge, losses_of
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
        f"{simpler.losses.mean():.3f}, {names[1]} {other.top1:.1%} with {other.losses.mean():.3f} (gain "
        f"{found.gain:.3f}, standard error {found.error:.3f})"
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


def _losses(first: Outcome, second: Outcome, report: Reporter) -> list[Losses]:
    """The losses of both networks on the validation pictures that both can read."""
    said: list[dict[str, tuple[Any, int]]] = []
    for outcome in (first, second):
        run, data = outcome.run, outcome.data
        classifier = Classifier(
            run.path.name, run.network(), run.preprocessing, run.classes, run=run, device=outcome.device
        )
        found, _, _, _ = ask(classifier, data.source, data.split.val, asking=Asking(report=report))
        pairs = zip(found.probabilities, found.labels.tolist(), strict=True)
        said.append(dict(zip(found.names, pairs, strict=True)))
    common = [name for name in said[0] if name in said[1]]
    return [
        losses_of(
            np.log(np.maximum([one[name][0] for name in common], SMALLEST), dtype=np.float64),
            np.array([one[name][1] for name in common], np.int64),
        )
        for one in said
    ]
