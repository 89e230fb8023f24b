"""Check all stages of an experiment, one after the other, and print what is found."""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from pytorch_lightning import LightningDataModule
from rich.console import Console

from kd_lightning.checks.costs import Costs, in_time, of_disk
from kd_lightning.checks.finding import Level
from kd_lightning.checks.printing import print_costs, print_findings
from kd_lightning.checks.stage import check_stage
from kd_lightning.checks.stand_ins import StandIns
from kd_lightning.experiment.targets import build

# A corpus that took longer to open was written, fetched or decoded first.
SOON = 10.0


class Diagnosis(NamedTuple):
    """What was found of an experiment.

    Attributes:
        levels: of all findings.
        costs: of the stages that can be built.
    """

    levels: list[Level]
    costs: list[Costs]

    @property
    def is_wrong(self) -> bool:
        """Whether training would end in an error, or in nothing."""
        return Level.WRONG in self.levels


def check_experiment(configs: dict[str, dict[str, Any]], begin: float, console: Console) -> Diagnosis:
    """Check the stages in order, and print what is found. Nothing is written into their folders.

    Args:
        configs: of the stages, as the pipeline has them.
        begin: of the command, by ``time.perf_counter()``.
        console: where to print.
    """
    logging.getLogger("kd_lightning").setLevel(logging.WARNING)
    corpus = seconds_of_corpus(next(iter(configs.values())))
    if corpus > SOON:
        console.print(f"{in_time(corpus)} to make the corpus ready, which is done once")
    found = Diagnosis([], [])
    with tempfile.TemporaryDirectory(prefix="kd_doctor_") as folder:
        stand_ins = StandIns(Path(folder))
        for stage, config in configs.items():
            checked = check_stage(config, stand_ins)
            print_findings(stage, checked.findings, console)
            found.levels.extend(finding.level for finding in checked.findings)
            if checked.costs is not None:
                found.costs.append(checked.costs)
    runs = Path(next(iter(configs.values()))["folder"]).parent
    disk = list(of_disk(found.costs, runs))
    found.levels.extend(finding.level for finding in disk)
    print_costs(found.costs, console)
    print_findings("disk", disk, console)
    took = time.perf_counter() - begin - (corpus if corpus > SOON else 0.0)
    console.print(
        f"{found.levels.count(Level.WRONG)} wrong, {found.levels.count(Level.WARNING)} warnings; checked in "
        f"{in_time(took)} ({in_time(time.process_time())} of one core)"
    )
    return found


def seconds_of_corpus(config: dict[str, Any]) -> float:
    """Make the corpus of a stage ready, by speaking it if need be, and say how long that took."""
    begin = time.perf_counter()
    try:
        build(config["corpus"], LightningDataModule).prepare_data()
    except Exception as error:  # the check of the stage will say it
        logging.getLogger("kd_lightning").debug("no corpus", exc_info=error)
    return time.perf_counter() - begin
