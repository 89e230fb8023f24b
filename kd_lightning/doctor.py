"""Whether an experiment makes sense: ``python -m kd_lightning.doctor experiment=speech_commands``."""

import time

from kd_lightning.experiment.command import experiment_command
from kd_lightning.experiment.compose import Request, forbid_shadowed_words, warn_of_ignored_words
from kd_lightning.pipeline import stage_configs


def doctor(request: Request) -> None:
    """Check every stage that the pipeline would run; the exit status is 1 if something is wrong."""
    begin = time.perf_counter()
    if request.job_folder is not None:
        raise ValueError("the doctor looks at one experiment at a time: leave out -m")
    configs = stage_configs(request)
    forbid_shadowed_words(request, tuple(configs))
    warn_of_ignored_words(request, tuple(configs))

    from kd_lightning.checks.experiment import check_experiment

    if check_experiment(configs, begin):
        raise SystemExit(1)


main = experiment_command(doctor)

if __name__ == "__main__":
    main()
