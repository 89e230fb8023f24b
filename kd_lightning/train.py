"""Train one stage: ``python -m kd_lightning.train stage=distill teacher.run=runs/a/teacher``."""

from kd_lightning.experiment.command import experiment_command
from kd_lightning.experiment.compose import (
    Request,
    forbid_shadowed_words,
    forbid_sweep_of_ranks,
    stage_config,
    warn_of_ignored_words,
)


def train(request: Request) -> None:
    """Train the stage that ``stage=`` names."""
    stage = request.config.stage
    config = stage_config(request, stage)
    forbid_sweep_of_ranks(request, config)
    forbid_shadowed_words(request, (stage,))
    warn_of_ignored_words(request, (stage,))

    from kd_lightning.experiment.process import end_with_parent
    from kd_lightning.stages import run_stage

    if "joblib" in request.launcher:
        end_with_parent()
    run_stage(config)


main = experiment_command(train)

if __name__ == "__main__":
    main()
