"""One process or many: the same calls, which do nothing when there is only one.

Under torchrun each process finds its rank in the environment; gloo joins CPUs, nccl GPUs.
"""

import contextlib
import datetime
import os
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

LETTING_GO_SECONDS = 0.1


class World(NamedTuple):
    """The processes that train together, and which of them this one is."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0


ALONE = World()


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """This process among those that torchrun started; leaves the group at the end."""
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1 and "TORCHELASTIC_RUN_ID" not in os.environ:
        yield World()
        return
    store, rank, world_size = next(iter(dist.rendezvous("env://")))  # pyright: ignore[reportPrivateImportUsage]
    # After a restart torchrun's store may still hold the addresses of the dead processes, and gloo then waits for
    # them for ever (seen with torch 2.13); each attempt writes under its own name.
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = dist.PrefixStore(f"attempt-{attempt}", store)  # pyright: ignore[reportPrivateImportUsage]
    backend = "nccl" if device.type == "cuda" else "gloo"
    # Process 0 may look at pictures or compute features for a long time while the others wait.
    patience = datetime.timedelta(hours=24)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=patience)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        yield World(dist.get_rank(), dist.get_world_size())
    finally:
        # Gloo's threads let go of the last tensors only when they get the interpreter; in one that ends meanwhile they
        # abort the process (seen with torch 2.13 on a busy machine, once in ten jobs).
        time.sleep(LETTING_GO_SECONDS)
        dist.destroy_process_group()


def job_id() -> str:
    """What names this job of torchrun in all its attempts, on this machine; empty without torchrun.

    The id alone does not: unless one is given, it is "none" for every job. The parent is torchrun itself, which stays.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return ""
    return f"{os.environ['TORCHELASTIC_RUN_ID']} {os.getppid()}"


def wait_for_all(world: World) -> None:
    if world.world_size > 1:
        dist.barrier()


def sum_over_all(values: Tensor, world: World) -> Tensor:
    """The elementwise sum of all processes' values; changes them in place."""
    if world.world_size > 1:
        dist.all_reduce(values)
    return values


def gather_from_all(document: object, world: World) -> list:
    """Each process's document, in the order of ranks, in every process."""
    if world.world_size == 1:
        return [document]
    gathered: list = [None] * world.world_size
    dist.all_gather_object(gathered, document)
    return gathered
