"""The settings of a server, in Python, on the command line and in environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from colonysim.core.golang.civil import zone_of
from colonysim.core.policies import PolicyName
from colonysim.core.values import BadValue, Value, read_texts

STOCK_SERVER_KEY: Final = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d"
STOCK_SERVER_ID: Final = "039231c7644e04b6895471dd5335cf332681c54e27f81fac54f9067b3f2c0103"
DEFAULT_START: Final = "2026-01-01T00:00:00Z"

_GROUP_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The group order of secp256k1; private keys are smaller."""

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
LEAST_SEED: Final = -(2**63)
MOST_SEED: Final = 2**64 - 1

MOST_SPAN_S: Final = 3_153_600_000
"""A hundred years: no span of a setting is longer."""

Milliseconds = Annotated[int, Meta(ge=1, le=MOST_SPAN_S * 1000)]
Seconds = Annotated[int, Meta(ge=1, le=MOST_SPAN_S)]


class Settings(Value, frozen=True, kw_only=True):
    """How the server behaves. Defaults are those of the stock environment, the time zone apart."""

    seed: int = 0
    """Seed of everything random: ids, keys, the order of simulated actors."""
    start: str = DEFAULT_START
    """Virtual time at the start, in RFC 3339; `now` for the time of this machine."""
    timezone: str = "UTC"
    """IANA time zone of printed times and cron expressions. The stock environment uses Europe/Stockholm."""
    exclusive_assign: bool = True
    """Assign as the cluster leader does; False is the distributed mode (docs/protocol/b-processes.md 4.1)."""
    policy: PolicyName = "reference"
    """Which of the matching waiting processes an executor gets first; see colonysim.core.policies."""
    allow_reregister: bool = True
    """Whether adding an executor replaces one of the same name."""
    cron_checker_period_ms: Milliseconds = 1000
    generator_checker_period_ms: Milliseconds = 500
    cleanup_interval_s: Seconds = 60
    stale_executor_duration_s: Seconds = 600
    """An executor is unregistered after this many seconds without a sign of life."""
    retention: bool = False
    """Delete successful processes and logs that are older than `retention_policy_s`."""
    retention_policy_s: Annotated[int, Meta(ge=0, le=MOST_SPAN_S)] = 604_800
    verify_signatures: bool = True
    """If False, callers are trusted: the `signature` field holds the caller's id."""
    server_key: str = STOCK_SERVER_KEY
    """Private key of the server owner, 64 hex digits."""
    build_version: str = "dev"
    build_time: str = ""
    """`buildtime` in the reply to getserverinfomsg; empty for the current time."""

    def check(self) -> None:
        check_seed(self.seed)
        try:
            zone_of(self.timezone)
        except (KeyError, OSError, ValueError):
            why = "unknown time zone; use an IANA name such as 'Europe/Stockholm' or 'UTC'"
            raise self.refused("timezone", why) from None
        for name in ("build_version", "build_time"):
            if not getattr(self, name).isprintable():
                raise self.refused(name, "must be printable text")
        if not _KEY.fullmatch(self.server_key):
            raise BadValue("server_key must be a private key of 64 hex digits", ("server_key",), named=1)
        if not 0 < int(self.server_key, 16) < _GROUP_ORDER:
            text = f"server_key is not a private key of secp256k1: use one from 1 to {_GROUP_ORDER - 1:x}"
            raise BadValue(text, ("server_key",), named=1)

    @classmethod
    def from_texts(cls, texts: dict[str, str], base: Settings | None = None) -> Settings:
        """Settings with fields given as texts, as an environment or a command line has them. Errors: BadValue."""
        _check_names(texts)
        return read_texts(cls, texts, base)

    def overridden(self, **fields: Any) -> Settings:
        """The settings with some fields replaced. Errors: BadValue that names the field and what would do."""
        _check_names(fields)
        return replace(self, **fields)


def _check_names(names: Iterable[str]) -> None:
    """Errors: BadValue for a name that no setting has."""
    for name in names:
        if name not in (known := Settings.__struct_fields__):
            raise BadValue(f"there is no setting {name!r}; the settings are {', '.join(known)}", (name,), named=1)


def range_of(name: str) -> tuple[int, int] | None:
    """Return the least and the largest value of a setting; None if it is not an integer."""
    if name == "seed":
        return LEAST_SEED, MOST_SEED
    found = {field.name: field.type for field in msgspec.inspect.type_info(Settings).fields}[name]  # type: ignore[attr-defined]
    if not isinstance(found, msgspec.inspect.IntType) or found.ge is None or found.le is None:
        return None
    return found.ge, found.le


def check_seed(seed: int) -> int:
    """The seed. Errors: ValueError for one that no scenario file could hold."""
    if not LEAST_SEED <= seed <= MOST_SEED:
        raise ValueError(f"seed {seed} has more than 64 bits: take one from {LEAST_SEED} to {MOST_SEED}")
    return seed
