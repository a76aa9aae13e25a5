"""A session with Triton's own client, which knows nothing of us."""

import numpy as np
import pytest

from casebook.runner.server.settings import Access, ServerSettings

triton = pytest.importorskip("tritonclient.http")
from tritonclient.utils import InferenceServerException  # noqa: E402

TOKEN = "correct-horse-battery"


def authorised() -> dict[str, str]:
    """A new one for each call: the client adds its own headers to what it is given."""
    return {"Authorization": f"Bearer {TOKEN}"}


def picture_input(*files: bytes, binary: bool = True):
    found = triton.InferInput("picture", [len(files)], "BYTES")
    found.set_data_from_numpy(np.array(files, dtype=object), binary_data=binary)
    return found


def test_a_session_with_tritons_client(listening, brightness, picture) -> None:
    settings = ServerSettings(access=Access(token=TOKEN), drain_seconds=0)
    server = listening(brightness(), brightness(version="2"), settings=settings)
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("brightness", headers=authorised())
        assert not client.is_model_ready("else", headers=authorised())
        assert "binary_tensor_data" in client.get_server_metadata(headers=authorised())["extensions"]
        assert client.get_model_metadata("brightness", headers=authorised())["versions"] == ["1", "2"]
        assert client.get_model_config("brightness", "2", headers=authorised())["max_batch_size"] == 0

        files = [picture(2), picture(250), picture(64, "JPEG")]
        wanted = [
            triton.InferRequestedOutput("probabilities", binary_data=True),
            triton.InferRequestedOutput("logits", binary_data=False),
            triton.InferRequestedOutput("label", binary_data=True),
            triton.InferRequestedOutput("unsure", binary_data=True),
        ]
        for packing in (None, "gzip", "deflate"):
            result = client.infer(
                "brightness", [picture_input(*files)], outputs=wanted, request_id="7", headers=authorised(),
                request_compression_algorithm=packing, response_compression_algorithm="gzip" if packing else None,
            )  # fmt: skip
            assert result.get_response()["id"] == "7"
            assert result.get_response()["model_version"] == "2"
            assert result.as_numpy("label").tolist() == [b"dark", b"bright", b"middling"]
            assert result.as_numpy("unsure").tolist() == [False, False, True]
            logits = result.as_numpy("logits")
            expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
            np.testing.assert_allclose(result.as_numpy("probabilities"), expected, atol=1e-6)

        result = client.infer("brightness", [picture_input(*files)], model_version="1", headers=authorised())
        assert result.as_numpy("probabilities").shape == (3, 3)
        assert result.as_numpy("reason")[2].decode().startswith("the two best")

        network = brightness()
        pixels = np.stack([network.pixels(file) for file in files])
        for binary in (True, False):
            given = triton.InferInput("pixels", list(pixels.shape), "UINT8")
            given.set_data_from_numpy(pixels, binary_data=binary)
            top = triton.InferRequestedOutput("probabilities", class_count=2)
            named = client.infer("brightness", [given], outputs=[top], headers=authorised()).as_numpy("probabilities")
            assert named.shape == (3, 2)
            assert [row[0].decode().split(":")[2] for row in named] == ["dark", "bright", "middling"]

        statistics = client.get_inference_statistics("brightness", "2", headers=authorised())["model_stats"][0]
        assert statistics["inference_count"] == 3 * 3 + 2 * 3

        with pytest.raises(InferenceServerException, match="picture 0 is not a picture"):
            client.infer("brightness", [picture_input(b"damaged")], headers=authorised())
        with pytest.raises(InferenceServerException, match="Authorization"):
            client.infer("brightness", [picture_input(*files)])
        with pytest.raises(InferenceServerException, match="unknown model"):
            client.infer("brightnes", [picture_input(*files)], headers=authorised())


def test_the_repository_with_tritons_client(listening, brightness, picture) -> None:
    server = listening(brightness(), settings=ServerSettings(access=Access(token=TOKEN), drain_seconds=0))
    with triton.InferenceServerClient(f"127.0.0.1:{server.port}") as client:
        assert client.get_model_repository_index(headers=authorised()) == [
            {"name": "brightness", "version": "1", "state": "READY", "reason": ""}
        ]
        client.unload_model("brightness", headers=authorised())
        assert not client.is_model_ready("brightness", headers=authorised())
        server.networks[0] = brightness(version="3")
        client.load_model("brightness", headers=authorised())
        assert client.is_model_ready("brightness", "3", headers=authorised())
        with pytest.raises(InferenceServerException, match="no parameters"):
            client.load_model("brightness", headers=authorised(), config="{}")
        with pytest.raises(InferenceServerException, match="Authorization"):
            client.load_model("brightness")
