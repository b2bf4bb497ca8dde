"""Access: callers that are served have the required role, and callers that are denied do not.

Source: docs/protocol/a-foundation.md 4.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from colonysim.core.history import Enrolled, Unregistered
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful, SetOutput
from colonysim.core.operations.processes import GetProcessHist
from colonysim.core.protocol import Answer, Delivery, ErrorBody, Message, Request
from colonysim.core.records import APPROVED
from colonysim.core.registry import BY_MESSAGE
from colonysim.invariants.executors import Executors
from colonysim.invariants.invariant import Invariant, Look, built_in
from colonysim.invariants.ledger import Ledger
from colonysim.invariants.violation import InvariantViolation

_ANYONE: Final = frozenset({"versionmsg", "getserverinfomsg", "subscribeprocessmsg"})
_SERVER_OWNER: Final = frozenset({
    "addcolonymsg", "removecolonymsg", "getcoloniesmsg", "getstatisticsmsg", "getclustermsg", "changeserveridmsg",
})  # fmt: skip
_COLONY_OWNER: Final = frozenset({
    "addusermsg", "removeusermsg", "addexecutormsg", "approveexecutormsg", "rejectexecutormsg", "removeexecutormsg",
    "pauseassignmentsmsg", "resumeassignmentsmsg", "removeallprocessgraphsmsg", "changecolonyidmsg",
    "addblueprintdefinitionmsg", "removeblueprintdefinitionmsg", "addlocationmsg", "removelocationmsg",
    "removeallprocessesmsg",
})  # fmt: skip
_MEMBER_OR_OWNER: Final = frozenset({
    "addblueprintmsg", "getblueprintmsg", "getblueprintsmsg", "updateblueprintmsg", "removeblueprintmsg",
    "getblueprinthistorymsg", "getblueprintdefinitionmsg", "getblueprintdefinitionsmsg",
})  # fmt: skip
_MEMBER_IN_ANY_STATE: Final = frozenset({
    "getusersmsg", "getusermsg", "getuserbyidmsg", "changeuseridmsg", "getexecutorsmsg", "reportallocationmsg",
    "updateexecutormsg", "changeexecutoridmsg", "getpausestatusmsg", "getlocationmsg", "getlocationsmsg",
})  # fmt: skip
_REFUSED_SILENTLY: Final = frozenset({"getcolonystatsmsg", "getprocesshistmsg"})
_CHANGES_ROLES: Final = frozenset({
    "changeuseridmsg", "changeexecutoridmsg", "changecolonyidmsg", "changeserveridmsg", "removecolonymsg",
    "addusermsg", "removeusermsg", "addcolonymsg",
})  # fmt: skip
_GIVES_UP_OWN: Final = frozenset({"changeuseridmsg", "changeexecutoridmsg", "changecolonyidmsg", "changeserveridmsg"})
"""After these requests the caller may no longer have the role by which it was served."""
_OTHER_RULES: Final = (
    _ANYONE | _SERVER_OWNER | _COLONY_OWNER | _MEMBER_OR_OWNER | _MEMBER_IN_ANY_STATE | _CHANGES_ROLES
    | {"subscribeprocessesmsg"}
)  # fmt: skip
_HOLDERS_ONLY: Final[frozenset[type[Message]]] = frozenset({CloseSuccessful, CloseFailed, SetOutput, AddAttribute})
_DENIED: Final = "Access denied, "
_NAMED: Final = "Colony with name <"


@built_in
class Access(Invariant):
    """Determines roles from the tables of users, executors and colonies; the core has its own indexes.

    While there is one colony, a caller whose role was found is not looked up again until roles change. `known`: the
    message types for which it was found, by caller. `members`: callers found to be approved members, which suffices
    for most types. `further`: what else is checked, by message type.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.executors = Executors.of(ledger)
        self.known: dict[str, dict[type[Message], Look | None]] = {}
        self.members: dict[str, None] = {}
        self.further: dict[type[Message], Look] = {}

    def reads(self) -> dict[type, Callable[[Any], None]]:
        return {Enrolled: self._enrolled, Unregistered: self._forget}

    def looks(self) -> dict[type[Message], Look]:
        return dict.fromkeys(_HOLDERS_ONLY, self.held)

    def _enrolled(self, step: Enrolled) -> None:
        self.known.pop(step.executor_id, None)
        self.members.pop(step.executor_id, None)

    def _forget(self, step: Unregistered | None = None) -> None:
        self.known.clear()
        self.members.clear()

    def asked(self, request: Request, deliveries: Sequence[Delivery]) -> None:
        """Check a request whose caller is not in `known`, and what else is checked after it."""
        self._answered(request, deliveries)
        if (look := self.further.get(type(request.message))) is not None:
            look(request, deliveries)

    def _answered(self, request: Request, deliveries: Sequence[Delivery]) -> None:
        """Check the answer of a request, which is the first delivery unless it is parked."""
        first = deliveries[0] if deliveries else None
        answer = first if type(first) is Answer and first.ticket == request.ticket else None
        name = BY_MESSAGE[type(request.message)].name
        if answer is not None and answer.payload_type in ("error", ""):
            if type(answer.body) is ErrorBody and answer.body.message.startswith(_DENIED):
                self._denied(request, name, answer)
            elif name in _REFUSED_SILENTLY and not answer.payload_type and answer.status != 200:
                raise InvariantViolation(f"{name} was refused with {answer.status}, not with silence")
            return
        if name in _CHANGES_ROLES:
            self._forget()
        if name in _GIVES_UP_OWN or name in _ANYONE or self.world.unreadable_names:
            return  # Quirk: names that cannot be read break the rules
        caller_id, alone = request.caller_id, len(self.world.colonies) == 1
        takes_members = name not in _OTHER_RULES
        if not (alone and takes_members and caller_id in self.members):
            if not self._may(caller_id, name, self._colony_of(request.message)):
                raise InvariantViolation(f"{name} of {caller_id} was served, although {_takes(name)}")
        if alone:
            kind = type(request.message)
            self.known.setdefault(caller_id, {})[kind] = self.further.get(kind)
            if takes_members:
                self.members[caller_id] = None

    def _denied(self, request: Request, name: str, answer: Answer) -> None:
        if answer.status != 403:
            raise InvariantViolation(f"{name} of {request.caller_id} was denied access with {answer.status}, not 403")
        text = answer.body.message
        _, named, rest = text.partition(_NAMED)
        colony = rest[:-1] if named and rest.endswith(">") else self._colony_of(request.message)
        if self.world.unreadable_names or (colony is None and name not in _SERVER_OWNER):
            return
        if self._may(request.caller_id, name, colony):
            raise InvariantViolation(f"{name} of {request.caller_id} was refused ({text}), although it may ask that")

    def held(self, request: Request, deliveries: Sequence[Delivery]) -> None:
        """Check that only the executor of a process is served what only it may ask."""
        if not deliveries or type(answer := deliveries[0]) is not Answer or answer.status != 200:
            return
        message: Any = request.message
        process_id = getattr(message, "processid", None)
        record = self.ledger.records.get(self._process_id(message) if process_id is None else process_id)
        if record is not None and record.process.executor_id != request.caller_id:
            holder = record.process.executor_id or "nobody"
            what = f"is assigned to {holder}, and {request.caller_id} was served by {type(request.message).__name__}"
            raise self.ledger.violation(record.process_id, what)

    # ------------------------------------------------------------ roles
    def _may(self, caller_id: str, name: str, colony: str | None) -> bool:
        """Whether a caller has the role that a request about a colony requires; None stands for any colony."""
        world = self.world
        if name in _SERVER_OWNER:
            return caller_id == world.server_id
        if name == "subscribeprocessesmsg":
            return caller_id in self.executors.by_id
        owns = name in _COLONY_OWNER or name in _MEMBER_OR_OWNER
        if owns and any(colony in (None, each.name) and each.colonyid == caller_id for each in world.colonies.values()):
            return True
        if name in _COLONY_OWNER:
            return False
        return self._is_member(caller_id, colony, approved=name not in _MEMBER_IN_ANY_STATE)

    def _is_member(self, caller_id: str, colony: str | None, approved: bool) -> bool:
        """Whether a caller is a user or an executor. Quirk: an executor id in two colonies counts in the first one."""
        if records := self.executors.by_id.get(caller_id):
            executor = self.world.executors.get(records[0].key)
            if executor is not None and colony in (None, executor.colony):
                if not approved or executor.state == APPROVED:
                    return True
        users = self.world.users.values()
        return any(user.userid == caller_id and colony in (None, user.colonyname) for user in users)

    def _colony_of(self, message: Any) -> str | None:
        """Return the colony that a message concerns: that of its target, or the one it names; None if it has none."""
        world = self.world
        if hasattr(message, "spec"):
            return _colony_named(message)
        if getattr(message, "executorname", "") and hasattr(message, "colonyname"):
            return str(message.colonyname)  # also where it names a process
        if process_id := self._process_id(message):
            record = self.ledger.records.get(process_id) or self.ledger.gone.get(process_id)
            return record.process.colony if record is not None else None
        for field, table in (
            ("processgraphid", world.graphs), ("cronid", world.crons), ("generatorid", world.generators),
        ):  # fmt: skip
            if key := getattr(message, field, ""):
                return table[key].colony if key in table else None
        if key := getattr(message, "functionid", ""):
            return world.functions[key].colonyname if key in world.functions else None
        if key := getattr(message, "blueprintid", ""):
            found = (one.metadata.colonyname for one in world.blueprints.values() if one.blueprintid == key)
            return next(found, None)
        if hasattr(message, "executorid") and type(message) is not GetProcessHist:
            records = self.executors.by_id.get(message.executorid)
            return records[0].key[0] if records else None
        return _colony_named(message)

    def _process_id(self, message: Any) -> str:
        """Return the process that a message concerns, directly or by an attribute; "" for none."""
        attribute = getattr(message, "attribute", None) or self.world.attributes.get(
            getattr(message, "attributeid", "")
        )
        return str(attribute.targetid if attribute is not None else getattr(message, "processid", ""))


def _colony_named(record: Any) -> str | None:
    """Return the name of a colony in a message, or in a struct in it."""
    for field in ("colonyname", "namespace"):
        if hasattr(record, field):
            return str(getattr(record, field))
    for field in record.__struct_fields__:
        part = getattr(record, field)
        if isinstance(part, msgspec.Struct) and (name := _colony_named(part)) is not None:
            return name
    return None


def _takes(name: str) -> str:
    """Describe who may send a request."""
    if name in _SERVER_OWNER:
        return "only the owner of the server may ask that"
    if name in _COLONY_OWNER:
        return "only the owner of the colony may ask that"
    if name in _MEMBER_OR_OWNER:
        return "only a member or the owner of the colony may ask that"
    return "only a member of the colony may ask that"
