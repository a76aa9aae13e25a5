"""The Open Inference Protocol V2, asked in-process; test_triton.py asks with the real client."""

import base64
import gzip
import json
import struct

import numpy as np
import pytest

from casebook.runner.server.settings import Access, ServerSettings

TOKEN = "correct-horse-battery"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}
INFER = "/v2/models/brightness/infer"


def as_json(*pictures: bytes, **more) -> dict:
    data = [base64.b64encode(one).decode() for one in pictures]
    return {"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [len(pictures)], "data": data}], **more}


def by_name(document: dict) -> dict[str, dict]:
    return {output["name"]: output for output in document["outputs"]}


def test_health_and_metadata(serving, brightness) -> None:
    client = serving(brightness(), brightness(version="2"))
    assert client.get("/v2").json()["name"] == "casebook"
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/brightness/ready"):
        assert client.get(path).status_code == 200
    model = client.get("/v2/models/brightness/versions/1").json()
    assert (model["name"], model["versions"]) == ("brightness", ["1", "2"])
    assert {"name": "pixels", "datatype": "UINT8", "shape": [-1, 8, 8, 3]} in model["inputs"]
    assert {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]} in model["outputs"]
    config = client.get("/v2/models/brightness/config").json()
    assert json.loads(config["parameters"]["labels"]["string_value"]) == ["dark", "middling", "bright"]
    assert client.get("/v2/models/else").status_code == 404
    assert client.get("/v2/models/brightness/versions/3/ready").status_code == 404


def test_pictures_in_json(serving, brightness, picture) -> None:
    answer = serving(brightness()).post(INFER, json=as_json(picture(2), picture(64), id="7")).json()
    outputs = by_name(answer)
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("brightness", "1", "7")
    assert outputs["label"]["data"] == ["dark", "middling"]
    assert outputs["unsure"] == {"name": "unsure", "datatype": "BOOL", "shape": [2], "data": [False, True]}
    assert outputs["reason"]["data"] == ["", "the two best classes are equally probable"]
    assert outputs["probabilities"]["shape"] == [2, 3]
    assert np.reshape(outputs["probabilities"]["data"], (2, 3)).sum(1) == pytest.approx([1, 1], abs=1e-5)


def test_several_labels_are_a_bool_for_each_class(serving, brightness, picture) -> None:
    client = serving(brightness(many_labels=True))
    outputs = by_name(client.post(INFER, json=as_json(picture(2), picture(64))).json())
    assert outputs["given"]["data"] == [True, False, False, True, True, False]
    assert (outputs["given"]["datatype"], outputs["given"]["shape"]) == ("BOOL", [2, 3])
    assert "label" not in outputs
    named = [output["name"] for output in client.get("/v2/models/brightness").json()["outputs"]]
    assert named == ["probabilities", "logits", "given", "unsure", "reason"]
    refused = client.post(INFER, json=as_json(picture(2), outputs=[{"name": "label"}]))
    assert "unknown output 'label'" in refused.json()["error"]


def test_pixels_in_json_nested_and_flat_are_the_picture(serving, brightness, picture) -> None:
    client, network = serving(brightness()), brightness()
    pixels = network.pixels(picture(64))
    expected = network.answer(pixels[None])[0].probabilities
    for data in (pixels[None].tolist(), pixels.reshape(-1).tolist()):
        given = {"name": "pixels", "datatype": "UINT8", "shape": [1, 8, 8, 3], "data": data}
        answer = client.post(INFER, json={"inputs": [given], "outputs": [{"name": "probabilities"}]}).json()
        assert by_name(answer)["probabilities"]["data"] == pytest.approx(expected.tolist())


