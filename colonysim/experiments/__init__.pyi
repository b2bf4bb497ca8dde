"""The public names of colonysim.experiments, each imported when it is first used."""

from colonysim.experiments.clusters import Cluster as Cluster
from colonysim.experiments.clusters import NoCluster as NoCluster
from colonysim.experiments.compare import Interval as Interval
from colonysim.experiments.compare import Variant as Variant
from colonysim.experiments.compare import VariantRun as VariantRun
from colonysim.experiments.compare import grid as grid
from colonysim.experiments.compare import run_variants as run_variants
from colonysim.experiments.exploration import Outcome as Outcome
from colonysim.experiments.exploration import Overview as Overview
from colonysim.experiments.exploration import explore as explore
from colonysim.experiments.exploration import overview as overview
from colonysim.experiments.exploration import run_seed as run_seed
from colonysim.experiments.parallel import InThisProcess as InThisProcess
from colonysim.experiments.parallel import Processes as Processes
from colonysim.experiments.parallel import Stop as Stop
from colonysim.experiments.parallel import WorkerPool as WorkerPool
from colonysim.experiments.perfetto import write_perfetto as write_perfetto
from colonysim.experiments.report import write_csv as write_csv
from colonysim.experiments.report import write_html as write_html
from colonysim.experiments.report import write_summary as write_summary
from colonysim.experiments.shrinker import CannotShrink as CannotShrink
from colonysim.experiments.shrinker import Shrunk as Shrunk
from colonysim.experiments.shrinker import shrink as shrink
