"""The tensors of the Open Inference Protocol V2, as JSON and in its binary extension, in both directions.

Source: https://github.com/kserve/open-inference-protocol (required API) and Triton's "binary tensor data" and
"classification" extensions. In the binary extension the JSON comes first, its length stands in the header
Inference-Header-Content-Length, and the tensors that have a `binary_data_size` follow it without gaps. An element of
BYTES is 4 bytes of little-endian length, then its content.
"""

import base64
import binascii
import itertools
import json
import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .refusals import bad_request

LENGTH_HEADER = "Inference-Header-Content-Length"
LENGTH = struct.Struct("<I")
DATATYPES = {"UINT8": np.uint8, "FP32": np.float32, "BOOL": np.bool_}


class Tensor(NamedTuple):
    """`values` are an array of the shape, or, for BYTES, the elements in order."""

    datatype: str
    shape: tuple[int, ...]
    values: "NDArray[Any] | Sequence[bytes]"


class Wanted(NamedTuple):
    """An output that a client asks for: as it is, or as the `top` classes; in binary form or in JSON."""

    name: str
    binary: bool
    top: int = 0


class InferRequest(NamedTuple):
    id: str | None
    inputs: dict[str, Tensor]
    outputs: list[Wanted] | None
    """None where the client leaves the choice to the server."""
    binary_output: bool


def parse_json(content: bytes, limit: int) -> dict[str, Any]:
    """A JSON object. Raises Refused (400, 413)."""
    if len(content) > limit:
        raise bad_request(
            f"the JSON has {len(content)} bytes, the limit is {limit}; send tensors in the binary form",
            "json_too_large",
        )
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the body is no JSON ({error})"[:200], "bad_json") from error
    if not isinstance(document, dict):
        raise bad_request("the JSON is no object", "bad_json")
    return document


def parse_infer_request(body: bytes, header_length: str | None, json_limit: int) -> InferRequest:
    """The request with its tensors. Raises Refused (400)."""
    if header_length is None:
        document, rest = parse_json(body, json_limit), memoryview(b"")
    else:
        if not (header_length.isascii() and header_length.isdigit() and int(header_length[:12]) <= len(body)):
            raise bad_request(f"{LENGTH_HEADER} is {header_length[:50]!r}, the body has {len(body)} bytes")
        length = int(header_length[:12])
        if length == 0:  # "raw binary": the whole body is the one element of the one input
            return InferRequest(None, {"picture": Tensor("BYTES", (1,), [body])}, None, False)
        document, rest = parse_json(body[:length], json_limit), memoryview(body)[length:]
    parameters = _object(document.get("parameters", {}), "parameters")
    binary_output = parameters.get("binary_data_output", False) is True
    inputs: dict[str, Tensor] = {}
    for given in _objects(document.get("inputs"), "inputs"):
        name = _text(given.get("name"), "the name of an input")
        if name in inputs:
            raise bad_request(f"input {name[:100]!r} is given twice")
        inputs[name], rest = _input(name[:100], given, rest)
    if len(rest):
        raise bad_request(f"{len(rest)} bytes follow the last binary tensor")
    if not inputs:
        raise bad_request("the request has no inputs")
    identity = document.get("id")
    if identity is not None:
        identity = _text(identity, "id")[:200]
    outputs = document.get("outputs")
    wanted = [_wanted(one, binary_output) for one in _objects(outputs, "outputs")] if outputs else None
    return InferRequest(identity, inputs, wanted, binary_output)


def _input(name: str, given: dict[str, Any], rest: memoryview) -> tuple[Tensor, memoryview]:
    """A tensor, and what is left of the binary data."""
    datatype = _text(given.get("datatype"), f"the datatype of input {name!r}")
    if datatype not in ("BYTES", "UINT8"):
        raise bad_request(f"the datatype of input {name!r} is {datatype[:50]!r}, expected BYTES or UINT8")
    shape = given.get("shape")
    if not isinstance(shape, list) or not all(type(side) is int and 0 <= side < 2**31 for side in shape):
        raise bad_request(f"the shape of input {name!r} is no list of sizes")
    size = _object(given.get("parameters", {}), "parameters").get("binary_data_size")
    if size is not None:
        if "data" in given:
            raise bad_request(f"input {name!r} has both data and a binary_data_size")
        if type(size) is not int or not 0 <= size <= len(rest):
            raise bad_request(f"binary_data_size of input {name!r} is {str(size)[:50]}, {len(rest)} bytes are left")
        read = _binary_bytes if datatype == "BYTES" else _binary_pixels
        return Tensor(datatype, tuple(shape), read(name, shape, rest[:size])), rest[size:]
    if not isinstance(given.get("data"), list):
        raise bad_request(f"input {name!r} has no data")
    read_json = _json_bytes if datatype == "BYTES" else _json_pixels
    return Tensor(datatype, tuple(shape), read_json(name, shape, given["data"])), rest


