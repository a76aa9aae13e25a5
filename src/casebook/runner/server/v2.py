"""The Open Inference Protocol V2: health, metadata, inference, statistics, and the repository of models.

A model takes one of two inputs: `picture`, files as BYTES (in JSON: base64), or `pixels`, UINT8 that are already
resized. It gives `probabilities`, `logits`, `label`, `unsure` and `reason`; where a picture may have several labels it
gives `given`, a BOOL for each class, in place of `label`.
"""

import asyncio
import gzip
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...errors import PictureError
from .answering import Service, unless_gone
from .models import Model, PictureAnswer
from .reading import read_body
from .refusals import Refused, bad_request
from .tensors import LENGTH_HEADER, InferRequest, Tensor, Wanted, encode_response, parse_infer_request, parse_json

EXTENSIONS = ["binary_tensor_data", "classification", "model_configuration", "model_repository", "statistics"]
GZIP_BYTES = 1024  # a smaller body is not worth compressing
Answers = Sequence[PictureAnswer]


def _texts(texts: Sequence[str]) -> Tensor:
    return Tensor("BYTES", (len(texts),), [text.encode("utf-8") for text in texts])


def _scores(scores: list[Any]) -> Tensor:
    values = np.stack(scores).astype(np.float32)
    return Tensor("FP32", values.shape, values)


def _labels(model: Model, answers: Answers) -> Tensor:
    return _texts([model.answering.classes[int(np.argmax(answer.probabilities))] for answer in answers])


def _unsure(model: Model, answers: Answers) -> Tensor:
    values = np.array([answer.unsure is not None for answer in answers], np.bool_)
    return Tensor("BOOL", values.shape, values)


def _given(model: Model, answers: Answers) -> Tensor:
    values = np.zeros((len(answers), len(model.answering.classes)), np.bool_)
    for row, answer in zip(values, answers, strict=True):
        row[list(answer.labels or ())] = True
    return Tensor("BOOL", values.shape, values)


OUTPUTS: dict[str, Callable[[Model, Answers], Tensor]] = {
    "probabilities": lambda model, answers: _scores([answer.probabilities for answer in answers]),
    "logits": lambda model, answers: _scores([answer.logits for answer in answers]),
    "label": _labels,
    "given": _given,
    "unsure": _unsure,
    "reason": lambda model, answers: _texts([answer.unsure or "" for answer in answers]),
}


def _service(request: Request) -> Service:
    return request.app.state.service


def _model(request: Request) -> Model:
    return _service(request).models.find(request.path_params["model"], request.path_params.get("version"))


async def server_metadata(request: Request) -> Response:
    from ... import __version__

    return JSONResponse({"name": "casebook", "version": __version__, "extensions": EXTENSIONS})


async def live(request: Request) -> Response:
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    return _readiness(_service(request).ready, {"ready": True})


async def model_ready(request: Request) -> Response:
    model = _model(request)
    return _readiness(_service(request).ready, {"name": model.name, "ready": True})


def _readiness(is_ready: bool, document: dict[str, Any]) -> Response:
    if not is_ready:
        raise Refused(503, "not_ready", "the server is not ready", {"Retry-After": "1"})
    return JSONResponse(document)


def tensors_of(model: Model) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Names, datatypes and shapes of the inputs and of the outputs."""
    num_classes, many_labels = len(model.answering.classes), model.answering.many_labels
    given = {"name": "given", "datatype": "BOOL", "shape": [-1, num_classes]}
    label = {"name": "label", "datatype": "BYTES", "shape": [-1]}
    inputs = [
        {"name": "picture", "datatype": "BYTES", "shape": [-1]},
        {"name": "pixels", "datatype": "UINT8", "shape": [-1, *model.answering.input_shape]},
    ]
    outputs = [
        {"name": "probabilities", "datatype": "FP32", "shape": [-1, num_classes]},
        {"name": "logits", "datatype": "FP32", "shape": [-1, num_classes]},
        given if many_labels else label,
        {"name": "unsure", "datatype": "BOOL", "shape": [-1]},
        {"name": "reason", "datatype": "BYTES", "shape": [-1]},
    ]
    return inputs, outputs


async def model_metadata(request: Request) -> Response:
    model = _model(request)
    inputs, outputs = tensors_of(model)
    versions = [other.version for other in _service(request).models.all() if other.name == model.name]
    document = {"name": model.name, "versions": versions, "platform": "casebook", "inputs": inputs, "outputs": outputs}
    return JSONResponse(document | {"parameters": model.answering.about})


async def model_config(request: Request) -> Response:
    """As Triton's model configuration; `max_batch_size` 0 means that the shapes show the batch themselves."""
    model = _model(request)
    inputs, outputs = tensors_of(model)
    kinds = {"BYTES": "TYPE_STRING"}

    def described(tensor: dict[str, Any]) -> dict[str, Any]:
        kind = kinds.get(tensor["datatype"], f"TYPE_{tensor['datatype']}")
        return {"name": tensor["name"], "data_type": kind, "dims": tensor["shape"]}

    batching = _service(request).settings.batching
    document = {
        "name": model.name,
        "platform": "casebook",
        "backend": model.answering.about.get("engine", ""),
        "max_batch_size": 0,
        "input": [described(tensor) | {"optional": True} for tensor in inputs],
        "output": [described(tensor) for tensor in outputs],
        "dynamic_batching": {
            "preferred_batch_size": [batching.max_pictures],
            "max_queue_delay_microseconds": round(batching.wait_ms * 1000),
        },
        "parameters": {"labels": {"string_value": json.dumps(model.answering.classes, ensure_ascii=False)}},
    }
    return JSONResponse(document)


