"""Whether an experiment makes sense: ``python -m kd_lightning.doctor experiment=speech_commands``.

With ``fractions=[0.1,0.3,1]`` also whether a teacher will pay: ``seeds=3`` students are trained at each labelled
fraction, for the share ``proxy=0.5`` of distill's epochs, and their learning curve says what a teacher's labels are
worth.
"""

import functools
import sys
import time
from typing import Any

from hydra.errors import HydraException

from kd_lightning.experiment.command import experiment_command, fail, nested
from kd_lightning.experiment.compose import Request, forbid_shadowed_words, warn_of_ignored_words
from kd_lightning.pipeline import stage_configs

# Words of this command, which no config has.
OWN = ("fractions", "seeds", "proxy")


def doctor(request: Request, own: dict[str, Any] | None = None) -> None:
    """Check every stage that the pipeline would run; the exit status is 1 if something is wrong.

    Args:
        request: what the command line asked for.
        own: the words of this command.
    """
    begin = time.perf_counter()
    if request.job_folder is not None:
        raise ValueError("the doctor looks at one experiment at a time: leave out -m")
    if own and "fractions" not in own:
        raise ValueError(f"{next(iter(own))}= goes with fractions=[0.1,0.3,1]")
    configs = stage_configs(request)
    forbid_shadowed_words(request, tuple(configs))
    warn_of_ignored_words(request, tuple(configs))

    from kd_lightning.checks.experiment import check_experiment
    from kd_lightning.checks.proxies import Plan
    from kd_lightning.reports.terminal import default_console

    plan, console = Plan.of(own) if own else None, default_console()
    diagnosis = check_experiment(configs, begin, console)
    if diagnosis.is_wrong:
        raise SystemExit(1)
    if plan is not None:
        from kd_lightning.checks.payoff import predict_payoff

        predict_payoff(request, configs, diagnosis.costs, plan, console)


def main() -> None:
    """The command line: the words of a pipeline, and those of this command."""
    words = sys.argv[1:]
    ours = [word for word in words if word.partition("=")[0] in OWN]
    sys.argv[1:] = [word for word in words if word not in ours]
    try:
        own = nested(ours)
    except HydraException as error:
        fail(error)

    @functools.wraps(doctor)
    def run(request: Request) -> None:
        doctor(request, own)

    experiment_command(run)()


if __name__ == "__main__":
    main()
