"""The public names of colonysim.conformance, each imported when it is first used."""

from colonysim.conformance.comparison import Comparison as Comparison
from colonysim.conformance.player import CASES as CASES
from colonysim.conformance.player import BadCase as BadCase
from colonysim.conformance.player import load_case as load_case
from colonysim.conformance.player import play as play
from colonysim.conformance.report import CaseResult as CaseResult
from colonysim.conformance.report import play_all as play_all
from colonysim.conformance.targets import Http as Http
from colonysim.conformance.targets import InProcess as InProcess
from colonysim.conformance.targets import Target as Target
from colonysim.conformance.targets import simulation_for_cases as simulation_for_cases
