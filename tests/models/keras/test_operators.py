"""What the conversion knows about shapes and windows, without Keras."""

import itertools
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional

from casebook.errors import CasebookError
from casebook.models import create_model
from casebook.models.keras.network import to_keras
from casebook.models.keras.operators import axis_of, counted, is_order_free, window_sides


def test_without_keras_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(CasebookError, match=r"pip install 'casebook\[keras\]'"):
        to_keras(create_model("lenet5"))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 1), (5, 3, 2)])
@pytest.mark.parametrize(("ceil_mode", "include_pad"), list(itertools.product((False, True), repeat=2)))
def test_windows_lie_where_pytorchs_do(kernel, stride, padding, ceil_mode, include_pad):
    for size in range(5, 16):
        ones = torch.ones(1, 1, size)
        expected = functional.avg_pool1d(
            ones, kernel, stride, padding, ceil_mode=ceil_mode, count_include_pad=include_pad
        )
        sides = window_sides(size, kernel, stride, padding, ceil_mode)
        counts = counted(size, kernel, stride, padding, sides, include_pad)
        padded = np.pad(np.ones(size), sides)
        sums = [padded[i : i + kernel].sum() for i in range(0, len(padded) - kernel + 1, stride)]
        np.testing.assert_allclose(np.array(sums) / counts, expected[0, 0].numpy(), rtol=1e-6)


def test_channels_go_last():
    assert [axis_of(dim, 4) for dim in range(4)] == [0, 3, 1, 2]
    assert [axis_of(dim, 4) for dim in (-1, -3)] == [2, 3]
    assert [axis_of(dim, 2) for dim in range(2)] == [0, 1]


def test_which_shapes_need_no_reordering():
    assert is_order_free((1, 1, 8))
    assert is_order_free((5, 4, 1))
    assert not is_order_free((2, 1, 8))
