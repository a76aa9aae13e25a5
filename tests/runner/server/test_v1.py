"""POST /v1/classify, the page and the documentation."""

import gzip
import json

import pytest

from casebook.runner.server.settings import Access, Limits, ServerSettings

TOKEN = "correct-horse-battery"


def test_a_picture_as_the_body_is_answered_with_its_classes(serving, brightness, picture) -> None:
    client = serving(brightness())
    response = client.post("/v1/classify", content=picture(250), headers={"X-Request-ID": "mine-1"})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["model"], answer["version"], answer["request_id"]) == ("brightness", "1", "mine-1")
    (found,) = answer["pictures"]
    assert [one["class"] for one in found["classes"]] == ["bright", "middling", "dark"]
    assert sum(one["probability"] for one in found["classes"]) == pytest.approx(1, abs=1e-6)
    assert (found["unsure"], found["reason"], found["set"]) == (False, None, ["bright"])
    assert found["labels"] is None
    assert response.headers["X-Request-ID"] == "mine-1"


def test_several_labels_are_named(serving, brightness, picture) -> None:
    client = serving(brightness(many_labels=True))
    (found,) = client.post("/v1/classify", content=picture(64)).json()["pictures"]
    assert (found["labels"], found["unsure"], found["set"]) == (["dark", "middling"], False, None)
    assert client.get("/v1/models").json()["models"][0]["several_labels"] is True


def test_files_of_a_form_are_answered_in_order_each_with_its_own_error(serving, brightness, picture) -> None:
    client = serving(brightness())
    files = [
        ("files", ("night.png", picture(2), "image/png")),
        ("files", ("torn.png", picture(2)[:40], "image/png")),
        ("files", ("dusk.jpg", picture(64, "JPEG"), "image/jpeg")),
    ]
    answer = client.post("/v1/classify?top=1", files=files).json()
    night, torn, dusk = answer["pictures"]
    assert [one["class"] for one in night["classes"]] == ["dark"]
    assert torn["error"]["code"] == "unreadable_picture"
    assert "cut off" in torn["error"]["message"]
    assert dusk["unsure"] is True
    assert dusk["set"] == ["dark", "middling"]
    assert "equally probable" in dusk["reason"]


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ("", b"", 400, "no_picture"),
        ("", b"plain text", 422, "unreadable_picture"),
        ("?top=0", None, 400, "bad_request"),
        ("?top=many", None, 400, "bad_request"),
        ("?tpo=1", None, 400, "bad_request"),
        ("?model=brigthness", None, 404, "unknown_model"),
        ("?version=9", None, 404, "unknown_version"),
    ],
)
def test_refusals_say_what_was_wrong(serving, brightness, picture, query, content, status, code) -> None:
    response = serving(brightness()).post(f"/v1/classify{query}", content=picture(9) if content is None else content)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error["request_id"] == response.headers["X-Request-ID"]
    if code == "unknown_model":
        assert "did you mean 'brightness'" in error["message"]


def test_a_form_needs_a_file_and_has_a_limit(serving, brightness, picture) -> None:
    client = serving(brightness(), settings=ServerSettings(limits=Limits(pictures=2)))
    assert client.post("/v1/classify", data={"a": "b"}, files={}).status_code in (400, 422)
    three = [("files", (f"{n}.png", picture(9), "image/png")) for n in range(3)]
    response = client.post("/v1/classify", files=three)
    assert (response.status_code, response.json()["error"]["code"]) == (413, "too_many_pictures")


def test_a_body_above_the_limit_is_refused_while_it_comes(serving, brightness, picture) -> None:
    client = serving(brightness(), settings=ServerSettings(limits=Limits(body_bytes=1000)))
    assert client.post("/v1/classify", content=picture(9)).status_code == 200
    assert client.post("/v1/classify", content=bytes(1001)).status_code == 413
    chunks = (bytes(100) for _ in range(11))
    assert client.post("/v1/classify", content=chunks).status_code == 413  # without a Content-Length
    bomb = gzip.compress(bytes(100_000))
    assert len(bomb) < 1000
    refused = client.post("/v1/classify", content=bomb, headers={"Content-Encoding": "gzip"})
    assert refused.status_code == 413


def test_compressed_bodies(serving, brightness, picture) -> None:
    client = serving(brightness())
    packed = gzip.compress(picture(250))
    for content, encoding, status in (
        (packed, "gzip", 200),
        (packed[:-9], "gzip", 400),
        (packed + b"x", "gzip", 400),
        (picture(250), "gzip", 400),
        (picture(250), "br", 415),
    ):
        assert (
            client.post("/v1/classify", content=content, headers={"Content-Encoding": encoding}).status_code == status
        )


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(serving, brightness, monkeypatch, picture) -> None:
    monkeypatch.setenv("CASEBOOK_MAX_MEGAPIXELS", "0.01")
    response = serving(brightness()).post("/v1/classify", content=picture(9, size=(200, 200)))
    assert response.status_code == 422
    assert "more than the limit" in response.json()["error"]["message"]


def test_a_full_queue_answers_503_with_the_time_to_wait(serving, brightness, picture) -> None:
    client = serving(brightness(), settings=ServerSettings(limits=Limits(queue=2)))
    three = [("files", (f"{n}.png", picture(9), "image/png")) for n in range(3)]
    response = client.post("/v1/classify", files=three)
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert client.post("/v1/classify", files=three[:2]).status_code == 200  # what the refused one held is given back


def test_an_answer_that_takes_too_long_is_given_up(serving, brightness, picture) -> None:
    client = serving(brightness(seconds=0.5), settings=ServerSettings(limits=Limits(answer_seconds=0.1)))
    response = client.post("/v1/classify", content=picture(9))
    assert (response.status_code, response.json()["error"]["code"]) == (503, "overloaded")


