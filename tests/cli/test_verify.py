"""casebook verify"""

import shutil
from pathlib import Path

from .conftest import Command


def test_a_bundle_is_verified_and_a_damaged_one_refused(command: Command, small_bundle: Path) -> None:
    found = command("verify", small_bundle)
    assert found.code == 0
    assert found.out.splitlines()[-1] == "verified"
    assert command("verify", small_bundle, "--json").json["passed"] is True
    content = bytearray(small_bundle.read_bytes())
    content[len(content) // 2] ^= 1
    Path("damaged.casebook").write_bytes(content)
    refused = command("verify", "damaged.casebook")
    assert refused.code == 1
    assert "is damaged or was changed" in refused.err


def test_an_unsigned_bundle_is_not_taken_as_somebodys(command: Command, small_bundle: Path) -> None:
    import pytest

    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    Path("public.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    shutil.copy(small_bundle, "mine.casebook")
    refused = command("verify", "mine.casebook", "--signed-by", "public.pem")
    assert refused.code == 1
    assert "is not signed" in refused.err
