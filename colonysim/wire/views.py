"""Render reply bodies as JSON, with the reference's keys, key order and texts.

VIEWS maps each type to the function that renders it. Source: docs/protocol/a-foundation.md 8,
docs/protocol/b-processes.md 2, docs/protocol/c-workflows.md 1, 6, 7, docs/protocol/d-realtime-and-data.md 1 to 6.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from typing import Any, Final

import msgspec
from msgspec import Raw

from colonysim.core import records, replies, types
from colonysim.core.golang.escapes import escaped
from colonysim.core.golang.numbers import NO_ITEMS, NO_PAIRS, free, number
from colonysim.core.golang.times import format_sent_time, format_time, wall_clock
from colonysim.core.golang.units import format_cpu, format_memory
from colonysim.core.protocol import Empty, ErrorBody

_ENCODER: Final = msgspec.json.Encoder()
_STATE_COLOURS: Final = ("#eee8d8", "#4689cd", "#92d050", "#cb4239", "#f5a623")


class Views:
    """Renders reply bodies, with times in one time zone."""

    def __init__(self, zone: tzinfo) -> None:
        self.zone = zone
        self._unset = format_time(types.ZERO_TIME_NS, zone)

    def json(self, body: Any) -> bytes:
        """Encode a reply body as JSON, indented and escaped as the reference does it.

        Raises Refusal 500 if a time has no RFC 3339 text.
        """
        value = self.show(body)
        text = _ENCODER.encode(value)
        if indent := _indent(body):
            text = msgspec.json.format(text, indent=indent)
        return escaped(text)

    def show(self, body: Any) -> Any:
        """Convert a reply body to values that the JSON encoder accepts."""
        if body is None:
            return None
        if isinstance(body, (tuple, list)):
            return [self.show(item) for item in body]
        view = VIEWS.get(type(body))
        return body if view is None else view(self, body)

    def time(self, time_ns: int) -> str:
        """Format a time given in nanoseconds since 1970."""
        return self._unset if time_ns == types.ZERO_TIME_NS else format_time(time_ns, self.zone)


def _indent(body: Any) -> int:
    if isinstance(body, (tuple, list)):
        return _indent(body[0]) if body else 0
    return _INDENTS.get(type(body), 0)


# ---------------------------------------------------------------- executors, functions, server
def _executor(views: Views, executor: records.Executor) -> Any:
    shown: dict[str, Any] = {
        "executorid": executor.executor_id,
        "executortype": executor.executor_type,
        "executorname": executor.name,
        "colonyname": executor.colony,
        "state": executor.state,
        "requirefuncreg": executor.require_func_reg,
        "commissiontime": views.time(executor.commissioned_ns),
        "lastheardfromtime": views.time(executor.last_heard_ns),
    }
    if executor.location:
        shown["locationname"] = executor.location
    shown["capabilities"] = executor.capabilities
    projects = executor.allocations.projects
    shown["allocations"] = {"projects": projects and {name: projects[name] for name in sorted(projects)}}
    if executor.blueprint_id:
        shown["blueprintid"] = executor.blueprint_id
    if executor.blueprint_generation:
        shown["blueprintgen"] = executor.blueprint_generation
    return shown


def _function(views: Views, function: types.Function) -> Any:
    shown: dict[str, Any] = {
        "functionid": function.functionid,
        "executorname": function.executorname,
        "executortype": function.executortype,
        "colonyname": function.colonyname,
        "funcname": function.funcname,
    }
    if function.description:
        shown["description"] = function.description
    if function.args:
        shown["args"] = [arg and _argument(arg) for arg in function.args]
    shown["counter"] = function.counter
    for name in ("minwaittime", "maxwaittime", "minexectime", "maxexectime", "avgwaittime", "avgexectime"):
        shown[name] = number(getattr(function, name))
    if function.locationname:
        shown["locationname"] = function.locationname
    return shown


def _argument(arg: types.FunctionArg) -> Any:
    shown: dict[str, Any] = {"name": arg.name, "type": arg.type}
    if arg.description:
        shown["description"] = arg.description
    if arg.required:
        shown["required"] = True
    if arg.enum:
        shown["enum"] = arg.enum
    return shown


def _server_info(views: Views, info: replies.ServerInfo) -> Any:
    build_time = info.build_time or format_time(info.now_ns // 10**9 * 10**9, views.zone)
    backend = {"type": "http", "port": 50080, "host": "0.0.0.0"}
    return {"buildversion": info.build_version, "buildtime": build_time, "backends": [backend]}


# ---------------------------------------------------------------- processes
def _assign_reply(views: Views, reply: replies.AssignReply) -> Any:
    shown = _process(views, reply.process)
    if reply.exact_start:
        shown["starttime"] = format_time(reply.process.started_ns, views.zone, exact=True)
    return shown


def _process(views: Views, process: records.Process) -> dict[str, Any]:
    time = views.time
    return {
        "processid": process.process_id,
        "initiatorid": process.initiator_id,
        "initiatorname": process.initiator_name,
        "assignedexecutorid": process.executor_id,
        "isassigned": process.is_assigned,
        "state": process.state,
        "prioritytime": process.priority_time_ns,
        "submissiontime": time(process.submitted_ns),
        "starttime": time(process.started_ns),
        "endtime": time(process.ended_ns),
        "waitdeadline": time(process.wait_deadline_ns),
        "execdeadline": time(process.exec_deadline_ns),
        "retries": process.retries,
        "attributes": process.attributes,
        "spec": _spec_of(process),
        "waitforparents": process.wait_for_parents,
        "parents": process.parents,
        "children": process.children,
        "processgraphid": process.graph_id,
        "in": None if process.input is None else free(process.input),
        "out": free(process.output),
        "errors": process.errors,
    }


def _spec_of(process: records.Process) -> dict[str, Any]:
    environment = {a.key: a.value for a in process.attributes if a.attributetype == records.ENV}
    return _spec(process.spec, process.resources, environment)


def _spec(spec: types.FunctionSpec, resources: records.Resources, environment: dict[str, str]) -> dict[str, Any]:
    shown = {
        "nodename": spec.nodename,
        "funcname": spec.funcname,
        "args": free(spec.args) if spec.args else NO_ITEMS,
        "kwargs": free(spec.kwargs) if spec.kwargs else NO_PAIRS,
        "priority": spec.priority,
        "maxwaittime": spec.maxwaittime,
        "maxexectime": spec.maxexectime,
        "maxretries": spec.maxretries,
        "conditions": _conditions(spec.conditions, resources),
        "label": spec.label,
        "fs": spec.fs or types.NO_FILESYSTEM,
        "env": free(environment) if environment else NO_PAIRS,
    }
    if spec.channels:
        shown["channels"] = spec.channels
    return shown


def _conditions(conditions: types.Conditions, resources: records.Resources) -> dict[str, Any]:
    names = conditions.executornames
    gpu = conditions.gpu or types.Gpu()
    shown: dict[str, Any] = {
        "colonyname": conditions.colonyname,
        "executornames": [] if names == ["*"] else names,
        "executortype": conditions.executortype,
    }
    if conditions.locationname:
        shown["locationname"] = conditions.locationname
    shown["dependencies"] = conditions.dependencies or []
    shown["nodes"] = conditions.nodes
    shown["cpu"] = format_cpu(resources.cpu_milli)
    shown["processes"] = conditions.processes
    shown["processespernode"] = conditions.processespernode
    shown["mem"] = format_memory(resources.memory_bytes)
    shown["storage"] = format_memory(resources.storage_bytes)
    gpu_memory = format_memory(resources.gpu_memory_bytes)
    shown["gpu"] = {"name": gpu.name, "mem": gpu_memory, "count": gpu.count, "nodecount": 0}
    shown["walltime"] = conditions.walltime
    return shown


# ---------------------------------------------------------------- graphs, crons, generators
def _graph(views: Views, reply: replies.GraphReply) -> Any:
    graph = reply.graph
    unset = format_time(types.ZERO_TIME_NS, UTC)
    return {
        "processgraphid": graph.graph_id,
        "initiatorid": graph.initiator_id,
        "initiatorname": graph.initiator_name,
        "colonyname": graph.colony,
        "rootprocessids": reply.roots,
        "state": graph.state,
        # Quirk: the reply to a submit leaves the submission time unset.
        "submissiontime": unset if reply.fresh else views.time(graph.submitted_ns),
        "starttime": unset if reply.fresh else views.time(graph.started_ns),
        "endtime": unset if reply.fresh else views.time(graph.ended_ns),
        "processids": reply.process_ids,
        "nodes": [_node(node) for node in reply.nodes],
        "edges": [
            {
                "id": f"{edge.source}-{edge.target}",
                "source": edge.source,
                "target": edge.target,
                "animated": edge.animated,
            }
            for edge in reply.edges
        ],
    }


def _node(node: replies.GraphNode) -> Any:
    return {
        "id": node.process_id,
        "data": {"label": node.label},
        "position": {"x": node.x, "y": node.y},
        "type": node.type,
        "style": {"color": "", "background": _STATE_COLOURS[node.state]},
    }


def _workflow(workflow: types.WorkflowSpec) -> dict[str, Any]:
    """Render a workflow that the server created as a client would have sent it."""
    nodes = [_spec(node, records.NO_RESOURCES, node.env or {}) for node in workflow.functionspecs or ()]
    return {"colonyname": workflow.colonyname, "functionspecs": nodes}


def _cron(views: Views, reply: replies.CronReply) -> Any:
    cron = reply.cron
    return {
        "cronid": cron.cron_id,
        "initiatorid": cron.initiator_id,
        "initiatorname": cron.initiator_name,
        "colonyname": cron.colony,
        "name": cron.name,
        "cronexpression": cron.expression,
        "interval": cron.interval_s,
        "random": cron.random,
        "nextrun": views.time(cron.next_run_ns),
        "lastrun": views.time(cron.last_run_ns),
        "workflowspec": cron.workflow_text or escaped(_ENCODER.encode(_workflow(cron.workflow))).decode(),
        "prevprocessgraphid": cron.previous_graph_id,
        "waitforprevprocessgraph": cron.wait_for_previous,
        "checkerperiod": reply.checker_period_ms,
    }


def _generator(views: Views, reply: replies.GeneratorReply) -> Any:
    generator = reply.generator
    return {
        "generatorid": generator.generator_id,
        "initiatorid": generator.initiator_id,
        "initiatorname": generator.initiator_name,
        "colonyname": generator.colony,
        "name": generator.name,
        "workflowspec": generator.workflow_text,
        "trigger": generator.trigger,
        "timeout": generator.timeout_s,
        "firstpack": views.time(generator.first_pack_ns),
        "lastrun": views.time(generator.last_run_ns),
        "queuesize": reply.queue_size,
        "checkerperiod": reply.checker_period_ms,
    }


# ---------------------------------------------------------------- channels, files, locations, blueprints
def _entry(views: Views, entry: records.Entry) -> Any:
    shown: dict[str, Any] = {"sequence": entry.sequence}
    if entry.in_reply_to:
        shown["inreplyto"] = entry.in_reply_to
    shown["timestamp"] = format_time(entry.timestamp_ns, views.zone, exact=True)
    shown["senderid"] = entry.sender_id
    shown["payload"] = entry.payload
    shown["type"] = entry.type
    return shown


def _file(views: Views, file: types.FileSpec) -> Any:
    return {
        "fileid": file.fileid,
        "colonyname": file.colonyname,
        "label": file.label,
        "name": file.name,
        "size": file.size,
        "sequencenr": file.sequencenr,
        "checksum": file.checksum,
        "checksumalg": file.checksumalg,
        "ref": file.ref,
        "added": views.time(file.added.ns),
    }


def _snapshot(views: Views, snapshot: records.Snapshot) -> Any:
    added = format_time(snapshot.added_ns, UTC, exact=True) if snapshot.fresh else views.time(snapshot.added_ns)
    return {
        "snapshotid": snapshot.snapshot_id,
        "colonyname": snapshot.colony,
        "label": snapshot.label,
        "name": snapshot.name,
        "fileids": snapshot.file_ids,
        "added": added,
    }


def _location(views: Views, location: types.Location) -> Any:
    return {
        "locationid": location.locationid,
        "name": location.name,
        "colonyname": location.colonyname,
        "description": location.description,
        "long": number(location.long),
        "lat": number(location.lat),
    }


def _metadata(metadata: types.Metadata) -> dict[str, Any]:
    shown: dict[str, Any] = {"name": metadata.name, "colonyname": metadata.colonyname}
    if metadata.locationname:
        shown["locationname"] = metadata.locationname
    if metadata.labels:
        shown["labels"] = free(metadata.labels)
    if metadata.annotations:
        shown["annotations"] = free(metadata.annotations)
    if metadata.generation:
        shown["generation"] = metadata.generation
    shown["createdAt"] = format_sent_time(metadata.createdAt)
    shown["updatedAt"] = format_sent_time(metadata.updatedAt)
    shown["lastReconciliationTime"] = format_sent_time(metadata.lastReconciliationTime)
    if metadata.lastReconciliationProcess:
        shown["lastReconciliationProcess"] = metadata.lastReconciliationProcess
    return shown


def _blueprint(views: Views, blueprint: types.Blueprint) -> Any:
    shown: dict[str, Any] = {
        "blueprintid": blueprint.blueprintid,
        "kind": blueprint.kind,
        "metadata": _metadata(blueprint.metadata),
        "spec": None if blueprint.spec is None else free(blueprint.spec),
    }
    if blueprint.status:
        shown["status"] = free(blueprint.status)
    return shown


def _change(views: Views, change: records.BlueprintChange) -> Any:
    blueprint = change.blueprint
    shown: dict[str, Any] = {
        "historyid": change.history_id,
        "blueprintid": blueprint.blueprintid,
        "kind": blueprint.kind,
        "namespace": blueprint.metadata.colonyname,
        "name": blueprint.metadata.name,
        "generation": blueprint.metadata.generation,
        "spec": free(blueprint.spec),
    }
    if blueprint.status:
        shown["status"] = free(blueprint.status)
    shown["timestamp"] = wall_clock(change.changed_ns, views.zone)
    shown["changedby"] = change.changed_by
    shown["changetype"] = change.change_type
    return shown


def _definition(views: Views, definition: types.BlueprintDefinition) -> Any:
    spec = definition.spec
    names = _given(spec.names, ("kind", "listKind", "singular", "plural"), ("shortNames",))
    shown: dict[str, Any] = {"group": spec.group, "version": spec.version, "names": names, "scope": spec.scope}
    if spec.schema is not None:
        shown["schema"] = _schema(spec.schema)
    shown["handler"] = _given(spec.handler, ("executorType", "functionName"), ("reconcileInterval",))
    return {
        "blueprintdefinitionid": definition.blueprintdefinitionid,
        "kind": definition.kind,
        "metadata": _metadata(definition.metadata),
        "spec": shown,
    }


def _given(struct: Any, always: tuple[str, ...], if_given: tuple[str, ...]) -> dict[str, Any]:
    shown = {name: getattr(struct, name) for name in always}
    shown.update({name: value for name in if_given if (value := getattr(struct, name))})
    return shown


def _schema(schema: types.Schema) -> Any:
    shown = _given(schema, (), ("type",))
    if schema.properties:
        shown["properties"] = _properties(schema.properties)
    if schema.required:
        shown["required"] = schema.required
    return shown


def _properties(properties: dict[str, types.SchemaProperty]) -> Any:
    return {name: _property(properties[name]) for name in sorted(properties)}


def _property(prop: types.SchemaProperty) -> Any:
    shown = _given(prop, (), ("type", "description"))
    if prop.enum:
        shown["enum"] = free(prop.enum)
    if prop.default is not None:
        shown["default"] = free(prop.default)
    if prop.properties:
        shown["properties"] = _properties(prop.properties)
    if prop.items is not None:
        shown["items"] = _property(prop.items)
    return shown


# ---------------------------------------------------------------- table of views
def _plain(views: Views, body: Any) -> Any:
    """Return the body unchanged: its fields have the wire's names and order."""
    return body


