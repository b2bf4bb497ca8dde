"""Recover a payload's signer, or explain why its signature is invalid (docs/protocol/a-foundation.md 3.2 to 3.4)."""

from __future__ import annotations

import re
from hashlib import sha3_256
from typing import Final

from colonysim.core.errors import Refusal
from colonysim.wire.identity import id_of

GROUP_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FIELD_SIZE: Final = 2**256 - 2**32 - 977
_ORDER: Final = GROUP_ORDER.to_bytes(32)
_HALF_ORDER: Final = (GROUP_ORDER // 2).to_bytes(32)
_ZERO: Final = bytes(32)
_HEX: Final = re.compile(r"[0-9a-fA-F]{130}\Z")
_HEX_BYTES: Final = frozenset(b"0123456789abcdefABCDEF")


def recover(payload: str, signature: str) -> str:
    """Return the id of a payload's signer. Raises Refusal 403, with the reference's text, for an invalid signature."""
    if not _HEX.match(signature):
        raise _bad_hex(signature)
    raw = bytes.fromhex(signature)
    r, s, v = raw[:32], raw[32:64], raw[64]
    _check_numbers(r, s, v)
    import coincurve

    digest = sha3_256(payload.encode("utf-8", "surrogatepass")).digest()
    try:
        public = coincurve.PublicKey.from_signature_and_message(raw[:64] + bytes((v & 3,)), digest, hasher=None)
    except Exception:  # the library raises a bare Exception for a point that is not on the curve
        raise _unrecoverable("not for a valid curve point") from None
    if s > _HALF_ORDER:
        raise Refusal(403, "Failed verify signature: Signature s value is over half the order")
    return id_of(public)


def _check_numbers(r: bytes, s: bytes, v: int) -> None:
    """Check the numbers of a signature; the bytes of equally long numbers compare as the numbers do."""
    if v > 7:
        code = (v + 27) % 256
        raise _unrecoverable(f"public key recovery code {code} is not in the valid range [27, 34]")
    if r >= _ORDER:
        raise _unrecoverable("R >= group order")
    if r == _ZERO:
        raise _unrecoverable("R is 0")
    if s >= _ORDER:
        raise _unrecoverable("S >= group order")
    if s == _ZERO:
        raise _unrecoverable("S is 0")
    if v & 2 and int.from_bytes(r) + GROUP_ORDER >= FIELD_SIZE:
        raise _unrecoverable("signature R + N >= P")


def _unrecoverable(reason: str) -> Refusal:
    return Refusal(403, f"Failed to recover public key: invalid signature: {reason}")


def _bad_hex(signature: str) -> Refusal:
    raw = signature.encode("utf-8", "surrogatepass")
    for byte in raw:
        if byte not in _HEX_BYTES:
            char = chr(byte)
            shown = f" '{char}'" if char.isprintable() else ""
            return Refusal(403, f"encoding/hex: invalid byte: U+{byte:04X}{shown}")
    if len(raw) % 2:
        return Refusal(403, "encoding/hex: odd length hex string")
    return Refusal(403, "Invalid signature length")
