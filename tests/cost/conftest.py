"""The latency model of a device whose times are known exactly."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def latency_model(made_up_model: Callable[..., Any]) -> Any:
    """1 ms for 20 million multiply-adds of convolutions, 0.01 ms for each operator; 10 % off at worst."""
    return made_up_model(call_ms=0.01, times=(1.1, 0.9, 1.0))
