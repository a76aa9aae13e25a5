"""Networks enter; the exact size of their weight file and their measured peak memory leave.

Run as a program, this module is the process that measures memory: it loads torch once and forks for each network.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ModelError
from ..models import create_model
from ..models.weights import CHECKSUM

SAFETENSORS_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
CHECKSUM_LENGTH = 64  # hexadecimal digits of a SHA-256


class NetworkSpec(NamedTuple):
    """How another process builds a network."""

    name: str
    options: Mapping[str, Any]
    input_size: int


def file_bytes(network: nn.Module) -> int:
    """The size of the safetensors file with the network's weights and buffers, as in a run folder.

    The network may be on the meta device. Raises ModelError for a dtype that the format lacks.
    """
    header: dict[str, Any] = {"__metadata__": {CHECKSUM: "0" * CHECKSUM_LENGTH}}
    begin, state = 0, network.state_dict()
    for name in sorted(state, key=lambda name: (-state[name].element_size(), name)):  # the order of the format's writer
        tensor: Tensor = state[name]
        if tensor.dtype not in SAFETENSORS_TYPES:
            raise ModelError(f"{name} is {tensor.dtype}, which the safetensors format lacks")
        kind, shape = SAFETENSORS_TYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, begin + tensor.nbytes]}
        begin += tensor.nbytes
    length = len(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode())
    return 8 + -(-length // 8) * 8 + begin


class MemoryMeter:
    """Measures the peak memory of networks, each in a process of its own. Close it, or use it in a `with`.

    The result is the most by which the process grew while it built the network and ran it twice: weights, buffers,
    activations, packed weights and workspaces, but not torch itself, which is loaded before.
    """

    def __init__(self, *, batch_size: int = 1, threads: int = 1):
        self.batch_size, self.threads = batch_size, threads
        self._process: subprocess.Popen[str] | None = None  # started on first use
        self._closed = False

    def __enter__(self) -> "MemoryMeter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._closed = True
        if self._process is not None:
            self._process.communicate()
            self._process = None

    def peak_bytes(self, network: NetworkSpec) -> int:
        """Raises ModelError if the network does not fit into memory, if its process dies, and after `close`."""
        if self._closed:
            raise ModelError("this memory meter is closed; create another")
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "casebook.cost.memory"], text=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, env=os.environ | {"OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = network._asdict() | {"batch_size": self.batch_size, "threads": self.threads}
        try:
            print(json.dumps(wanted), file=self._process.stdin, flush=True)
            answer = json.loads(self._process.stdout.readline() or "{}")
        except (OSError, ValueError):  # the process has ended
            answer = {}
        if "bytes" not in answer:
            reason = answer.get("error", "its process ended")
            raise ModelError(
                f"the memory of {network.name} at {network.input_size} pixels cannot be measured: {reason}"
            )
        return answer["bytes"]


def peak_bytes_on_cuda(network: nn.Module, input_size: int, device: torch.device, batch_size: int = 1) -> int:
    """The peak of torch's allocator for the weights and one forward pass, without the driver's own memory."""
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    _forward(network, input_size, batch_size, device)
    return torch.cuda.max_memory_allocated(device) - before


def _forward(network: nn.Module, input_size: int, batch_size: int, device: str | torch.device = "cpu") -> None:
    images = torch.rand(batch_size, getattr(network, "in_channels", 3), input_size, input_size, device=device)
    with torch.inference_mode():
        for _ in range(2):
            network(images.contiguous(memory_format=torch.channels_last))


def _growth(wanted: Mapping[str, Any]) -> int:
    """In a fresh process: the peak memory less the memory before the network is built."""
    _warm_up()
    torch.set_num_threads(wanted["threads"])
    before = _peak()
    network = create_model(wanted["name"], **wanted["options"]).eval()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _forward(network, wanted["input_size"], wanted["batch_size"])
    return _peak() - before


def _peak() -> int:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _warm_up() -> None:
    """Loads the code of the usual layers, so that its memory is not attributed to the network."""
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.SiLU(),
        nn.Conv2d(16, 32, 1, bias=False), nn.MaxPool2d(3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip
    _forward(layers.eval().to(memory_format=torch.channels_last), 32, 1)  # type: ignore[call-overload]


def _serve() -> None:
    torch.set_num_threads(1)  # a forked process would not have the threads of a pool
    _warm_up()
    for line in sys.stdin:
        wanted = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _measure(wanted, writing)
        os.close(writing)
        with os.fdopen(reading) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        print(text or json.dumps({"error": "its process was killed, perhaps for lack of memory"}), flush=True)


def _measure(wanted: Mapping[str, Any], writing: int) -> None:
    """In the fork: measures, writes the answer, and exits without cleaning up."""
    try:
        result = {"bytes": _growth(wanted)}
    except (ModelError, RuntimeError, MemoryError) as error:
        result = {"error": str(error)}
    with os.fdopen(writing, "w") as answer:
        answer.write(json.dumps(result))
    os._exit(0)


if __name__ == "__main__":
    _serve()
