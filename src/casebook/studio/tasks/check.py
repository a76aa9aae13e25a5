"""Looks for what is wrong with a project's pictures, and for labels that are probably wrong."""

from collections.abc import Mapping
from typing import Any

from ..pictures import current_source
from .task import Task, Work


def check(work: Work) -> Mapping[str, Any]:
    """The document of `casebook data check --json`, for the labels as they are now."""
    from ...data.check import check_data

    assert work.project is not None
    return check_data(current_source(work.studio, work.project), report=work.report).to_dict()


def suspects(work: Work) -> Mapping[str, Any]:
    """The document of `casebook data suspects --json`, for the labels as they are now."""
    from ...errors import DataError
    from ...training.default import choose_default
    from ...training.recipe import make_recipe
    from ...workflows.suspects import suspects as find_suspects

    assert work.project is not None
    source = current_source(work.studio, work.project)
    try:
        chosen = choose_default(make_recipe(data=work.data))
    except DataError:
        chosen = None
    model, weights = (chosen.model, chosen.weights) if chosen is not None and chosen.weights else (None, None)
    return find_suspects(source, model=model, weights=weights, progress=work.report).to_dict()


CHECK = Task("check", "checking the pictures", check)
SUSPECTS = Task("suspects", "looking for wrong labels", suspects)
