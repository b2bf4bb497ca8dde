"""A typed client for tests: colonies, users, executors and processes as objects, without encoding or signatures."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Self

from colonysim.core.operations.assignment import AssignProcess, PauseAssignments, ResumeAssignments
from colonysim.core.operations.attributes import AddAttribute
from colonysim.core.operations.channels import ChannelAppend, ChannelRead
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful, SetOutput
from colonysim.core.operations.colonies import AddColony, GetColonyStats
from colonysim.core.operations.executors import AddExecutor, ApproveExecutor, GetExecutor, RemoveExecutor
from colonysim.core.operations.functions import AddFunction
from colonysim.core.operations.logs import AddLog, GetLogs
from colonysim.core.operations.processes import (
    CancelProcess,
    GetProcess,
    GetProcesses,
    RemoveProcess,
    SubmitFuncSpec,
)
from colonysim.core.operations.users import AddUser
from colonysim.core.operations.workflows import CancelProcessGraph, GetProcessGraph, SubmitWorkflow
from colonysim.core.protocol import ErrorBody, Message
from colonysim.core.records import Executor, Process, ProcessState
from colonysim.core.replies import GraphReply, Statistics
from colonysim.core.types import (
    Attribute,
    Colony,
    Conditions,
    ExecutorSpec,
    Function,
    FunctionSpec,
    Log,
    User,
    WorkflowSpec,
)
from colonysim.kernel.pending import LOST, CorruptedBody, Lost
from colonysim.simulation import stock
from colonysim.simulation.losses import loss_of
from colonysim.simulation.simulation import Simulation
from colonysim.wire import identity
from colonysim.wire.identity import Identity
from colonysim.wire.vetting import listed, mapping, text


class Refused(Exception):
    """The server refused a request; `status` and `text` are those of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status} {text}")
        self.status = status
        self.text = text


def function_spec(colony: str, funcname: str, args: Sequence[Any] = (), /, **fields: Any) -> FunctionSpec:
    """Create a function spec from fields of the spec and of its conditions, by their names on the wire.

    Limits that are not given are -1, which means no limit. The values are checked when the spec is submitted.
    Raises TypeError for an unknown field, and if `args` is not a list.
    """
    given: dict[str, Any] = {"maxwaittime": -1, "maxexectime": -1, "maxretries": -1, "executortype": "cli"} | fields
    conditions: dict[str, Any] = {name: given.pop(name) for name in Conditions.__struct_fields__ if name in given}
    for name in given:
        if name not in FunctionSpec.__struct_fields__:
            known = ", ".join((*FunctionSpec.__struct_fields__, *Conditions.__struct_fields__))
            raise TypeError(f"a function spec has no field {name!r}; it has {known}")
    conditions["colonyname"] = colony
    return FunctionSpec(funcname=funcname, args=listed(args, "args"), conditions=Conditions(**conditions), **given)


class Caller:
    """A client with an identity that calls a simulated server."""

    def __init__(self, sim: Simulation, who: Identity) -> None:
        self.sim = sim
        self.identity = who

    @property
    def id(self) -> str:
        """The id, as a signature proves it: 64 hexadecimal digits."""
        return self.identity.id

    @property
    def private_key(self) -> str:
        """The private key, for SDK code that signs."""
        return self.identity.private_key

    def ask(self, message: Message) -> Any:
        """Send a request and return the body of the reply.

        Raises Refused, Lost; TypeError or ValueError for a message that no client could send.
        """
        answer = self.sim.call(self.id, message)
        body = answer.body
        if answer.status == LOST:
            raise Lost(loss_of(self.sim.calls, answer.ticket))
        if isinstance(body, CorruptedBody):
            raise Lost(f"the reply cannot be read: {body.text!r}")
        if answer.status == 200 and answer.payload_type:
            return body
        raise Refused(answer.status, body.message if isinstance(body, ErrorBody) else "the server gave no answer")


