"""One process or many: the same calls, which do nothing when there is only one.

Under torchrun each process finds its rank in the environment; gloo joins CPUs, nccl GPUs.
"""

import contextlib
import datetime
import os
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

LETTING_GO_SECONDS = 0.1
ASKING_AGAIN_SECONDS = 0.05


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
    store = dist.PrefixStore(agreed_name(store, rank, world_size), store)  # pyright: ignore[reportPrivateImportUsage]
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


def agreed_name(store: Any, rank: int, world_size: int) -> str:
    """A name that the processes of this attempt share, and none of an earlier one: what died may still be in `store`.

    torchrun's count of restarts does not do: it differs between machines when one of them has to start again. So each
    process leaves a number that nobody else has; process 0 answers to the latest number of each until it hears back.
    """
    own = uuid.uuid4().hex
    if rank:
        store.set(f"here-{rank}", own)
        name = store.get(f"join-{own}").decode()  # waits for it
        store.set(f"joined-{own}", name)
        return name
    others = range(1, world_size)
    store.wait([f"here-{other}" for other in others])
    while True:
        numbers = [store.get(f"here-{other}").decode() for other in others]
        for number in numbers:
            store.set(f"join-{number}", own)
        if all(_has_joined(store, number, own) for number in numbers):
            return own
        time.sleep(ASKING_AGAIN_SECONDS)


def _has_joined(store: Any, number: str, name: str) -> bool:
    return store.check([f"joined-{number}"]) and store.get(f"joined-{number}").decode() == name


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


def is_divided(weight: Tensor) -> bool:
    return hasattr(weight, "to_local")  # without importing DTensor, which takes longer than a small training


def has_divided(network: nn.Module) -> bool:
    return any(is_divided(weight) for weight in network.parameters())


def own_part(value: Any) -> Tensor:
    """The part of a tensor that lies in this process, not a copy; all of one that is not divided."""
    return value.to_local() if is_divided(value) else value


def whole(tree: Any, *, keep: bool = True) -> Any:
    """The nested state with whole tensors on the CPU in place of divided ones; all processes must ask for it.

    One that does not `keep` it gets None for each tensor.
    """
    if isinstance(tree, Tensor):
        value: Any = tree.detach()
        value = value.full_tensor() if is_divided(value) else value
        return value.cpu() if keep else None
    if isinstance(tree, dict):
        return {name: whole(value, keep=keep) for name, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(whole(value, keep=keep) for value in tree)
    return tree


def laid_out_like(value: Tensor, weight: Any) -> Tensor:
    """A whole tensor on the device and in the memory layout of a weight of its shape; divided if that is divided."""
    if not is_divided(weight):
        return torch.empty_like(weight, dtype=value.dtype).copy_(value)
    from torch.distributed.tensor import distribute_tensor

    value = value.to(weight.device).contiguous()
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None)