async def model_statistics(request: Request) -> Response:
    models = [_model(request)] if "model" in request.path_params else _service(request).models.all()
    return JSONResponse({"model_stats": list(map(_statistics, models))})


def _statistics(model: Model) -> dict[str, Any]:
    counts, batches = model.counts, model.batcher.statistics

    def duration(count: int, seconds: float) -> dict[str, int]:
        return {"count": count, "ns": round(seconds * 1e9)}

    return {
        "name": model.name,
        "version": model.version,
        "last_inference": counts.last_ms,
        "inference_count": batches.pictures,
        "execution_count": batches.calls,
        "inference_stats": {
            "success": duration(counts.succeeded, counts.seconds),
            "fail": duration(counts.failed, 0.0),
            "queue": duration(batches.pictures, batches.queue_seconds),
            "compute_input": duration(batches.pictures, counts.decode_seconds),
            "compute_infer": duration(batches.calls, batches.engine_seconds),
            "compute_output": duration(0, 0.0),
        },
        "batch_stats": [
            {"batch_size": size, "compute_infer": duration(round(calls), seconds)}
            for size, (calls, seconds) in sorted(batches.sizes.items())
        ],
    }


async def infer(request: Request) -> Response:
    service, model = _service(request), _model(request)
    with service.admission.admitted() as share, model.in_use():
        body = await read_body(request, service.limits, share)
        asked = parse_infer_request(body, request.headers.get(LENGTH_HEADER), service.limits.json_bytes)
        wanted = _checked_outputs(asked, model)
        name, tensor = _checked_input(asked, model)
        if (count := len(tensor.values)) > service.limits.pictures:
            raise Refused(
                413, "too_many_pictures", f"{count} pictures, the limit is {service.limits.pictures} a request"
            )
        share.take(pictures=count - 1)
        if name == "picture":
            work = service.answer_files(model, list(tensor.values))
        else:
            work = service.answer_pixels(model, np.asarray(tensor.values))
        found = await unless_gone(request, work)
    answers: list[PictureAnswer] = []
    for number, one in enumerate(found):
        if isinstance(one, PictureError):
            raise Refused(422, "unreadable_picture", f"picture {number} {one.reason}")
        answers.append(one)
    outputs = [(one.name, _output(one, model, answers), one.binary) for one in wanted]
    document = {"model_name": model.name, "model_version": model.version}
    encoded, length = encode_response(document | ({"id": asked.id} if asked.id is not None else {}), outputs)
    return await _encoded(request, encoded, length)


def _checked_input(asked: InferRequest, model: Model) -> tuple[str, Tensor]:
    """The one input, of a shape that the model takes, with at least one picture."""
    if len(asked.inputs) != 1:
        raise bad_request(f"{len(asked.inputs)} inputs are given, expected one: picture or pixels")
    (name, tensor), shape = next(iter(asked.inputs.items())), model.answering.input_shape
    if (name, tensor.datatype) == ("picture", "BYTES"):
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ((), (1,)):
            raise bad_request(f"the shape of 'picture' is {list(tensor.shape)}, expected [N] or [N, 1]")
    elif (name, tensor.datatype) == ("pixels", "UINT8"):
        if tensor.shape[1:] != shape or len(tensor.shape) != 4:
            raise bad_request(
                f"the shape of 'pixels' is {list(tensor.shape)}, expected [N, {', '.join(map(str, shape))}]"
            )
    else:
        raise bad_request(f"input {name[:100]!r} of {tensor.datatype}, expected picture of BYTES or pixels of UINT8")
    if not len(tensor.values):
        raise bad_request(f"{name!r} holds no picture")
    return name, tensor