class ProcessHandle:
    """A process, as a caller sees it. Its properties ask the server each time."""

    def __init__(self, caller: Caller, process_id: str) -> None:
        self.caller = caller
        self.id = process_id

    @property
    def details(self) -> Process:
        """The process as the server shows it now. Raises Refused if it was removed."""
        process: Process = self.caller.ask(GetProcess(processid=self.id))
        return process

    @property
    def state(self) -> ProcessState:
        """Its state now."""
        return ProcessState(self.details.state)

    @property
    def spec(self) -> FunctionSpec:
        """Its function spec."""
        return self.details.spec

    @property
    def args(self) -> list[Any]:
        """A copy of its arguments."""
        return deepcopy(list(self.spec.args or ()))

    @property
    def input(self) -> list[Any]:
        """A copy of its input: the outputs of its parents."""
        return deepcopy(list(self.details.input or ()))

    @property
    def output(self) -> list[Any]:
        """A copy of its output."""
        return deepcopy(list(self.details.output))

    @property
    def errors(self) -> list[str]:
        """The error texts with which it failed."""
        return list(self.details.errors or ())

    @property
    def retries(self) -> int:
        """How often it was requeued because it ran too long."""
        return self.details.retries

    def cancel(self) -> None:
        """Cancel it."""
        self.caller.ask(CancelProcess(processid=self.id))

    def remove(self) -> None:
        """Remove it from the server."""
        self.caller.ask(RemoveProcess(processid=self.id))

    def logs(self, count: int = 100) -> list[str]:
        """Return the log lines of its executors, oldest first."""
        logs: Sequence[Log] | None = self.caller.ask(GetLogs(processid=self.id, count=count))
        return [log.message for log in logs or ()]

    def say(self, channel: str, payload: bytes, sequence: int = 0, type: str = "") -> None:
        """Append an entry to a channel."""
        self.caller.ask(
            ChannelAppend(processid=self.id, name=channel, sequence=sequence, payload=payload, payloadtype=type)
        )

    def hear(self, channel: str, skip: int = 0) -> list[bytes]:
        """Return the payloads in a channel, without the first `skip` entries."""
        entries = self.caller.ask(ChannelRead(processid=self.id, name=channel, afterseq=skip))
        return [entry.payload or b"" for entry in entries]

    def __repr__(self) -> str:
        return f"<process {self.id[:8]}>"


class AssignedProcess(ProcessHandle):
    """A process that is assigned to the caller."""

    def close(self, out: Sequence[Any] = ()) -> None:
        """Close it as successful, with an output."""
        self.caller.ask(CloseSuccessful(processid=self.id, out=listed(out, "out")))

    def fail(self, *errors: str) -> None:
        """Close it as failed, with error texts."""
        self.caller.ask(CloseFailed(processid=self.id, errors=list(errors)))

    def set_output(self, out: Sequence[Any]) -> None:
        """Set its output before it is closed."""
        self.caller.ask(SetOutput(processid=self.id, out=listed(out, "out")))

    def log(self, text: str) -> None:
        """Write a log line."""
        self.caller.ask(AddLog(processid=self.id, message=text))

    def add_attribute(self, key: str, value: str, attribute_type: int = 1) -> Attribute:
        """Add an attribute."""
        sent = Attribute(targetid=self.id, attributetype=attribute_type, key=key, value=value)
        attribute: Attribute = self.caller.ask(AddAttribute(attribute=sent))
        return attribute


class GraphHandle:
    """A submitted workflow, as a caller sees it."""

    def __init__(self, caller: Caller, graph_id: str) -> None:
        self.caller = caller
        self.id = graph_id

    @property
    def details(self) -> GraphReply:
        """The graph as the server shows it now."""
        reply: GraphReply = self.caller.ask(GetProcessGraph(processgraphid=self.id))
        return reply

    @property
    def state(self) -> ProcessState:
        """Its state now."""
        return ProcessState(self.details.graph.state)

    @property
    def processes(self) -> dict[str, ProcessHandle]:
        """Its processes, by node name."""
        nodes = self.details.nodes
        return {node.label: ProcessHandle(self.caller, node.process_id) for node in nodes}

    def cancel(self) -> None:
        """Cancel it with all its processes that have not ended."""
        self.caller.ask(CancelProcessGraph(processgraphid=self.id))


