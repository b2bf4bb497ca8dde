"""The settings of a server: the same in Python, on the command line and in the environment."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from colonysim.core.golang.civil import zone_of
from colonysim.core.policies import PolicyName

STOCK_SERVER_KEY: Final = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d"
STOCK_SERVER_ID: Final = "039231c7644e04b6895471dd5335cf332681c54e27f81fac54f9067b3f2c0103"
DEFAULT_START: Final = "2026-01-01T00:00:00Z"

_GROUP_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""Of secp256k1: private keys are smaller."""

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")
LEAST_SEED: Final = -(2**63)
MOST_SEED: Final = 2**64 - 1

MOST_SPAN_S: Final = 3_153_600_000
"""A hundred years: no span of a setting is longer."""

Milliseconds = Annotated[int, Meta(ge=1, le=MOST_SPAN_S * 1000)]
Seconds = Annotated[int, Meta(ge=1, le=MOST_SPAN_S)]


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the server behaves. Defaults are those of the stock environment, the time zone apart."""

    seed: int = 0
    """All that is left to chance is drawn from it: ids, keys, the order of simulated actors."""
    start: str = DEFAULT_START
    """Virtual time at the beginning, RFC 3339; `now` for the time of this machine."""
    timezone: str = "UTC"
    """IANA zone of printed times and of cron expressions. The stock environment has Europe/Stockholm."""
    exclusive_assign: bool = True
    """Assign as the cluster leader does; False is the distributed mode (docs/protocol/b-processes.md 4.1)."""
    policy: PolicyName = "reference"
    """Which waiting process an executor gets first of those it may have; see colonysim.core.policies."""
    allow_reregister: bool = True
    """Adding an executor whose name is taken replaces it."""
    cron_checker_period_ms: Milliseconds = 1000
    generator_checker_period_ms: Milliseconds = 500
    cleanup_interval_s: Seconds = 60
    stale_executor_duration_s: Seconds = 600
    """An executor not heard of for so long is unregistered."""
    retention: bool = False
    """Delete successful processes and logs that are older than `retention_policy_s`."""
    retention_policy_s: Annotated[int, Meta(ge=0, le=MOST_SPAN_S)] = 604_800
    verify_signatures: bool = True
    """False takes every caller at its word: the `signature` field then holds the caller's id."""
    server_key: str = STOCK_SERVER_KEY
    """Private key of the server owner, 64 hex digits."""
    build_version: str = "dev"
    build_time: str = ""
    """`buildtime` of getserverinfomsg; empty for the current time."""

    @classmethod
    def from_texts(cls, texts: dict[str, str], base: Settings | None = None) -> Settings:
        """Settings with fields given as texts, as an environment or a command line has them. Errors: ValueError."""
        settings = base or cls()
        unknown = [name for name in texts if name not in cls.__struct_fields__]
        if unknown:
            return settings.overridden(**{unknown[0]: None})  # says which there are
        return _converted({**msgspec.structs.asdict(settings), **texts}, strict=False)

    def overridden(self, **fields: Any) -> Settings:
        """The settings with some fields replaced. Errors: ValueError that names the field and what would do."""
        for name in fields:
            if name not in self.__struct_fields__:
                known = ", ".join(self.__struct_fields__)
                raise ValueError(f"there is no setting {name!r}; the settings are {known}")
        return _converted({**msgspec.structs.asdict(self), **fields}, strict=True)


def check_seed(seed: int) -> int:
    """The seed. Errors: ValueError for one that no scenario file could hold."""
    if not LEAST_SEED <= seed <= MOST_SEED:
        raise ValueError(f"seed {seed} has more than 64 bits: take one from {LEAST_SEED} to {MOST_SEED}")
    return seed


def range_of(name: str) -> tuple[int, int] | None:
    """The least and the most that a setting may be; None where it is no number."""
    if name == "seed":
        return LEAST_SEED, MOST_SEED
    found = {field.name: field.type for field in msgspec.inspect.type_info(Settings).fields}[name]  # type: ignore[attr-defined]
    if not isinstance(found, msgspec.inspect.IntType) or found.ge is None or found.le is None:
        return None
    return found.ge, found.le


def _range_of(name: str) -> str:
    bounds = range_of(name) if name in Settings.__struct_fields__ else None
    return f"; take a whole number from {bounds[0]} to {bounds[1]}" if bounds else ""


def _converted(fields: dict[str, Any], strict: bool) -> Settings:
    """Settings of checked values. Errors: ValueError."""
    try:
        settings = msgspec.convert(fields, Settings, strict=strict)
    except msgspec.ValidationError as error:
        what, _, place = str(error).partition(" - at `$.")
        name = place.rstrip("`")
        given = f"{str(fields.get(name))[:100]}"
        raise ValueError(f"{name}={given} cannot be: {what[:1].lower()}{what[1:]}{_range_of(name)}") from None
    check_seed(settings.seed)
    if not settings.build_version.isprintable() or not settings.build_time.isprintable():
        raise ValueError("build_version and build_time must be printable text")
    try:
        zone_of(settings.timezone)
    except (KeyError, OSError, ValueError):
        name = settings.timezone
        raise ValueError(f"unknown time zone {name!r}; use an IANA name such as 'Europe/Stockholm' or 'UTC'") from None
    if not _KEY.fullmatch(settings.server_key):
        raise ValueError("server_key must be a private key of 64 hex digits")
    if not 0 < int(settings.server_key, 16) < _GROUP_ORDER:
        raise ValueError(f"server_key is no private key of secp256k1: take one from 1 to {_GROUP_ORDER - 1:x}")
    return settings
