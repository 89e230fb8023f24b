"""All stages in order, then the report: ``python -m kd_lightning.pipeline experiment=speech_commands``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import experiment_command
from kd_lightning.experiment.compose import (
    Request,
    forbid_shadowed_words,
    stage_config,
    warn_of_ignored_words,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig


def pipeline(request: Request) -> None:
    """Train the teacher (unless there is one), an assistant (if asked for), baseline, distill and finetune; compare."""
    if request.job_folder is not None:
        raise ValueError(
            "the pipeline names its own folders: sweep stages with kd_lightning.train -m, or loop over name="
        )
    configs = stage_configs(request)
    forbid_shadowed_words(request, tuple(configs))
    warn_of_ignored_words(request, tuple(configs))

    from kd_lightning.experiment.build import require_types
    from kd_lightning.experiment.targets import check
    from kd_lightning.labelling import run_label
    from kd_lightning.stages import rank, run_stage

    for config in configs.values():
        require_types(config)
        check(config)
    validation: dict[str, float] = {}
    for stage, config in configs.items():
        if stage == "distill":
            warn_of_weak_teacher(config["monitor"], validation)
            if config["teacher"]["stored"] is True:
                run_label(config, Path(config["folder"]).parent / "label")
        score = next(iter(run_stage(config)["validation"].values()))
        if config["monitor"] == configs["distill"]["monitor"]:  # that of a language model is another
            validation[stage] = score
    if rank() == 0:
        from kd_lightning.reports.page import write_report
        from kd_lightning.reports.terminal import print_report

        print_report(write_report(Path(configs["finetune"]["folder"]).parent))


def warn_of_weak_teacher(monitor: str, validation: dict[str, float]) -> None:
    """Say so when what teaches the student has nothing to teach."""
    from kd_lightning.metrics.scores import is_better

    role = "assistant" if "assistant" in validation else "teacher"
    if {role, "baseline"} <= validation.keys() and not is_better(
        monitor, validation[role], validation["baseline"]
    ):
        logging.getLogger("kd_lightning").warning(
            "the %s (%.4f on validation) does not beat the baseline (%.4f): train it longer, or take a larger one",
            role,
            validation[role],
            validation["baseline"],
        )


def stage_configs(request: Request) -> dict[str, dict[str, Any]]:
    """The config of each stage, each pointed at the runs before it.

    Raises:
        ValueError, OmegaConfBaseException: a stage's config cannot be composed.
    """
    runs = Path(stage_config(request, "baseline")["folder"]).parent
    configs: dict[str, dict[str, Any]] = {}
    teacher = request.config.teacher
    taught_by: dict[str, str | None] = {}
    if "network" in teacher and not (teacher.run or teacher.checkpoint):
        configs["teacher"] = stage_config(request, "teacher")
        taught_by = {"teacher__run": str(runs / "teacher")}
    timed_by = _timed_by(request.config, taught_by.get("teacher__run") or teacher.run)
    if request.config.assistant:
        if "network" not in teacher:
            raise ValueError(
                "an assistant stands between a larger teacher and the student: choose teacher=<network>"
            )
        configs["assistant"] = stage_config(
            request, "assistant", **taught_by, **timed_by, teacher__stored=False
        )
        taught_by = {"teacher__run": str(runs / "assistant"), "teacher__checkpoint": None}
    configs["baseline"] = stage_config(request, "baseline", **timed_by)
    configs["distill"] = stage_config(request, "distill", **taught_by, **timed_by)
    configs["finetune"] = stage_config(request, "finetune", **timed_by, student__run=str(runs / "distill"))
    return configs


def _timed_by(config: DictConfig, teacher: Any) -> dict[str, str]:
    """The teacher as what times recordings, where nobody else is named: a corpus may not say when a phone is spoken.

    It numbers the speakers of all stages, too.
    """
    if config.task != "synthesis" or config.aligner is not None or not teacher:
        return {}
    return {"aligner": teacher if isinstance(teacher, str) else teacher[0]}


main = experiment_command(pipeline)

if __name__ == "__main__":
    main()