class Member(Caller):
    """A user or an executor of a colony."""

    def __init__(self, sim: Simulation, who: Identity, colony: str, name: str) -> None:
        super().__init__(sim, who)
        self.colony = colony
        self.name = name

    def submit(self, funcname: str, args: Sequence[Any] = (), /, **fields: Any) -> ProcessHandle:
        """Submit a function call; the fields are those of `function_spec`. Raises Refused."""
        return self.submit_spec(function_spec(self.colony, funcname, args, **fields))

    def submit_spec(self, spec: FunctionSpec) -> ProcessHandle:
        """Submit a function spec. Raises Refused."""
        process: Process = self.ask(SubmitFuncSpec(spec=spec))
        return ProcessHandle(self, process.process_id)

    def submit_workflow(self, nodes: dict[str, dict[str, Any]]) -> GraphHandle:
        """Submit a workflow, given as the fields of each node's spec by its name; `after` lists its dependencies."""
        specs = []
        for name, fields in mapping(nodes, "nodes").items():
            given = mapping(fields, f"the fields of node {name!r}")
            given.setdefault("dependencies", listed(given.pop("after", ()), f"after of node {name!r}"))
            funcname, args = given.pop("funcname", name), given.pop("args", ())
            specs.append(function_spec(self.colony, funcname, args, nodename=name, **given))
        workflow = WorkflowSpec(colonyname=self.colony, functionspecs=specs)
        reply: GraphReply = self.ask(SubmitWorkflow(spec=workflow))
        return GraphHandle(self, reply.graph.graph_id)

    def process(self, process_id: str) -> ProcessHandle:
        """Return a handle for a process by its id."""
        return ProcessHandle(self, process_id)

    def processes(self, state: ProcessState | None = ProcessState.WAITING, count: int = 100) -> list[ProcessHandle]:
        """Return processes in one state, by default those that wait, or with `state=None` those in every state.

        They come in the order of the server, state after state, `count` of each state at most.
        """
        found: list[ProcessHandle] = []
        for one in ProcessState if state is None else (state,):
            listed: Sequence[Process] | None = self.ask(GetProcesses(colonyname=self.colony, state=one, count=count))
            found += (ProcessHandle(self, process.process_id) for process in listed or ())
        return found

    def statistics(self) -> Statistics:
        """Return the statistics of the colony."""
        statistics: Statistics = self.ask(GetColonyStats(colonyname=self.colony))
        return statistics

    def __repr__(self) -> str:
        return f"<{self.__class__.__name__.removesuffix('Client').lower()} {self.name} of {self.colony}>"


class UserClient(Member):
    """A user of a colony."""


class ExecutorClient(Member):
    """An executor of a colony."""

    def assign(self, timeout_s: int = -1, *, cpu: str = "", mem: str = "") -> AssignedProcess | None:
        """Ask for a process, and wait for one in virtual time. Returns None if none came.

        A negative timeout means a single attempt. Raises Refused, except if there is no process.
        """
        message = AssignProcess(colonyname=self.colony, timeout=timeout_s, availablecpu=cpu, availablemem=mem)
        try:
            reply = self.ask(message)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise
        return AssignedProcess(self, reply.process.process_id)

    def add_function(self, funcname: str) -> Function:
        """Register a function of the executor."""
        fun = Function(executorname=self.name, colonyname=self.colony, funcname=funcname)
        function: Function = self.ask(AddFunction(fun=fun))
        return function

    @property
    def details(self) -> Executor:
        """The executor as the server shows it now."""
        executor: Executor = self.ask(GetExecutor(colonyname=self.colony, executorname=self.name))
        return executor


