"""Signatures of bundles: NAME.casebook.sig beside NAME.casebook says who made it.

A SHA-256 inside a file shows damage; whoever changes the file on purpose can write another one. An Ed25519 signature
(RFC 8032) needs the maker's private key. It covers the seal of the bundle, and through it every byte.

    openssl genpkey -algorithm ed25519 -out key.pem
    openssl pkey -in key.pem -pubout -out public.pem
"""

import base64
import binascii
from pathlib import Path
from typing import Any

from ..errors import BundleError
from ..files import write_atomically
from .bundle import Bundle, seal

SUFFIX = ".sig"
MAX_KEY_BYTES = 64 * 1024
HOW = "'openssl genpkey -algorithm ed25519 -out key.pem' makes one"


def signature_path(bundle: str | Path) -> Path:
    """Where the signature of a bundle lies."""
    return Path(f"{bundle}{SUFFIX}")


def check_private_key(file: str | Path) -> None:
    """Raises BundleError unless the file holds a private Ed25519 key; before an export that takes minutes."""
    _private_key(file)


def sign(bundle: Bundle, key_file: str | Path) -> Path:
    """Writes the signature of a bundle beside it, in base64. `key_file` is a private key in PEM. Raises BundleError."""
    signature = _private_key(key_file).sign(seal(bundle.sha256))
    path = signature_path(bundle.path)
    try:
        write_atomically(path, base64.b64encode(signature) + b"\n")
    except OSError as error:
        raise BundleError(f"cannot write {path}: {error.strerror}") from error
    return path


def check_signature(bundle: Bundle, key_file: str | Path) -> None:
    """Raises BundleError unless the bundle's signature was made with the private key to this public key, in PEM."""
    from cryptography.exceptions import InvalidSignature

    key, path = _public_key(key_file), signature_path(bundle.path)
    try:
        signature = base64.b64decode(_read(path).strip(), validate=True) if path.is_file() else None
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"{path}: is no signature; get it again from where the bundle comes from") from error
    if signature is None:
        raise BundleError(f"{bundle.path}: is not signed (there is no {path.name}); do not trust it as {key_file}'s")
    try:
        key.verify(signature, seal(bundle.sha256))
    except InvalidSignature as error:
        raise BundleError(
            f"{bundle.path}: was not signed with the key of {key_file}, or was changed afterwards; do not use it"
        ) from error


def _private_key(file: str | Path) -> Any:
    serialization, ed25519 = _cryptography()
    try:
        key = serialization.load_pem_private_key(_read(file), password=None)
    except TypeError as error:
        raise BundleError(f"{file}: is locked with a password; give a key without one") from error
    except ValueError as error:
        raise BundleError(f"{file}: is no private key in PEM; {HOW}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise BundleError(f"{file}: is a key of another kind, expected Ed25519; {HOW}")
    return key


def _public_key(file: str | Path) -> Any:
    serialization, ed25519 = _cryptography()
    try:
        key = serialization.load_pem_public_key(_read(file))
    except ValueError as error:
        raise BundleError(
            f"{file}: is no public key in PEM; 'openssl pkey -in key.pem -pubout -out public.pem' makes one of a "
            "private key"
        ) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise BundleError(f"{file}: is a key of another kind, expected Ed25519; {HOW}")
    return key


def _cryptography() -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise BundleError("signatures need the package cryptography; pip install 'casebook[sign]'") from error
    return serialization, ed25519


def _read(file: str | Path) -> bytes:
    try:
        with Path(file).expanduser().open("rb") as opened:
            return opened.read(MAX_KEY_BYTES)
    except OSError as error:
        raise BundleError(f"cannot read {file}: {error.strerror}") from error
