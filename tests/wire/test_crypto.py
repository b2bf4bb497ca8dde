"""Identities and signatures: docs/protocol/a-foundation.md 3."""

from __future__ import annotations

import pytest
from Crypto.Hash import SHA3_256

from colonysim.core.errors import Refusal
from colonysim.wire import identity
from colonysim.wire.crypto import GROUP_ORDER, recover

KEYS = {
    1: ("0" * 63 + "1", "2036f5bc759cfb3589fb4e2342bc9b3c843c5ef27dc8ded538de328a7567089b"),
    2: ("d6eb959e9aec2e6fdc44b5862b269e987b8a4d6f2baca542d8acaa97ee5e74f6", "5d6568f883451ae2e407d1a0a7992e414f2a67b69d0e6e9176d353b98f06f696"),
    3: ("fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d", "039231c7644e04b6895471dd5335cf332681c54e27f81fac54f9067b3f2c0103"),
    4: ("ba949fa134981372d6da62b6a56f336ab4d843b22c02a4257dcf7d0d73097514", "4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4"),
    5: ("ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05", "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac"),
}  # fmt: skip
SIGNATURES = [
    (1, "", "ab1a548e7964281d13c2e4c3d260fdf29acd9d6e8d21edc63522c972ab3d2aba0e94f1d6c7a3282498a7f15eaabda6ed2c60adf28208d7f3ffcaef36a23d1eb200"),
    (2, "hello", "e713a1bb015fecabb5a084b0fe6d6e7271fca6f79525a634183cfdb175fe69241f4da161779d8e6b761200e1cf93766010a19072fa778f9643363e2cfadd640900"),
    (3, "eyJtc2d0eXBlIjoiZ2V0Y29sb25pZXNtc2cifQ==", "3cf5209e35d24048f67652cb354ded5bed0d56bdce9cab433646942a47760353283e65a2cb764e22d9efa37e67a9ba485ade029f1405e5eed13365a82250a87300"),
    (3, "0", "9286fb821dd79a88fba90e17df34a8b293708797f038f02cc862ba175c031d91423b08f226c7f74dbebdbc75ecadaaaaa306adf3031aa9270d2c3d59bc183e9b01"),
    (4, "eyJtc2d0eXBlIjoiZ2V0Y29sb255bXNnIiwiY29sb255bmFtZSI6ImRldiJ9", "f7de72745c852396bde66ac17f07f1de2922d95cdd18e093f7fd92e4546cb44033784f9dab1adfae933bf85dc49161b3d9ce8762062b2b7acd92353dcf20c68900"),
    (5, "bl\u00e5b\u00e4r \u2603", "a055e869cd54c699b148135de326e3306eef21779fe67926b7afc991d5d36f5b1c5c12491034b8024330c573a951a23b2181a50e0fe3c1abc6c839ed0cd0913900"),
]  # fmt: skip
OTHER_NONCE = "997eca36736d465e0e8d64e6d657ff4c939c8f5cad4272797ea0fe372bfd8d0953d21b3d06ded5dd80aee8cfa3a9be7ce615ce690eb64184fe15962943fe541300"  # fmt: skip
HELLO = SIGNATURES[1][2]


@pytest.mark.parametrize(("key", "id"), KEYS.values())
def test_ids(key: str, id: str) -> None:
    assert identity.identity(key) == (key, id)


@pytest.mark.parametrize(("number", "message", "signature"), SIGNATURES)
def test_signatures(number: int, message: str, signature: str) -> None:
    key, signer = KEYS[number]
    assert identity.sign(message, key) == signature
    assert recover(message, signature) == signer


def test_an_independent_hash_agrees_on_an_id() -> None:
    import coincurve

    public = coincurve.PrivateKey(bytes.fromhex(KEYS[2][0])).public_key.format(compressed=False).hex()
    assert SHA3_256.new(public.encode()).hexdigest() == KEYS[2][1]


def test_any_nonce_will_do() -> None:
    assert recover("hello", OTHER_NONCE) == KEYS[2][1]


def test_upper_case_and_the_compressed_flag_are_taken() -> None:
    assert recover("hello", HELLO.upper()) == KEYS[2][1]
    assert recover("hello", HELLO[:-2] + "04") == KEYS[2][1]


def test_another_text_has_another_signer() -> None:
    assert recover("hello!", HELLO) != KEYS[2][1]


def _with(r: int | None = None, s: int | None = None, v: int = 0) -> str:
    r = int(HELLO[:64], 16) if r is None else r
    s = int(HELLO[64:128], 16) if s is None else s
    return f"{r:064x}{s:064x}{v:02x}"


RECOVER = "Failed to recover public key: invalid signature:"


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        ("", "Invalid signature length"),
        ("00", "Invalid signature length"),
        (HELLO + "00", "Invalid signature length"),
        ("abc", "encoding/hex: odd length hex string"),
        ("zz", "encoding/hex: invalid byte: U+007A 'z'"),
        ("0x00", "encoding/hex: invalid byte: U+0078 'x'"),
        ("ab\n", "encoding/hex: invalid byte: U+000A"),
        ("å", "encoding/hex: invalid byte: U+00C3 'Ã'"),
        (_with(v=8), f"{RECOVER} public key recovery code 35 is not in the valid range [27, 34]"),
        (_with(v=255), f"{RECOVER} public key recovery code 26 is not in the valid range [27, 34]"),
        (_with(r=GROUP_ORDER), f"{RECOVER} R >= group order"),
        (_with(r=0), f"{RECOVER} R is 0"),
        (_with(s=GROUP_ORDER), f"{RECOVER} S >= group order"),
        (_with(s=0), f"{RECOVER} S is 0"),
        (_with(v=2), f"{RECOVER} signature R + N >= P"),
        (_with(r=5), f"{RECOVER} not for a valid curve point"),
        (_with(s=GROUP_ORDER - int(HELLO[64:128], 16), v=1), "Failed verify signature: Signature s value is over half the order"),
    ],
)  # fmt: skip
def test_bad_signatures(signature: str, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        recover("hello", signature)
    assert (refused.value.status, refused.value.text) == (403, text)


def test_a_key_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="64 hex digits, got 3"):
        identity.sign("x", "abc")


def test_derived_identities_depend_on_seed_and_name() -> None:
    assert identity.derived(1, "a") == identity.derived(1, "a")
    assert len({identity.derived(seed, name).id for seed in (1, 2) for name in "ab"}) == 4