class ColonyClient(Caller):
    """A colony: its owner, with a user for what owners may not do, such as to submit."""

    def __init__(self, sim: Simulation, owner: Identity, name: str, user: UserClient) -> None:
        super().__init__(sim, owner)
        self.name = name
        self.user = user
        self._made: dict[str, int] = {}

    @classmethod
    def create(cls, sim: Simulation, name: str = "dev") -> Self:
        """Create a colony with one user. Raises Refused if the name is in use."""
        owner = identity.derived(sim.settings.seed, f"colony/{text(name, 'name')}")
        Caller(sim, Identity("", sim.world.server_id)).ask(AddColony(colony=Colony(colonyid=owner.id, name=name)))
        user = UserClient(sim, identity.derived(sim.settings.seed, f"user/{name}/user"), name, "user")
        colony = cls(sim, owner, name, user)
        colony.ask(AddUser(user=User(colonyname=name, userid=user.id, name="user")))
        return colony

    @classmethod
    def stock(cls, sim: Simulation) -> Self:
        """The colony of the stock development environment, which must be installed."""
        user = UserClient(sim, stock.USER_IDENTITY, stock.COLONY, stock.USER)
        return cls(sim, stock.COLONY_OWNER, stock.COLONY, user)

    def add_user(self, name: str) -> UserClient:
        """Add a user. Raises Refused if the name is in use."""
        user = UserClient(self.sim, self._key("user", name), self.name, name)
        self.ask(AddUser(user=User(colonyname=self.name, userid=user.id, name=name)))
        return user

    def add_executor(
        self, executor_type: str = "cli", name: str | None = None, *, approve: bool = True, location: str = ""
    ) -> ExecutorClient:
        """Add an executor, approved by default. Adding a name again replaces the executor of that name."""
        text(executor_type, "executor_type")
        if name is None:
            number = self._made[executor_type] = self._made.get(executor_type, 0) + 1
            name = f"{executor_type}-{number}"
        executor = ExecutorClient(self.sim, self._key("executor", name), self.name, name)
        spec = ExecutorSpec(
            executorid=executor.id,
            executortype=executor_type,
            executorname=name,
            colonyname=self.name,
            locationname=location,
        )
        self.ask(AddExecutor(executor=spec))
        if approve:
            self.ask(ApproveExecutor(colonyname=self.name, executorname=name))
        return executor

    def remove_executor(self, executor: ExecutorClient) -> None:
        """Remove an executor. Its running processes are requeued."""
        self.ask(RemoveExecutor(colonyname=self.name, executorname=executor.name))

    def pause(self) -> None:
        """Pause assignments until `resume`."""
        self.ask(PauseAssignments(colonyname=self.name))

    def resume(self) -> None:
        """Resume assignments."""
        self.ask(ResumeAssignments(colonyname=self.name))

    # Shortcuts for what its user can do.
    def submit(self, funcname: str, args: Sequence[Any] = (), /, **fields: Any) -> ProcessHandle:
        """Submit a function call as the colony's user; the fields are those of `function_spec`."""
        return self.user.submit(funcname, args, **fields)

    def submit_workflow(self, nodes: dict[str, dict[str, Any]]) -> GraphHandle:
        """Submit a workflow as the colony's user."""
        return self.user.submit_workflow(nodes)

    def processes(self, state: ProcessState | None = ProcessState.WAITING, count: int = 100) -> list[ProcessHandle]:
        return self.user.processes(state, count)

    def statistics(self) -> Statistics:
        return self.user.statistics()

    def _key(self, kind: str, name: str) -> Identity:
        return identity.derived(self.sim.settings.seed, f"{kind}/{self.name}/{text(name, 'name')}")

    def __repr__(self) -> str:
        return f"<colony {self.name}>"
