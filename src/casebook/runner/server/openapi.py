"""The OpenAPI description of the server: plain data, from which clients and tests are generated."""

from typing import Any

from .settings import MIB, ServerSettings

TEXT = {"type": "string"}
COUNT = {"type": "integer", "minimum": 0}
PICTURE = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": TEXT,
        "classes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["class", "probability"],
                "properties": {"class": TEXT, "probability": {"type": "number", "minimum": 0, "maximum": 1.000001}},
            },
        },
        "unsure": {"type": "boolean", "description": "Whether the model would rather not answer."},
        "reason": {"type": ["string", "null"], "description": "Why it is unsure."},
        "labels": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "Where a picture may have several labels: those that reach their thresholds.",
        },
        "set": {
            "type": ["array", "null"],
            "items": TEXT,
            "description": "The classes that are possible at the level that the bundle promises.",
        },
        "error": {"$ref": "#/components/schemas/ErrorDetail"},
    },
}
SCHEMAS: dict[str, Any] = {
    "ErrorDetail": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": TEXT, "message": TEXT, "request_id": TEXT},
    },
    "Error": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"$ref": "#/components/schemas/ErrorDetail"}},
    },
    "ProtocolError": {
        "type": "object",
        "required": ["error"],
        "properties": {"error": TEXT, "code": TEXT, "request_id": TEXT},
    },
    "Classified": {
        "type": "object",
        "required": ["model", "version", "request_id", "pictures"],
        "properties": {
            "model": TEXT,
            "version": TEXT,
            "request_id": TEXT,
            "pictures": {"type": "array", "minItems": 1, "items": PICTURE},
        },
    },
    "InferRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": TEXT,
            "parameters": {"type": "object"},
            "inputs": {
                "type": "array",
                "minItems": 1,
                "maxItems": 1,
                "items": {
                    "type": "object",
                    "required": ["name", "datatype", "shape"],
                    "properties": {
                        "name": {"enum": ["picture", "pixels"]},
                        "datatype": {"enum": ["BYTES", "UINT8"]},
                        "shape": {"type": "array", "items": COUNT},
                        "data": {"type": "array", "description": "Pictures in base64, or values from 0 to 255."},
                        "parameters": {"type": "object"},
                    },
                },
            },
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"enum": ["probabilities", "logits", "label", "given", "unsure", "reason"]},
                        "parameters": {
                            "type": "object",
                            "properties": {"classification": COUNT, "binary_data": {"type": "boolean"}},
                        },
                    },
                },
            },
        },
    },
}
REASONS = {
    "400": "The request is not of the form that is expected.",
    "401": "The token is missing or wrong.",
    "403": "The server was started without a token, so models cannot be administered.",
    "404": "There is no such model or version.",
    "408": "The body came too slowly.",
    "409": "The server has several workers; SIGHUP to their parent loads the bundles of all.",
    "413": "The body, or the number of pictures, is above the limit.",
    "415": "The body has an unknown Content-Encoding.",
    "421": "A server without a token answers on this machine's own names only.",
    "422": "A picture cannot be read.",
    "503": "The server is busy or not ready; Retry-After says when to try again.",
}
COMMON = ("401", "421")
WITH_BODY = ("400", "408", "413", "415")


def openapi_document(settings: ServerSettings) -> dict[str, Any]:
    """OpenAPI 3.1."""
    from ... import __version__

    limits = settings.limits
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "Casebook",
            "version": __version__,
            "description": f"Classifies pictures, which are never stored. A request may have "
            f"{limits.body_bytes / MIB:g} MiB and {limits.pictures} pictures.",
        },
        "paths": _own_paths() | _protocol_paths(),
        "components": {"schemas": SCHEMAS},
    }
    if settings.access.token is not None:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _operation(
    identity: str, summary: str, answer: Any, *, errors: tuple[str, ...] = (), schema: str = "Error", **more: Any
) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": answer}}
    for status in sorted({*COMMON, *errors}):
        responses[status] = {"description": REASONS[status], "content": error}
    return {"operationId": identity, "summary": summary, "responses": responses, **more}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, where: str, description: str, schema: Any = TEXT) -> dict[str, Any]:
    return {"name": name, "in": where, "required": where == "path", "description": description, "schema": schema}


def _own_paths() -> dict[str, Any]:
    binary = {"schema": {"type": "string", "format": "binary"}}
    files = {"type": "array", "items": {"type": "string", "format": "binary"}}
    form = {"schema": {"type": "object", "required": ["files"], "properties": {"files": files}}}
    plain = {"text/plain": {"schema": TEXT}}
    return {
        "/v1/classify": {
            "post": _operation(
                "classify",
                "Say what is in pictures: the body is one picture, or a form with files.",
                _json({"$ref": "#/components/schemas/Classified"}),
                errors=(*WITH_BODY, "404", "422", "503"),
                parameters=[
                    _parameter("model", "query", "The model's name; needed where several are served."),
                    _parameter("version", "query", "The model's version; without it, the last one."),
                    _parameter(
                        "top", "query", "Classes to name for each picture.", COUNT | {"minimum": 1, "maximum": 10**6}
                    ),
                ],
                requestBody={
                    "required": True,
                    "content": {
                        "image/*": binary,
                        "application/octet-stream": binary,
                        "multipart/form-data": form,
                    },
                },
            )
        },
        "/v1/models": {"get": _operation("list_models", "The models with their classes.", _json({"type": "object"}))},
        "/metrics": {"get": _operation("metrics", "Counts and durations in Prometheus's text format.", plain)},
    }


def _protocol_paths() -> dict[str, Any]:
    model = _parameter("model", "path", "The model's name.")
    version = _parameter("version", "path", "The model's version.")
    found: dict[str, Any] = {}

    def add(path: str, method: str, summary: str, errors: tuple[str, ...] = (), **more: Any) -> None:
        identity = path.strip("/").replace("/", "_").replace("{", "").replace("}", "")
        answer = _json({"type": "array" if path.endswith("/index") else "object"})
        operation = _operation(identity, summary, answer, errors=errors, schema="ProtocolError", **more)
        found.setdefault(path, {})[method] = operation

    add("/v2", "get", "Name, version and extensions of the server.")
    add("/v2/health/live", "get", "Whether the server runs.")
    add("/v2/health/ready", "get", "Whether every model is loaded and gave the right answers.", ("503",))
    add("/v2/models/stats", "get", "Statistics of all models.")
    for prefix, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        for ending, summary in (
            ("", "Inputs and outputs of a model."),
            ("/ready", "Whether the model answers."),
            ("/config", "The configuration, in Triton's form."),
            ("/stats", "Statistics of a model."),
        ):
            add(prefix + ending, "get", summary, ("400", "404", "503"), parameters=parameters)
        body = {
            "required": True,
            "content": {
                **_json({"$ref": "#/components/schemas/InferRequest"}),
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
        errors = (*WITH_BODY, "404", "422", "503")
        summary = "Answer pictures; tensors are in JSON, or binary, as Inference-Header-Content-Length announces."
        add(f"{prefix}/infer", "post", summary, errors, parameters=parameters, requestBody=body)
    repository = ("403", "404", "409", "503", *WITH_BODY)
    add("/v2/repository/index", "post", "All models with their state.", repository)
    for verb, what in (
        ("load", "Load a model's file again; the old one answers until then."),
        ("unload", "Stop a model."),
    ):
        add(f"/v2/repository/models/{{model}}/{verb}", "post", what, repository, parameters=[model])
    return found
