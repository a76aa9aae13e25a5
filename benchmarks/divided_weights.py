"""What a process holds when weights are whole (DDP) or divided (FSDP), and whether both learn the same.

    python benchmarks/divided_weights.py --model vgg16

Two processes of torchrun on the CPU take two steps with random pictures, one arm after the other. Held are the bytes of
weights, momentum and average after a step, counted; the peak is the largest resident set of a process, less that before
the network was made.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
from itertools import repeat

import torch

from casebook.data.loader import Inputs
from casebook.models import create_model
from casebook.preprocessing import Preprocessing
from casebook.training.distributed import World, gather_from_all, joined, own_part, whole
from casebook.training.divided_weights import divide
from casebook.training.recipe import make_recipe
from casebook.training.stepper import Phase, Stepper

STEPS = 2


def step(arm: str, model: str, size: int, world: World) -> dict[str, object]:
    torch.set_num_threads(1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    torch.manual_seed(0)
    network = create_model(model, num_classes=10)
    device = torch.device("cpu")
    if arm == "divided":
        divide(network, Preprocessing(size=size), device, world)
    recipe = make_recipe("scratch", model=model, ema_decay=0.9, learning_rate=0.01)
    stepper = Stepper(network, Phase(1), recipe, device, world)
    stepper.start()
    torch.manual_seed(1 + world.rank)
    batch = Inputs(torch.randn(2, 3, size, size), torch.tensor([0, 1]))
    with stepper.ready():
        for _ in range(STEPS):
            torch.manual_seed(2)  # the same neurons drop out in both arms
            stepper.step(repeat(batch), [2 * world.world_size], 0.01)
    assert stepper.average is not None
    states = [*stepper.average.state.values(), *network.state_dict().values()]
    states += [value for of_weight in stepper.optimiser.state.values() for value in of_weight.values()
               if isinstance(value, torch.Tensor)]  # fmt: skip
    held = sum(own_part(state).numel() * own_part(state).element_size() for state in states)
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    digest = sum(value.double().abs().sum().item() for value in whole(dict(network.state_dict())).values())
    return {"arm": arm, "held MB": round(held / 1e6), "peak MB": round(peak / 1e6), "sum of weights": digest}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="vgg16")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    parser.add_argument("--arm", choices=("whole", "divided"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.arm:
        with joined(torch.device("cpu")) as world:
            found = gather_from_all(step(given.arm, given.model, given.size, world), world)
            if world.is_first:
                print(*map(json.dumps, found), sep="\n", flush=True)
        return
    for arm in ("whole", "divided"):
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        subprocess.run([*launcher, *sys.argv, "--arm", arm], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)


if __name__ == "__main__":
    main()
