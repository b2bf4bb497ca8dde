"""Crons (docs/protocol/c-workflows.md 6)."""

from __future__ import annotations

from typing import Any

from colonysim.core import graphs, intake, lookup, recurring, storage
from colonysim.core.access import member, of_target
from colonysim.core.errors import Refusal
from colonysim.core.golang import cronexpr, gotypes
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import Cron
from colonysim.core.registry import operation
from colonysim.core.replies import CronReply
from colonysim.core.types import CronSpec, Int
from colonysim.core.world import World


class AddCron(Message, frozen=True):
    cron: CronSpec | None = None


def _colony_of_cron(message: AddCron, _: None) -> str:
    assert message.cron is not None
    return message.cron.colonyname


@operation(
    "addcronmsg",
    AddCron,
    "Failed to add cron",
    find=lookup.given("cron", "Failed to add cron, msg.Cron is nil"),
    access=member(_colony_of_cron),
)
def add_cron(world: World, caller: str, message: AddCron, _: None) -> CronReply:
    """Add a workflow to start on a schedule. Its node names and resources are checked when it starts."""
    spec = message.cron
    assert spec is not None
    workflow = gotypes.workflow(spec.workflowspec)
    graphs.check_dependencies(workflow, 400)
    _check_times(spec)
    initiator = intake.initiator_of(world, caller, workflow.colonyname)
    if initiator is None:
        raise Refusal(500, "Could not derive InitiatorName")
    intake.require_home(world, caller, workflow.colonyname)
    if world.crons.named(spec.colonyname, spec.name) is not None:
        raise Refusal(400, f"Cron with name <{spec.name}> in Colony <{spec.colonyname}> already exists")
    storage.int32(400, spec.interval)
    storage.timestamp(400, spec.nextrun)
    storage.timestamp(400, spec.lastrun)
    if world.request.has_nul:
        storage.text(400, spec)
    cron = Cron(
        cron_id=world.new_id(),
        initiator_id=initiator.caller_id,
        initiator_name=initiator.name,
        colony=spec.colonyname,
        name=spec.name,
        expression=spec.cronexpression,
        interval_s=spec.interval,
        random=spec.random,
        next_run_ns=spec.nextrun.ns,
        last_run_ns=spec.lastrun.ns,
        workflow_text=spec.workflowspec,
        previous_graph_id=spec.prevprocessgraphid,
        wait_for_previous=spec.waitforprevprocessgraph,
        workflow=workflow,
    )
    recurring.add_cron(world, cron)
    return CronReply(cron.copy())


def _check_times(spec: CronSpec) -> None:
    if spec.interval == 0:
        raise Refusal(400, "Cron interval must be -1 (disabled) or larger than 0")
    if spec.interval == -1:
        cronexpr.parse(spec.cronexpression)
        if spec.random:
            raise Refusal(400, "Random cron is only supported when specifying intervals")


class GetCron(Message, frozen=True):
    cronid: str = ""


def _cron(status: int, text: str) -> Any:
    def find(world: World, _: str, message: Any) -> Cron:
        cron = world.crons.get(message.cronid)
        if cron is None:
            raise Refusal(status, text)
        return cron

    return find


@operation(
    "getcronmsg",
    GetCron,
    "Failed to get cron",
    find=_cron(500, "Failed to get cron, cron is nil"),
    access=member(of_target),
)
def get_cron(world: World, caller: str, message: GetCron, cron: Cron) -> CronReply:
    """Return a cron by its id."""
    return CronReply(cron.copy(), world.settings.cron_checker_period_ms)


class GetCrons(Message, frozen=True):
    colonyname: str = ""
    count: Int = 0


@operation("getcronsmsg", GetCrons, "Failed to get crons", access=member())
def get_crons(world: World, caller: str, message: GetCrons, _: None) -> Any:
    """List crons by name. Quirk: an empty list is [], not null."""
    storage.limit(message.count)
    found = sorted(world.crons.where("colony", message.colonyname), key=lambda cron: cron.name)
    return tuple(CronReply(cron.copy()) for cron in found[: message.count])


class RunCron(Message, frozen=True):
    cronid: str = ""


@operation("runcronmsg", RunCron, "Failed to run cron", find=_cron(400, "cron not found"), access=member(of_target))
def run_cron(world: World, caller: str, message: RunCron, cron: Cron) -> CronReply:
    """Start the workflow now. The reply shows the cron from before the run."""
    before = CronReply(cron.copy())
    recurring.run_cron(world, cron, asked=True)
    return before


class RemoveCron(Message, frozen=True):
    cronid: str = ""
    all: bool = False  # accepted and ignored


@operation(
    "removecronmsg",
    RemoveCron,
    "Failed to remove cron",
    find=_cron(500, "Failed to remove cron, cron is nil"),
    access=member(of_target),
)
def remove_cron(world: World, caller: str, message: RemoveCron, cron: Cron) -> Empty:
    """Remove a cron; the graphs that it has started stay."""
    recurring.remove_cron(world, cron)
    return EMPTY