def test_a_defect_is_a_500_that_says_nothing_of_the_inside(serving, brightness, picture, caplog) -> None:
    network = brightness()
    network.answer = lambda pixels: 1 / 0  # type: ignore[method-assign]
    response = serving(network).post("/v1/classify", content=picture(9))
    assert response.status_code == 500
    assert "division" not in response.text
    assert response.json()["error"]["request_id"] in caplog.text


def test_several_models_are_asked_for_by_name_and_version(serving, brightness, picture) -> None:
    client = serving(brightness(), brightness(version="2"), brightness(name="other"))
    ask = lambda query: client.post(f"/v1/classify{query}", content=picture(9)).json()  # noqa: E731
    assert "say which model: brightness, other" in ask("")["error"]["message"]
    assert ask("?model=brightness")["version"] == "2"
    assert ask("?model=brightness&version=1")["version"] == "1"
    assert ask("?model=other")["model"] == "other"
    assert [model["name"] for model in client.get("/v1/models").json()["models"]] == ["brightness"] * 2 + ["other"]


def test_with_a_token_only_health_and_the_page_are_public(serving, brightness, picture) -> None:
    client = serving(brightness(), settings=ServerSettings(access=Access(token=TOKEN)))
    for path in ("/", "/docs", "/openapi.json", "/page.js", "/v2/health/live", "/v2/health/ready"):
        assert client.get(path).status_code == 200, path
    for path in ("/metrics", "/v1/models", "/v2", "/v2/models/brightness", "/nothing"):
        assert client.get(path).status_code == 401, path
    for given in (None, "Bearer ", f"Bearer {TOKEN}x", TOKEN, "Bearer é"):
        headers = {"Authorization": given.encode("utf-8")} if given else {}
        response = client.post("/v1/classify", content=picture(9), headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert client.post("/v1/classify", content=picture(9), headers={"Authorization": f"Bearer {TOKEN}"}).is_success


def test_without_a_token_the_server_answers_to_local_names_only(serving, brightness) -> None:
    client = serving(brightness(), settings=ServerSettings(access=Access(hosts=("cats.example",))))
    for host, status in (
        ("localhost:8000", 200), ("127.0.0.1:1", 200), ("[::1]:8000", 200), ("cats.example", 200),
        ("evil.example", 421), ("localhost.evil.example", 421), ("", 421),
    ):  # fmt: skip
        assert client.get("/v2/health/live", headers={"Host": host}).status_code == status, host


def test_other_origins_are_let_in_only_when_given(serving, brightness) -> None:
    origin = {"Origin": "https://a.example"}
    assert "access-control-allow-origin" not in serving(brightness()).get("/v1/models", headers=origin).headers
    client = serving(brightness(), settings=ServerSettings(access=Access(cors=("https://a.example",))))
    assert client.get("/v1/models", headers=origin).headers["access-control-allow-origin"] == "https://a.example"
    other = client.get("/v1/models", headers={"Origin": "https://b.example"})
    assert "access-control-allow-origin" not in other.headers


def test_pages_load_nothing_from_elsewhere(serving, brightness) -> None:
    client = serving(brightness())
    for path in ("/", "/docs"):
        response = client.get(path)
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        assert "//" not in response.text.replace("http://localhost:8000", "")
    for path in ("/page.js", "/docs.js", "/page.css"):
        assert client.get(path).status_code == 200


def test_openapi_lists_every_route(serving, brightness) -> None:
    client = serving(brightness())
    described = client.get("/openapi.json").json()["paths"]
    routes = {route.path for route in client.app.routes}
    pages = {"/", "/docs", "/openapi.json", "/page.js", "/docs.js", "/page.css"}
    assert set(described) == routes - pages


def test_the_log_has_a_line_a_request_without_picture_or_name(serving, brightness, picture, caplog) -> None:
    client = serving(brightness())
    with caplog.at_level("INFO", "casebook.access"):
        client.post("/v1/classify?top=1", files={"files": ("secret-name.png", picture(9), "image/png")})
    (line,) = [json.loads(record.message) for record in caplog.records if record.name == "casebook.access"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/classify", 200)
    assert line["bytes_in"] > len(picture(9))
    assert "secret-name" not in caplog.text


def test_metrics_count_requests_and_pictures(serving, brightness, picture) -> None:
    client = serving(brightness())
    client.post("/v1/classify", content=picture(9))
    client.post("/v1/classify", content=picture(64))
    client.post("/v1/classify", content=b"damaged")
    client.get("/no/such/path")
    text = client.get("/metrics").text
    for line in (
        'casebook_requests_total{route="classify",method="POST",status="200"} 2',
        'casebook_requests_total{route="classify",method="POST",status="422"} 1',
        'casebook_requests_total{route="none",method="GET",status="404"} 1',
        'casebook_pictures_total{model="brightness",version="1",outcome="answered"} 1',
        'casebook_pictures_total{model="brightness",version="1",outcome="unsure"} 1',
        'casebook_request_seconds_bucket{route="classify",le="+Inf"} 3',
        "casebook_queue_pictures 0",
        "casebook_ready 1",
    ):
        assert line + "\n" in text


def test_unknown_paths_and_methods_are_json_too(serving, brightness) -> None:
    client = serving(brightness())
    assert client.get("/nothing").json()["error"]["code"] == "not_found"
    assert client.get("/v1/classify").json()["error"]["code"] == "method_not_allowed"
    assert isinstance(client.get("/v2/nothing").json()["error"], str)