def _checked_outputs(asked: InferRequest, model: Model) -> list[Wanted]:
    """What is asked for; without a word all but the logits."""
    known = [tensor["name"] for tensor in tensors_of(model)[1]]
    if asked.outputs is None:
        return [Wanted(name, asked.binary_output) for name in known if name != "logits"]
    for number, wanted in enumerate(asked.outputs):
        if wanted.name not in known:
            raise bad_request(f"unknown output {wanted.name[:100]!r}; the model has {', '.join(known)}")
        if wanted.top and wanted.name not in ("probabilities", "logits"):
            raise bad_request(f"output {wanted.name!r} has no classes to name")
        if wanted.name in [other.name for other in asked.outputs[:number]]:
            raise bad_request(f"output {wanted.name!r} is asked for twice")
    return asked.outputs


def _output(wanted: Wanted, model: Model, answers: Answers) -> Tensor:
    tensor = OUTPUTS[wanted.name](model, answers)
    return _classified(wanted, model, np.asarray(tensor.values)) if wanted.top else tensor


def _classified(wanted: Wanted, model: Model, scores: np.ndarray) -> Tensor:
    """(B, top) of "score:index:label", the best first: the classification extension."""
    top = min(wanted.top, scores.shape[1])
    best = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    rows = zip(best, scores, strict=True)
    texts = [f"{row[index]:f}:{index}:{model.answering.classes[index]}" for indices, row in rows for index in indices]
    return Tensor("BYTES", best.shape, [text.encode("utf-8") for text in texts])


async def _encoded(request: Request, content: bytes, length: int | None) -> Response:
    """The response, compressed where the client asks for it and it is worth it."""
    headers = {} if length is None else {LENGTH_HEADER: str(length)}
    accepted = [one.partition(";") for one in request.headers.get("accept-encoding", "").lower().split(",")]
    wants_gzip = any(name.strip() == "gzip" and quality.strip() != "q=0" for name, _, quality in accepted)
    if wants_gzip and len(content) >= GZIP_BYTES:
        content = await asyncio.to_thread(gzip.compress, content, 1)
        headers["Content-Encoding"] = "gzip"
    headers["Vary"] = "Accept-Encoding"
    return Response(
        content, headers=headers, media_type="application/json" if length is None else "application/octet-stream"
    )


async def repository_index(request: Request) -> Response:
    service = _service(request)
    asked = await _small_json(request)
    rows = service.models.index()
    return JSONResponse([row for row in rows if row["state"] == "READY"] if asked.get("ready") is True else rows)


def _alone(request: Request) -> None:
    """Raises Refused (409) in one of several workers: the others would go on with their old models."""
    if _service(request).settings.workers > 1:
        raise Refused(409, "several_workers", "a request reaches one of several workers; send SIGHUP to their parent")


async def load_model(request: Request) -> Response:
    _alone(request)
    parameters = (await _small_json(request)).get("parameters") or {}
    if not isinstance(parameters, dict) or parameters:
        raise bad_request("load takes no parameters: a bundle brings its own configuration and files")
    await _service(request).models.load_name(request.path_params["model"])
    return JSONResponse({})


async def unload_model(request: Request) -> Response:
    _alone(request)
    await _small_json(request)
    _service(request).models.unload_name(request.path_params["model"])
    return JSONResponse({})


async def _small_json(request: Request) -> dict[str, Any]:
    service = _service(request)
    with service.admission.admitted() as share:
        body = await read_body(request, service.limits, share)
    return parse_json(body, 65536) if body.strip() else {}


_MODEL = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
ROUTES = [
    Route("/v2", server_metadata),
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    Route("/v2/models/stats", model_statistics),
    *(
        Route(f"{prefix}{ending}", endpoint, methods=methods)
        for prefix in _MODEL
        for ending, endpoint, methods in (
            ("", model_metadata, ["GET"]),
            ("/ready", model_ready, ["GET"]),
            ("/config", model_config, ["GET"]),
            ("/stats", model_statistics, ["GET"]),
            ("/infer", infer, ["POST"]),
        )
    ),
    Route("/v2/repository/index", repository_index, methods=["POST"]),
    Route("/v2/repository/models/{model}/load", load_model, methods=["POST"]),
    Route("/v2/repository/models/{model}/unload", unload_model, methods=["POST"]),
]
