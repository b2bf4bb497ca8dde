"""The public names of colonysim, each imported when it is first used (see facade.py)."""

from colonysim import conformance as conformance
from colonysim import experiments as experiments
from colonysim import faults as faults
from colonysim import hypothesis as hypothesis
from colonysim import scenarios as scenarios
from colonysim.core.records import ProcessState as ProcessState
from colonysim.core.settings import Settings as Settings
from colonysim.evidence.journal import JournalFailed as JournalFailed
from colonysim.evidence.replay import BadJournal as BadJournal
from colonysim.evidence.replay import Replayed as Replayed
from colonysim.evidence.replay import replay as replay
from colonysim.invariants import Invariant as Invariant
from colonysim.invariants import InvariantViolation as InvariantViolation
from colonysim.kernel.clock import Mode as Mode
from colonysim.kernel.kernel import Stuck as Stuck
from colonysim.kernel.pending import Lost as Lost
from colonysim.kernel.snapshots import BadSnapshot as BadSnapshot
from colonysim.programs.host import Crashed as Crashed
from colonysim.programs.host import ProgramFailed as ProgramFailed
from colonysim.pytest_plugin.idle import ColonysimWarning as ColonysimWarning
from colonysim.sdk.freeze import freeze as freeze
from colonysim.sdk.intercept import intercept as intercept
from colonysim.sdk.s3 import sync as sync
from colonysim.simulation import stock as stock
from colonysim.simulation.client import AssignedProcess as AssignedProcess
from colonysim.simulation.client import ColonyClient as ColonyClient
from colonysim.simulation.client import ExecutorClient as ExecutorClient
from colonysim.simulation.client import GraphHandle as GraphHandle
from colonysim.simulation.client import ProcessHandle as ProcessHandle
from colonysim.simulation.client import Refused as Refused
from colonysim.simulation.client import UserClient as UserClient
from colonysim.simulation.client import function_spec as function_spec
from colonysim.simulation.simulation import Simulation as Simulation
from colonysim.web.servers import ServerKind as ServerKind
from colonysim.web.servers import WebServer as WebServer
from colonysim.wire import identity as identity

__version__: str