def test_binary_tensors_in_both_directions(serving, brightness, picture) -> None:
    files = [picture(2), picture(250)]
    blob = b"".join(struct.pack("<I", len(one)) + one for one in files)
    document = {
        "inputs": [
            {"name": "picture", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": len(blob)}}
        ],
        "outputs": [
            {"name": "logits", "parameters": {"binary_data": True}},
            {"name": "label", "parameters": {"binary_data": True}},
            {"name": "unsure", "parameters": {"binary_data": False}},
        ],
    }
    text = json.dumps(document).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    response = serving(brightness()).post(INFER, content=text + blob, headers=headers)
    length = int(response.headers["Inference-Header-Content-Length"])
    outputs, rest = by_name(json.loads(response.content[:length])), response.content[length:]
    assert outputs["logits"]["parameters"]["binary_data_size"] == 2 * 3 * 4
    logits = np.frombuffer(rest[:24], "<f4").reshape(2, 3)
    assert logits.argmax(1).tolist() == [0, 2]
    assert rest[24:] == b"\4\0\0\0dark\6\0\0\0bright"
    assert outputs["unsure"]["data"] == [False, False]


def test_a_raw_binary_body_is_one_picture(serving, brightness, picture) -> None:
    response = serving(brightness()).post(INFER, content=picture(250), headers={"Inference-Header-Content-Length": "0"})
    assert by_name(response.json())["label"]["data"] == ["bright"]


def test_classification_names_the_best_classes(serving, brightness, picture) -> None:
    client = serving(brightness())
    for top, count in ((2, 2), (99, 3)):
        wanted = [{"name": "probabilities", "parameters": {"classification": top}}]
        output = by_name(client.post(INFER, json=as_json(picture(250), outputs=wanted)).json())["probabilities"]
        assert (output["datatype"], output["shape"]) == ("BYTES", [1, count])
        score, index, label = output["data"][0].split(":")
        assert float(score) > 0.9
        assert (index, label) == ("2", "bright")


def test_gzip_in_both_directions(serving, brightness, picture) -> None:
    client = serving(brightness())
    content = gzip.compress(json.dumps(as_json(*[picture(9)] * 20)).encode())
    headers = {"Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    response = client.post(INFER, content=content, headers=headers)
    assert response.headers["Content-Encoding"] == "gzip"
    assert by_name(response.json())["label"]["data"] == ["dark"] * 20
    plain = client.post(INFER, content=content, headers={"Content-Encoding": "gzip", "Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in plain.headers


def pixels_of(shape: list, data: list) -> dict:
    return {"inputs": [{"name": "pixels", "datatype": "UINT8", "shape": shape, "data": data}]}


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ([], "no object"),
        ({}, "inputs is no list"),
        ({"inputs": []}, "no inputs"),
        ({"inputs": [1]}, "no JSON object"),
        ({"inputs": [{"name": "picture"}]}, "datatype"),
        ({"inputs": [{"name": "picture", "datatype": "FP32", "shape": [1], "data": [1]}]}, "expected BYTES or UINT8"),
        ({"inputs": [{"name": "else", "datatype": "BYTES", "shape": [1], "data": ["QQ=="]}]}, "expected picture"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [1], "data": ["*"]}]}, "no base64"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [1], "data": [3]}]}, "no text"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [2], "data": ["QQ=="]}]}, "1 elements"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [0], "data": []}]}, "holds no picture"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [-1], "data": []}]}, "no list of sizes"),
        ({"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [True], "data": []}]}, "no list of sizes"),
        (
            {"inputs": [{"name": "picture", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 9}}]},
            "0 bytes are left",
        ),
        (pixels_of([1, 8, 8, 3], [0] * 191), "191 values"),
        (pixels_of([1, 8, 8, 3], [256] * 192), "integers from 0 to 255"),
        (pixels_of([1, 8, 8, 3], [0.5] * 192), "integers from 0 to 255"),
        (pixels_of([1, 8, 8, 3], ["x" * 1000] + ["0"] * 191), "integers from 0 to 255"),
        (pixels_of([1, 8, 8, 3], [[1], 2]), "integers from 0 to 255"),
        (pixels_of([1, 8, 8, 3], [10**30] * 192), "integers from 0 to 255"),
        (pixels_of([192], [0] * 192), "expected [N, 8, 8, 3]"),
    ],
)  # fmt: skip
def test_malformed_requests_are_refused_with_the_reason(serving, brightness, document, part) -> None:
    response = serving(brightness()).post(INFER, json=document)
    assert response.status_code == 400
    assert part in response.json()["error"]


