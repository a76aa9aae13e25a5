import threading

import pytest
import torch

from casebook.device import using_threads
from casebook.training.cores import each_by_one_core


@pytest.mark.parametrize("threads", [1, 3])
def test_a_cpu_makes_each_by_one_thread_and_keeps_the_order(threads: int) -> None:
    makers: set[int] = set()

    def make(number: int) -> int:
        makers.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        return number**2

    with using_threads(threads):
        assert list(each_by_one_core(make, range(50), torch.device("cpu"))) == [number**2 for number in range(50)]
        assert torch.get_num_threads() == threads
    assert (makers == {threading.get_ident()}) == (threads == 1)


def test_another_device_gets_one_after_the_other() -> None:
    makers = list(each_by_one_core(lambda _: threading.get_ident(), range(5), torch.device("meta")))
    assert set(makers) == {threading.get_ident()}
