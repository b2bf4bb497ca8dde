"""Keys, ids and signatures: secp256k1 over SHA3-256 (docs/protocol/a-foundation.md 3)."""

from __future__ import annotations

import re
from hashlib import sha3_256
from typing import Any, Final, NamedTuple

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


class Identity(NamedTuple):
    """A private key of 64 hex digits, and the id by which the server knows its holder."""

    private_key: str
    id: str


def identity(private_key: str) -> Identity:
    """Return the identity of a private key. Raises ValueError unless the key is 64 hex digits."""
    return Identity(private_key, id_of(_private(private_key).public_key))


def derived(seed: int, name: str) -> Identity:
    """Derive an identity from a seed and a name; the same in every run."""
    return identity(sha3_256(f"{seed}/key/{name}".encode()).hexdigest())


def sign(payload: str, private_key: str) -> str:
    """Sign a payload: r, s and v in 130 hex digits, with the deterministic nonce of RFC 6979."""
    return _sign(payload, _private(private_key))


class Signer:
    """Sign many payloads under one key. Raises ValueError unless the key is 64 hex digits."""

    def __init__(self, private_key: str) -> None:
        self._key = _private(private_key)
        self.id = id_of(self._key.public_key)

    def sign(self, payload: str) -> str:
        """Sign a payload, as the function `sign` does."""
        return _sign(payload, self._key)


def _sign(payload: str, key: Any) -> str:
    digest = sha3_256(payload.encode()).digest()
    signature: bytes = key.sign_recoverable(digest, hasher=None)
    return signature.hex()


def id_of(public_key: Any) -> str:
    """Return the id of a public key: the hash of its uncompressed form as hex text."""
    return sha3_256(public_key.format(compressed=False).hex().encode()).hexdigest()


def _private(private_key: str) -> Any:
    import coincurve

    if not _KEY.match(private_key):
        raise ValueError(f"a private key must be 64 hex digits, got {len(private_key)} characters")
    return coincurve.PrivateKey(bytes.fromhex(private_key))
