"""All stages in order, then the report: ``python -m kd_lightning.pipeline experiment=speech_commands``."""

import logging
from pathlib import Path
from typing import Any

from kd_lightning.experiment.command import experiment_command
from kd_lightning.experiment.compose import Request, forbid_shadowed_words, stage_config


def pipeline(request: Request) -> None:
    """Train the teacher (unless ``teacher.run`` names one), baseline, distill and finetune, and compare them."""
    if request.job_folder is not None:
        raise ValueError(
            "the pipeline names its own folders: sweep stages with kd_lightning.train -m, or loop over name="
        )
    configs = stage_configs(request)
    forbid_shadowed_words(request, tuple(configs))

    from kd_lightning.stages import rank, run_stage

    validation: dict[str, float] = {}
    for stage, config in configs.items():
        if stage == "distill":
            warn_of_weak_teacher(validation)
        validation[stage] = next(iter(run_stage(config)["validation"].values()))
    if rank() == 0:
        from kd_lightning.reports.page import write_report
        from kd_lightning.reports.terminal import print_report

        print_report(write_report(Path(configs["finetune"]["folder"]).parent))


def warn_of_weak_teacher(validation: dict[str, float]) -> None:
    """Say so when the teacher has nothing to teach."""
    if validation.get("teacher", 1.0) <= validation["baseline"]:
        logging.getLogger("kd_lightning").warning(
            "the teacher (%.4f on validation) does not beat the baseline (%.4f): train it longer, or take a larger one",
            validation["teacher"],
            validation["baseline"],
        )


def stage_configs(request: Request) -> dict[str, dict[str, Any]]:
    """The config of each stage, each pointed at the runs before it.

    Raises:
        ValueError, OmegaConfBaseException: a stage's config cannot be composed.
    """
    runs = Path(stage_config(request, "baseline")["folder"]).parent
    teacher = request.config.teacher.run
    configs = {} if teacher else {"teacher": stage_config(request, "teacher")}
    configs["baseline"] = stage_config(request, "baseline")
    configs["distill"] = stage_config(request, "distill", teacher__run=teacher or str(runs / "teacher"))
    configs["finetune"] = stage_config(request, "finetune", student__run=str(runs / "distill"))
    return configs


main = experiment_command(pipeline)

if __name__ == "__main__":
    main()
