"""Experiments as `casebook study` makes them."""

from pathlib import Path
from typing import Any

import torch

from casebook.studies.experiment import Experiment, Study, StudySettings
from casebook.studies.trials import TrialSettings

CPU = torch.device("cpu")


def make_experiment(study: Study, folder: Path, **settings: Any) -> Experiment:
    """One seed in quick mode unless the `StudySettings` say otherwise."""
    return Experiment(study, StudySettings(**({"seeds": (0,)} | settings)), folder=folder, device=CPU)


def trial_settings(folder: Path, *seeds: int, **options: Any) -> TrialSettings:
    return TrialSettings(seeds or (0,), folder, CPU, **options)