def _binary_bytes(name: str, shape: list[int], content: memoryview) -> list[bytes]:
    elements, position = [], 0
    while position < len(content):
        if position + LENGTH.size > len(content):
            raise bad_request(f"input {name!r} is cut off within the length of an element")
        (length,) = LENGTH.unpack_from(content, position)
        position += LENGTH.size
        if position + length > len(content):
            raise bad_request(f"input {name!r} is cut off: an element of {length} bytes is not whole")
        elements.append(bytes(content[position : position + length]))
        position += length
    return _fitting(name, shape, elements)


def _binary_pixels(name: str, shape: list[int], content: memoryview) -> NDArray[np.uint8]:
    if len(content) != math.prod(shape):
        raise bad_request(f"input {name!r} has {len(content)} bytes, its shape {shape} needs {math.prod(shape)}")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _json_bytes(name: str, shape: list[int], data: list[Any]) -> list[bytes]:
    """Elements in base64: JSON has no bytes."""
    flat = list(itertools.chain.from_iterable(one if isinstance(one, list) else [one] for one in data))
    try:
        elements = [base64.b64decode(_text(one, f"an element of input {name!r}"), validate=True) for one in flat]
    except (binascii.Error, ValueError) as error:
        raise bad_request(f"input {name!r} holds something that is no base64; pictures in JSON need it") from error
    return _fitting(name, shape, elements)


def _json_pixels(name: str, shape: list[int], data: list[Any]) -> NDArray[np.uint8]:
    """Nested or flat. NumPy would make an enormous array of texts of unequal length, so it gets integers only."""
    kinds = set(map(type, data))
    while kinds == {list}:
        data = list(itertools.chain.from_iterable(data))
        kinds = set(map(type, data))
    if not kinds <= {int} or (data and not 0 <= min(data) <= max(data) <= 255):
        raise bad_request(f"the data of input {name!r} are not all integers from 0 to 255")
    if len(data) != math.prod(shape):
        raise bad_request(f"input {name!r} has {len(data)} values, its shape {shape} needs {math.prod(shape)}")
    return np.array(data, np.uint8).reshape(shape)


def _fitting(name: str, shape: list[int], elements: list[bytes]) -> list[bytes]:
    if len(elements) != math.prod(shape):
        raise bad_request(f"input {name!r} has {len(elements)} elements, its shape {shape} needs {math.prod(shape)}")
    return elements


def _wanted(given: dict[str, Any], binary_output: bool) -> Wanted:
    parameters = _object(given.get("parameters", {}), "parameters")
    top, binary = parameters.get("classification", 0), parameters.get("binary_data", binary_output)
    if type(top) is not int or not 0 <= top < 2**31 or type(binary) is not bool:
        raise bad_request("an output's parameters are: classification, a number of classes; binary_data, true or false")
    return Wanted(_text(given.get("name"), "the name of an output"), binary, top)


def _object(given: Any, what: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise bad_request(f"{what} is no JSON object")
    return given


def _objects(given: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(given, list):
        raise bad_request(f"{what} is no list")
    return [_object(one, f"an element of {what}") for one in given]


def _text(given: Any, what: str) -> str:
    if not isinstance(given, str):
        raise bad_request(f"{what} is no text")
    return given


def encode_response(document: dict[str, Any], outputs: Sequence[tuple[str, Tensor, bool]]) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON where binary tensors (those marked True) follow."""
    described, blobs = [], []
    for name, tensor, binary in outputs:
        shown: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary:
            blobs.append(_packed(tensor))
            shown["parameters"] = {"binary_data_size": len(blobs[-1])}
        else:
            shown["data"] = _listed(tensor)
        described.append(shown)
    text = json.dumps(document | {"outputs": described}, ensure_ascii=False, allow_nan=False).encode("utf-8")
    return b"".join([text, *blobs]), len(text) if blobs else None


def _packed(tensor: Tensor) -> bytes:
    if isinstance(tensor.values, np.ndarray):
        return np.ascontiguousarray(tensor.values, np.dtype(DATATYPES[tensor.datatype]).newbyteorder("<")).tobytes()
    return b"".join(LENGTH.pack(len(element)) + element for element in tensor.values)


def _listed(tensor: Tensor) -> list[Any]:
    if isinstance(tensor.values, np.ndarray):
        return tensor.values.reshape(-1).tolist()
    return [element.decode("utf-8", "replace") for element in tensor.values]
