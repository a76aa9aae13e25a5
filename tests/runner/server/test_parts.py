"""The small parts: forms, metrics, settings, admission."""

import contextlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casebook.errors import ServerError
from casebook.runner.server.admission import Admission
from casebook.runner.server.metrics import Metrics, Sample
from casebook.runner.server.multipart import parse_multipart
from casebook.runner.server.refusals import Refused
from casebook.runner.server.settings import Access, Batching, Limits, ServerSettings, read_token

TYPE = "multipart/form-data; boundary=xYz"
FORM = (
    b"--xYz\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a \\\"b\\\".png\"\r\n"
    b"Content-Type: image/png\r\n\r\none\r\n--xY\r\n\r\n--xYz\r\n"
    b"content-disposition: form-data; name=note\r\n\r\n\r\n--xYz--\r\n"
)  # fmt: skip


def test_a_form_becomes_its_parts() -> None:
    parts = parse_multipart(TYPE, FORM, max_parts=2)
    assert [tuple(part) for part in parts] == [("files", 'a "b".png', b"one\r\n--xY\r\n"), ("note", None, b"")]


def test_forms_that_are_cut_off_or_too_long_are_refused() -> None:
    for length in range(len(FORM) - 4):
        with pytest.raises(Refused) as refused:
            parse_multipart(TYPE, FORM[:length], max_parts=2)
        assert refused.value.status == 400
    with pytest.raises(Refused, match="more than 1 parts"):
        parse_multipart(TYPE, FORM, max_parts=1)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=", 'multipart/form-data; boundary="\r"'):
        with pytest.raises(Refused, match="needs a boundary"):
            parse_multipart(kind, FORM, max_parts=2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([b"--xYz", b"\r\n", b"--", b":", b";", b'"', b"name=", b"filename=", b"\\", b"a"])))
def test_any_form_is_parsed_or_refused(pieces: list[bytes]) -> None:
    with contextlib.suppress(Refused):
        parse_multipart(TYPE, b"".join(pieces), max_parts=5)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=9), st.binary())))
def test_forms_of_a_real_client_come_back_as_they_were(files: list[tuple[str, bytes]]) -> None:
    import httpx2

    if not files:
        return
    request = httpx2.Request("POST", "http://x", files=[("files", (f"{name}.png", content)) for name, content in files])
    parts = parse_multipart(request.headers["content-type"], request.read(), max_parts=len(files))
    assert [part.content for part in parts] == [content for _, content in files]


def test_metrics_in_prometheus_form() -> None:
    metrics = Metrics({"worker": "0"})
    metrics.count("casebook_requests_total", 2, route='a"b\n')
    metrics.observe("casebook_request_seconds", 0.3, route="a")
    text = metrics.text([Sample("casebook_ready", 1)])
    assert '# TYPE casebook_requests_total counter\ncasebook_requests_total{worker="0",route="a\\"b\\n"} 2\n' in text
    assert 'casebook_request_seconds_bucket{worker="0",route="a",le="0.25"} 0\n' in text
    assert 'casebook_request_seconds_bucket{worker="0",route="a",le="0.5"} 1\n' in text
    assert 'casebook_ready{worker="0"} 1\n' in text


def test_what_a_request_holds_is_given_back() -> None:
    admission = Admission(Limits(queue=3, total_bytes=100), lambda: 4.0)
    with admission.admitted() as share:
        share.take(pictures=2, num_bytes=60)
        with pytest.raises(Refused) as refused:
            admission.admitted().__enter__()
        assert refused.value.headers["Retry-After"] == "12"  # three pictures, four seconds each
        with pytest.raises(Refused, match="memory"):
            share.take(num_bytes=41)
    assert (admission.pictures, admission.num_bytes) == (0, 0)


def test_other_machines_need_a_token() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "example.org"):
        with pytest.raises(ServerError, match="a token is needed"):
            Access(host=host)
        Access(host=host, token="0123456789abcdef")
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert Access(host=host).loopback


def test_settings_that_make_no_sense_are_refused() -> None:
    for make in (
        lambda: Access(token="short"),
        lambda: Access(port=70000),
        lambda: Access(cors=("*",)),
        lambda: Access(cors=("https://a.example/path",)),
        lambda: Limits(queue=0),
        lambda: Batching(max_pictures=0),
        lambda: Batching(wait_ms=-1),
        lambda: ServerSettings(workers=0),
    ):
        with pytest.raises(ServerError):
            make()


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("CASEBOOK_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("CASEBOOK_TOKEN", "from-the-environment")
    assert read_token(None) == "from-the-environment"
    (tmp_path / "token").write_text("from-a-file\n")
    assert read_token(str(tmp_path / "token")) == "from-a-file"
    with pytest.raises(ServerError, match="cannot read the token file"):
        read_token(os.fspath(tmp_path))
