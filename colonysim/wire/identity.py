"""Keys, ids and signatures: secp256k1 over SHA3-256 (a-foundation 3). Works on values, keeps nothing."""

from __future__ import annotations

import re
from hashlib import sha3_256
from typing import Any, Final, NamedTuple

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}\Z")


class Identity(NamedTuple):
    """A private key of 64 hex digits and the id that the server knows its holder by."""

    private_key: str
    id: str


def identity(private_key: str) -> Identity:
    """The identity of a private key. Errors: ValueError where it is none."""
    return Identity(private_key, id_of(_private(private_key).public_key))


def derived(seed: int, name: str) -> Identity:
    """The identity of a name under a seed: the same in every run."""
    return identity(sha3_256(f"{seed}/key/{name}".encode()).hexdigest())


def sign(payload: str, private_key: str) -> str:
    """The signature of a payload's text: r, s and v in 130 hex digits, with the nonce of RFC 6979."""
    return _sign(payload, _private(private_key))


class Signer:
    """Somebody who signs often under one key. Errors: ValueError where it is none."""

    def __init__(self, private_key: str) -> None:
        self._key = _private(private_key)
        self.id = id_of(self._key.public_key)

    def sign(self, payload: str) -> str:
        """As `sign` above."""
        return _sign(payload, self._key)


def _sign(payload: str, key: Any) -> str:
    digest = sha3_256(payload.encode()).digest()
    signature: bytes = key.sign_recoverable(digest, hasher=None)
    return signature.hex()


def id_of(public_key: Any) -> str:
    """The hash of the uncompressed public key's hex text."""
    return sha3_256(public_key.format(compressed=False).hex().encode()).hexdigest()


def _private(private_key: str) -> Any:
    import coincurve

    if not _KEY.match(private_key):
        raise ValueError(f"a private key is 64 hex digits, this one has {len(private_key)} characters")
    return coincurve.PrivateKey(bytes.fromhex(private_key))
