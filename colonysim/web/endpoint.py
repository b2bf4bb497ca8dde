"""Requests and replies of a simulation as bytes, shared by the web servers and the in-process transport."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from colonysim.core.engine import refused
from colonysim.core.errors import Refusal
from colonysim.core.golang.civil import zone_of
from colonysim.core.protocol import Answer, Push
from colonysim.core.replies import ClusterInfo
from colonysim.evidence.journal import JournalFailed
from colonysim.kernel.connections import CONNECTION_END, ConnectionEnd, StreamRequest
from colonysim.kernel.pending import LOST, CorruptedBody, Lost, Pending
from colonysim.simulation.losses import loss
from colonysim.simulation.simulation import Simulation
from colonysim.web.access_log import AccessLog
from colonysim.wire.codec import Codec, Dropped, Incoming, Outgoing, payload_type_of

KEPT_PAYLOAD_BYTES: Final = 2048
"""A call keeps the text of its message up to this length: with all kept calls, 20 MB at most."""


class Endpoint:
    """Requests and replies of `/api` as bytes, for one simulation."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.presigned: dict[str, tuple[str, str]] = {}
        self.address: tuple[str, int] | None = None
        """Host and port of the server, if there is one."""
        self.access_log: AccessLog | None = None
        """Where each request is written, if anywhere."""
        self._codec: Codec | None = None
        self._settings = sim.settings

    @property
    def codec(self) -> Codec:
        """The codec for the simulation's settings, created again after they change."""
        if self._codec is None or self._settings is not self.sim.settings:
            self._settings = settings = self.sim.settings
            self._codec = Codec(zone_of(settings.timezone), settings.verify_signatures)
            self._codec.presigned = self.presigned
        return self._codec

    def begin(self, body: bytes, *, outside: bool) -> tuple[Pending, Incoming] | Outgoing:
        """Read a request and pass it to the simulation. Returns the reply if the request is refused before that."""
        codec = self.codec
        try:
            incoming = codec.read(body)
        except Refusal as refusal:
            self.sim.kernel.record_refused(body, payload_type_of(body), refusal)
            return codec.write(refused(0, refusal))
        self.sim.calls.expect(len(incoming.payload))
        try:
            pending = self.sim.begin(incoming.caller_id, incoming.message, has_nul=incoming.has_nul, outside=outside)
        except JournalFailed as failed:
            return codec.write(refused(0, Refusal(503, str(failed))))
        if len(incoming.payload) <= KEPT_PAYLOAD_BYTES:
            pending.call.payload = incoming.payload
        return pending, incoming

    def finish(self, pending: Pending, incoming: Incoming) -> Outgoing | None:
        """Create the reply of an answered request; None if a fault has lost the connection."""
        answer = pending.answer
        assert answer is not None
        if answer.status == LOST:
            return None
        if isinstance(answer.body, CorruptedBody):
            return Outgoing(answer.status, answer.body.text.encode())
        if isinstance(answer.body, ClusterInfo) and self.address is not None:
            answer = replace(answer, body=_cluster_at(*self.address, answer.body))
        return self.codec.write(answer, incoming.payload)

    def frame(self, delivery: Push | Answer) -> bytes:
        """Encode a delivery for a stream."""
        if isinstance(delivery.body, CorruptedBody):
            return delivery.body.text.encode()
        if isinstance(delivery, Push):
            return self.codec.write_push(delivery)
        return self.codec.write(delivery).body

    def exchange(self, body: bytes, wait: Callable[[Pending], object]) -> Outgoing:
        """Send a request from this process and `wait` for the reply. Raises Lost if the connection is lost."""
        begun = self.begin(body, outside=False)
        if isinstance(begun, Outgoing):
            return begun
        pending, incoming = begun
        if pending.answer is None:
            wait(pending)
        outgoing = self.finish(pending, incoming)
        if outgoing is None:
            raise Lost(loss(pending.call))
        return outgoing


def _cluster_at(host: str, port: int, cluster: ClusterInfo) -> ClusterInfo:
    """Set the address of a cluster of one server: only the web server knows it."""
    node = replace(cluster.leader, host=host, apiport=port)
    return ClusterInfo((node,), node)


def read_request(codec: Codec, body: bytes, binary: bool) -> StreamRequest | ConnectionEnd | Answer | None:
    """Read the request of a WebSocket message: an Answer if it is refused, None if it is ignored."""
    try:
        incoming = codec.read_streamed(body)
    except Refusal as refusal:
        return refused(0, refusal)
    except Dropped:
        return CONNECTION_END
    return (
        incoming if incoming is None else StreamRequest(incoming.caller_id, incoming.message, incoming.has_nul, binary)
    )
