"""A bundle is taken as somebody's only with a signature of their key over every byte."""

import shutil
from pathlib import Path

import pytest

from casebook.errors import BundleError, CasebookError
from casebook.runner.bundle import Bundle
from casebook.runner.server.models import parse_source
from casebook.runner.server.opening import bundle_opener
from casebook.runner.server.settings import ServerSettings
from casebook.runner.signature import check_private_key, check_signature, sign, signature_path

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
asymmetric = pytest.importorskip("cryptography.hazmat.primitives.asymmetric")
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa  # noqa: E402


def key_files(folder: Path, name: str = "key") -> tuple[Path, Path]:
    """A private and a public key."""
    key, pem = ed25519.Ed25519PrivateKey.generate(), serialization.Encoding.PEM
    private, public = folder / f"{name}.pem", folder / f"{name}.public.pem"
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(small_bundle, tmp_path / "small.casebook"))


def test_the_signature_of_the_right_key_is_accepted_and_the_same_each_time(bundle: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    opened = Bundle.open(bundle)
    written = sign(opened, private).read_bytes()
    check_signature(opened, public)
    assert sign(opened, private).read_bytes() == written


def test_no_signature_another_key_and_another_bundle_are_refused(bundle: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    _, others = key_files(tmp_path, "other")
    opened = Bundle.open(bundle)
    with pytest.raises(BundleError, match="is not signed"):
        check_signature(opened, public)
    signature = sign(opened, private)
    with pytest.raises(BundleError, match="was not signed with the key"):
        check_signature(opened, others)
    changed = bytearray(signature.read_bytes())
    for content in (b"no base64", b"", bytes(changed[:-8]), bytes([changed[0] ^ 1]) + bytes(changed[1:])):
        signature.write_bytes(content)
        with pytest.raises(BundleError, match=r"is no signature|was not signed"):
            check_signature(opened, public)


def test_a_server_that_wants_a_signature_loads_no_bundle_without_it(bundle: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    open_source = bundle_opener(ServerSettings(signed_by=str(public)))
    with pytest.raises(CasebookError, match="is not signed"):
        open_source(parse_source(str(bundle)))
    sign(Bundle.open(bundle), private)
    assert open_source(parse_source(str(bundle))).classes


def test_keys_that_are_none_say_how_to_make_one(bundle: Path, tmp_path: Path) -> None:
    private, public = key_files(tmp_path)
    rsa_key = tmp_path / "rsa.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    rsa_key.write_bytes(made.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    locked = tmp_path / "locked.pem"
    secret = serialization.BestAvailableEncryption(b"word")
    locked.write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(pem, serialization.PrivateFormat.PKCS8, secret)
    )
    for file, expected in (
        (public, "is no private key"), (rsa_key, "of another kind"), (tmp_path / "gone.pem", "cannot read"),
        (locked, "locked with a password"),
    ):  # fmt: skip
        with pytest.raises(BundleError, match=expected):
            check_private_key(file)
    sign(Bundle.open(bundle), private)
    with pytest.raises(BundleError, match="is no public key"):
        check_signature(Bundle.open(bundle), private)


def test_where_the_signature_lies() -> None:
    assert signature_path("a/b.casebook") == Path("a/b.casebook.sig")
