"""Runs that have learnt nothing, in the place of those that a pipeline has yet to train."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from kd_lightning.experiment.tokens import keep_tokens
from kd_lightning.files import write
from kd_lightning.stages import is_finished, recorded_of
from kd_lightning.teachers.finished_run import WEIGHTS


class StandIns:
    """Stands runs in for those that are not there, in a folder of its own.

    Args:
        folder: where they go.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._by_run: dict[str, str] = {}
        self._failed: set[str] = set()

    def fail(self, config: dict[str, Any]) -> None:
        """Remember that a stage cannot be built, and those that build on it cannot either."""
        if not is_finished(Path(config["folder"])):
            self._failed.add(str(Path(config["folder"]).absolute()))

    def missing(self, config: dict[str, Any]) -> list[str]:
        """The stages that a stage builds on and that cannot be built."""
        roles = ((config[role] or {}).get("run") for role in ("teacher", "student"))
        runs = {str(Path(run).absolute()) for run in roles if isinstance(run, str)}
        if missing := sorted(Path(run).name for run in runs & self._failed):
            self.fail(config)
        return missing

    def make(self, config: dict[str, Any], datamodule: Any, student: nn.Module) -> None:
        """Leave all that later stages need of a stage, unless it is finished.

        Args:
            config: of the stage.
            datamodule: of the stage, set up.
            student: what the stage trains, as it is now.
        """
        run = Path(config["folder"])
        if is_finished(run):
            return
        here = self.folder / config["stage"]
        here.mkdir(parents=True, exist_ok=True)
        write(here / "config.json", json.dumps(config | recorded_of(datamodule)))
        keep_tokens(datamodule, here)
        state = {name: tensor.cpu().contiguous() for name, tensor in student.state_dict().items()}
        save_file(state, here / WEIGHTS)
        self._by_run[str(run.absolute())] = str(here)

    def stands_in_for(self, run: Any) -> bool:
        """Whether a run that a config names is not there yet, and another stands in for it."""
        return isinstance(run, str) and str(Path(run).absolute()) in self._by_run

    def teach(self, config: dict[str, Any]) -> bool:
        """Whether what teaches a stage has learnt nothing yet."""
        return self.stands_in_for((config["teacher"] or {}).get("run"))

    def put_into(self, config: dict[str, Any]) -> dict[str, Any]:
        """The config of a stage with the runs that stand in, and with the labels that are stored by now."""
        config = dict(config)
        if isinstance(stored := (config["teacher"] or {}).get("stored"), bool) and stored:
            labels = Path(config["folder"]).parent / "label"
            there = (labels / "labels.json").is_file() and not self.teach(config)
            config["teacher"] = config["teacher"] | {"stored": str(labels) if there else False}
        for role in ("teacher", "student"):
            if self.stands_in_for((config[role] or {}).get("run")):
                config[role] = config[role] | {"run": self._by_run[str(Path(config[role]["run"]).absolute())]}
        if self.stands_in_for(config.get("aligner")):
            config["aligner"] = self._by_run[str(Path(config["aligner"]).absolute())]
        teacher = Path(config["folder"]).parent / "teacher"
        if self.stands_in_for(str(teacher)):  # a corpus may be spelt with the tokens of the run beside
            config["folder"] = str(self.folder / config["stage"])
        return config
