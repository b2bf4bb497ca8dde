"""The settings of a server, in Python, on the command line and in environment variables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr, replace

from colonysim.core import policies
from colonysim.core.golang.civil import zone_of
from colonysim.core.shares import Rules, parse_weights, wrong_factor_weights, wrong_user_weights
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

    seed: Annotated[int, Meta(description="Seed of everything random: ids, keys, the order of simulated actors.")] = 0
    start: Annotated[
        str, Meta(description="Virtual time at the start, in RFC 3339; `now` for the time of this machine.")
    ] = DEFAULT_START
    timezone: Annotated[
        str,
        Meta(
            description="IANA time zone of printed times and cron expressions. "
            "The stock environment uses Europe/Stockholm."
        ),
    ] = "UTC"
    exclusive_assign: Annotated[
        bool, Meta(description="Assign as the leader of a cluster does; false is the distributed mode.")
    ] = True
    policy: Annotated[
        str,
        Meta(
            description="Which of the matching waiting processes an executor gets first.",
            extra={"check": policies.wrong_policy},
        ),
    ] = "reference"
    user_weights: Annotated[
        str,
        Meta(
            description="Weights of users under the policies `weighted_fair` and `multifactor`, as `alice=3,bob=1`; "
            "others have 1.",
            extra={"check": wrong_user_weights},
        ),
    ] = ""
    factor_weights: Annotated[
        str,
        Meta(
            description="Weights of the factors of the policy `multifactor`; a factor that is not named has 0.",
            extra={"check": wrong_factor_weights},
        ),
    ] = "age=1000,fair_share=1000,size=100,priority=100"
    full_age_s: Annotated[
        int, Meta(ge=3600, le=MOST_SPAN_S, description="`multifactor`: seconds since submission that count as age 1.")
    ] = 604_800
    full_size_cpus: Annotated[
        int, Meta(ge=1, le=1_000_000, description="`multifactor`: CPUs of a process that count as size 1.")
    ] = 128
    usage_half_life_s: Annotated[
        Seconds, Meta(description="`multifactor`: seconds in which the use that counts for fair shares is halved.")
    ] = 604_800
    allow_reregister: Annotated[bool, Meta(description="Whether adding an executor replaces one of the same name.")] = (
        True
    )
    cron_checker_period_ms: Annotated[
        Milliseconds, Meta(description="How often the server looks for crons to run.")
    ] = 1000
    generator_checker_period_ms: Annotated[
        Milliseconds, Meta(description="How often the server looks for generators to run.")
    ] = 500
    cleanup_interval_s: Annotated[
        Seconds, Meta(description="How often stale executors and, with `retention`, old records are looked for.")
    ] = 60
    stale_executor_duration_s: Annotated[
        Seconds, Meta(description="Seconds without a request after which an executor is unregistered.")
    ] = 600
    retention: Annotated[
        bool, Meta(description="Delete successful processes and logs that are older than `retention_policy_s`.")
    ] = False
    retention_policy_s: Annotated[
        int, Meta(ge=0, le=MOST_SPAN_S, description="Age at which `retention` deletes, in seconds.")
    ] = 604_800
    verify_signatures: Annotated[
        bool, Meta(description="If false, callers are trusted: the `signature` field holds the caller's id.")
    ] = True
    server_key: Annotated[str, Meta(description="Private key of the server owner, 64 hex digits.")] = STOCK_SERVER_KEY
    build_version: Annotated[str, Meta(description="`buildversion` in the reply to getserverinfomsg.")] = "dev"
    build_time: Annotated[
        str, Meta(description="`buildtime` in the reply to getserverinfomsg; empty for the current time.")
    ] = ""

    def __post_init__(self) -> None:
        if callable(self.policy):  # in Python also a function
            force_setattr(self, "policy", policies.name_of(self.policy))
        for name in ("user_weights", "factor_weights"):
            if isinstance(given := getattr(self, name), dict):  # in scenarios and in Python also a mapping
                force_setattr(self, name, ",".join(f"{key}={weight}" for key, weight in given.items()))
        super().__post_init__()

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

    @property
    def policy_rules(self) -> Rules:
        """The settings of policies."""
        return Rules(
            parse_weights(self.user_weights),
            parse_weights(self.factor_weights),
            self.full_age_s,
            self.full_size_cpus,
            self.usage_half_life_s,
        )

    @classmethod
    def from_texts(cls, texts: dict[str, str], base: Settings | None = None) -> Settings:
        """Return settings with fields from texts, as in an environment or command line. Raises BadValue."""
        _check_names(texts)
        return read_texts(cls, texts, base)

    def overridden(self, **fields: Any) -> Settings:
        """Return the settings with some fields replaced. Raises BadValue with the field and the fix."""
        _check_names(fields)
        return replace(self, **fields)


def _check_names(names: Iterable[str]) -> None:
    """Raise BadValue for a name that no setting has."""
    for name in names:
        if name not in (known := Settings.__struct_fields__):
            raise BadValue(f"there is no setting {name!r}; the settings are {', '.join(known)}", (name,), named=1)


class SettingInfo(NamedTuple):
    """The description of a setting for users. `values`: its range, or its choices; empty if any text is accepted."""

    name: str
    default: Any
    values: str
    meaning: str


_TEXTS: Final = {
    "start": "RFC 3339, or now",
    "timezone": "an IANA name, such as UTC",
    "server_key": "64 hexadecimal digits",
}
"""What the settings are that take a text."""


def describe() -> list[SettingInfo]:
    """Return name, default, possible values and meaning of each setting."""
    return [
        SettingInfo(field.name, field.default, _values(field), _meaning(field.type))
        for field in msgspec.inspect.type_info(Settings).fields  # type: ignore[attr-defined]
    ]


def range_of(name: str) -> tuple[int, int] | None:
    """Return the least and the largest value of a setting; None if it is not an integer."""
    if name == "seed":
        return LEAST_SEED, MOST_SEED
    found = _plain(next(field.type for field in msgspec.inspect.type_info(Settings).fields if field.name == name))  # type: ignore[attr-defined]
    if not isinstance(found, msgspec.inspect.IntType) or found.ge is None or found.le is None:
        return None
    return found.ge, found.le


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Return a type without its description."""
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _meaning(kind: msgspec.inspect.Type) -> str:
    described = isinstance(kind, msgspec.inspect.Metadata) and kind.extra_json_schema
    return str(described["description"]) if described else ""


def _values(field: msgspec.inspect.Field) -> str:
    kind = _plain(field.type)
    if field.name == "policy":
        return ", ".join(policies.POLICIES)
    if isinstance(kind, msgspec.inspect.BoolType):
        return "true, false"
    bounds = range_of(field.name)
    return f"{bounds[0]} to {bounds[1]}" if bounds else _TEXTS.get(field.name, "any text")


def check_seed(seed: int) -> int:
    """Return the seed. Raises ValueError if it has more than 64 bits, the limit of scenario files."""
    if not LEAST_SEED <= seed <= MOST_SEED:
        raise ValueError(f"seed {seed} has more than 64 bits: take one from {LEAST_SEED} to {MOST_SEED}")
    return seed