def test_malformed_outputs_and_bodies_are_refused(serving, brightness, picture) -> None:
    client = serving(brightness())
    for outputs, part in (
        ([{"name": "colour"}], "unknown output"),
        ([{"name": "label"}, {"name": "label"}], "twice"),
        ([{"name": "label", "parameters": {"classification": 2}}], "no classes to name"),
        ([{"name": "logits", "parameters": {"classification": "2"}}], "classification"),
    ):
        assert part in client.post(INFER, json=as_json(picture(9), outputs=outputs)).json()["error"]
    for content, length in (
        (b"{", None),
        (b"[" * 100_000, None),
        (b"{}", "9"),
        (b"{}", "x"),
        (b"{}", "²"),
        (b"{}x", "2"),
    ):
        headers = {} if length is None else {"Inference-Header-Content-Length": length.encode("utf-8")}
        assert client.post(INFER, content=content, headers=headers).status_code == 400, content
    damaged = client.post(INFER, json=as_json(picture(9), b"no picture"))
    assert damaged.status_code == 422
    assert "picture 1 is not a picture" in damaged.json()["error"]


def test_statistics_count_pictures_and_calls(serving, brightness, picture) -> None:
    client = serving(brightness())
    client.post(INFER, json=as_json(picture(9), picture(9)))
    client.post(INFER, json=as_json(b"damaged"))
    for path in ("/v2/models/brightness/stats", "/v2/models/stats"):
        (stats,) = client.get(path).json()["model_stats"]
        assert stats["inference_count"] == 2
        assert stats["inference_stats"]["success"]["count"] == 2
        assert stats["inference_stats"]["compute_infer"]["count"] == stats["execution_count"]
        assert sum(batch["batch_size"] * batch["compute_infer"]["count"] for batch in stats["batch_stats"]) == 2


def test_models_are_administered_with_a_token_only(serving, brightness) -> None:
    paths = ("index", "models/brightness/load", "models/brightness/unload")
    for settings, status in ((ServerSettings(), 403), (ServerSettings(access=Access(token=TOKEN)), 401)):
        client = serving(brightness(), settings=settings)
        for path in paths:
            assert client.post(f"/v2/repository/{path}").status_code == status


def test_one_of_several_workers_does_not_load_alone(serving, brightness) -> None:
    client = serving(brightness(), settings=ServerSettings(access=Access(token=TOKEN), workers=2))
    for verb in ("load", "unload"):
        response = client.post(f"/v2/repository/models/brightness/{verb}", headers=AUTHORISED)
        assert (response.status_code, response.json()["code"]) == (409, "several_workers")


def test_unload_and_load(serving, brightness, picture) -> None:
    client = serving(brightness(), brightness(name="other"), settings=ServerSettings(access=Access(token=TOKEN)))
    client.headers.update(AUTHORISED)
    assert client.post("/v2/repository/models/brightness/unload").status_code == 200
    assert client.post(INFER, json=as_json(picture(9))).status_code == 404
    index = client.post("/v2/repository/index").json()
    assert {row["name"]: row["state"] for row in index} == {"brightness": "UNAVAILABLE", "other": "READY"}
    assert [row["name"] for row in client.post("/v2/repository/index", json={"ready": True}).json()] == ["other"]
    client.networks[0] = brightness(version="2")
    assert client.post("/v2/repository/models/brightness/load").status_code == 200
    assert client.post(INFER, json=as_json(picture(9))).json()["model_version"] == "2"
    assert client.post("/v2/repository/models/nothing/load").status_code == 404
    config = {"parameters": {"config": "{}"}}
    assert client.post("/v2/repository/models/brightness/load", json=config).status_code == 400


def test_a_bundle_that_fails_its_check_does_not_replace_the_old_one(serving, brightness, picture) -> None:
    client = serving(brightness(), settings=ServerSettings(access=Access(token=TOKEN)))
    client.headers.update(AUTHORISED)
    client.networks[0] = "golden picture 3 differs"
    response = client.post("/v2/repository/models/brightness/load")
    assert response.status_code == 400
    assert "golden picture 3 differs" in response.json()["error"]
    assert client.post(INFER, json=as_json(picture(250))).status_code == 200