def _nothing(views: Views, body: Empty) -> Raw:
    return NO_PAIRS


VIEWS: Final[dict[type, Callable[[Views, Any], Any]]] = {
    Empty: _nothing,
    ErrorBody: _plain,
    types.Colony: _plain,
    types.User: _plain,
    types.Attribute: _plain,
    types.Log: _plain,
    types.Function: _function,
    types.FileSpec: _file,
    types.Location: _location,
    types.Blueprint: _blueprint,
    types.BlueprintDefinition: _definition,
    records.Executor: _executor,
    records.Process: _process,
    records.Entry: _entry,
    records.Snapshot: _snapshot,
    records.BlueprintChange: _change,
    replies.AssignReply: _assign_reply,
    replies.Statistics: _plain,
    replies.VersionReply: _plain,
    replies.ServerInfo: _server_info,
    replies.ClusterInfo: _plain,
    replies.PauseStatus: _plain,
    replies.GraphReply: _graph,
    replies.CronReply: _cron,
    replies.GeneratorReply: _generator,
    replies.FileData: _plain,
    replies.FileLabel: _plain,
}

_INDENTS: Final[dict[type, int]] = {
    records.Process: 2,
    replies.AssignReply: 2,
    types.Blueprint: 2,
    types.BlueprintDefinition: 2,
    replies.ClusterInfo: 4,
}
