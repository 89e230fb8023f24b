"""The best student within a budget: ``python -m kd_lightning.search budget='{size_kb: 100, macs: 5e6}'``."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import experiment_command, nested
from kd_lightning.experiment.compose import (
    Request,
    forbid_shadowed_words,
    stage_config,
    warn_of_ignored_words,
)
from kd_lightning.pipeline import pipeline, stage_configs

if TYPE_CHECKING:
    from kd_lightning.budget.candidates import Candidate
    from kd_lightning.budget.limits import Cost
    from kd_lightning.budget.tables import Found

USAGE = """usage: python -m kd_lightning.search budget='{size_kb: 100, macs: 5e6}' [any words of the pipeline]

  budget='{…}'        what the student may cost at most: size_kb (float32 weights), params, macs (of a clip; of a second
                      of audio for other tasks than keyword spotting), latency_ms, real_time_factor (one thread, here)
  proxy=0.5           the last of the short runs that rank the students, as a share of distill's epochs
  train=false         the table of what fits, and no training
  student=tc_resnet8  this student alone, in all its sizes
  ladders.<student>=  sizes to try: '{width: 0.05, depth: [8, 14]}', as in conf/search/<task>.yaml
Tries the students of conf/student, untrained, in sizes that fill the budget; ranks those that fit by short runs of
distill; then runs the pipeline for the best. Writes runs/<name>/search/candidates.{json,md} and runs/<name>/<stage>."""

# Words of this command, which no stage looks at.
OWN = ("budget", "proxy", "train", "ladders")
BUILT_BY_STUDENT = ("baseline", "distill", "finetune")


def search(request: Request, words: dict[str, Any]) -> None:
    """List what fits, rank it by short runs, and run the pipeline for the best.

    Args:
        request: what the command line asked for.
        words: those of this command.

    Raises:
        ValueError: nothing fits; names who comes nearest to each limit.
    """
    if request.job_folder is not None:
        raise ValueError("the search names its own folders: loop over budgets with name= instead of -m")

    from kd_lightning.budget.limits import nearest, read_budget

    budget = read_budget(words.get("budget"))
    forbid_shadowed_words(request, BUILT_BY_STUDENT)
    warn_of_ignored_words(request, ("teacher", *BUILT_BY_STUDENT))
    config = stage_config(request, "baseline")

    from kd_lightning.budget.candidates import Enumeration, fits
    from kd_lightning.budget.tables import Found
    from kd_lightning.experiment.students import search_settings, student_names, typed_student

    settings = search_settings(config["task"], words)
    share = settings["proxy"]
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
        raise ValueError(f"proxy={share}: the share of distill's epochs, above 0 and at most 1")
    if not isinstance(settings["train"], bool):
        raise ValueError(f"train={settings['train']}: true, or false for the table alone")
    folder = Path(config["folder"]).parent / "search"
    typed = typed_student(request)
    students = student_names() if typed is None else [typed]
    enumeration = Enumeration(request, students, budget, settings["ladders"], timed_before(folder))
    candidates = enumeration.run()
    found = Found(config["name"], config["task"], config["monitor"], budget, candidates, enumeration.others)
    show(found, folder)
    fitting = [candidate for candidate in candidates if fits(candidate)]
    if not fitting:
        measured = [(each.name, each.cost) for each in candidates if each.cost]
        raise ValueError("\n  ".join(["no student fits the budget", *nearest(measured, budget)]))
    if not settings["train"]:
        return
    refuse_other_students(folder.parent, fitting)
    best = ranked(request, fitting, folder, share)[0]
    show(found, folder)
    pipeline(request_of(request, best))


def ranked(request: Request, fitting: list[Candidate], folder: Path, share: float) -> list[Candidate]:
    """Train who teaches, then the students for a short while.

    Args:
        request: what the command line asked for.
        fitting: students to rank.
        folder: ``runs/<name>/search``.
        share: of distill's epochs.

    Returns:
        the students, best first.
    """
    from kd_lightning.budget.proxies import rank_by_proxies

    if len(fitting) == 1:
        fitting[0].rank = 1
        return fitting
    configs = stage_configs(request_of(request, fitting[0]))
    teach(configs)
    epochs = configs["distill"]["trainer"]["max_epochs"]
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(
            f"stages.distill.trainer.max_epochs={epochs}: short runs are a share of it, so say how many epochs"
        )

    def distill(candidate: Candidate) -> dict[str, Any]:
        config = stage_configs(request_of(request, candidate))["distill"]
        if config["teacher"]["stored"] is True:
            config["teacher"]["stored"] = str(folder.parent.absolute() / "label")
        return config

    return rank_by_proxies(fitting, distill, folder / "proxies", max(1, round(share * epochs)))


def teach(configs: dict[str, dict[str, Any]]) -> None:
    """Train the teacher and the assistant, unless there are, and store what they say, if that is asked for."""
    from kd_lightning.labelling import run_label
    from kd_lightning.stages import run_stage

    for stage, config in configs.items():
        if stage not in BUILT_BY_STUDENT:
            run_stage(config)
    distill = configs["distill"]
    if distill["teacher"]["stored"] is True:
        run_label(distill, Path(distill["folder"]).parent / "label")


def request_of(request: Request, candidate: Candidate) -> Request:
    """The same request for a candidate."""
    from kd_lightning.experiment.students import recomposed

    return recomposed(request, candidate.student, candidate.words)


def refuse_other_students(folder: Path, fitting: list[Candidate]) -> None:
    """Find out before the training that the pipeline's folder holds a student that was not searched for.

    Raises:
        FileExistsError: with the way out.
    """
    for stage in BUILT_BY_STUDENT:
        path = folder / stage / "config.json"
        if path.is_file():
            network = json.loads(path.read_text())["student"]["network"]
            if all(network != candidate.network for candidate in fitting):
                raise FileExistsError(
                    f"{path.parent} holds a student that is none of those that fit: set name=<another name>, and "
                    f"teacher.run={folder / 'teacher'} to take its teacher"
                )


def timed_before(folder: Path) -> dict[str, tuple[dict[str, Any], Cost]]:
    """Networks and costs that an earlier start of this search wrote, by candidate."""
    from kd_lightning.budget.limits import Cost

    path = folder / "candidates.json"
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text())["candidates"]
    return {row["name"]: (row["network"], Cost(**row["cost"])) for row in rows if row["cost"]}


def show(found: Found, folder: Path) -> None:
    """Print and write what was found so far."""
    from kd_lightning.budget.tables import print_found, write_found
    from kd_lightning.stages import rank

    if rank() == 0:
        write_found(found, folder)
        print_found(found)


def main() -> None:
    """The command line: its own words are taken out before Hydra composes the others."""
    if {"--help", "-h"} & set(sys.argv[1:]):
        print(USAGE)
        return
    own = list(_own(sys.argv[1:]))
    sys.argv[1:] = [word for word in sys.argv[1:] if word not in own]

    @functools.wraps(search)
    def searched(request: Request) -> None:
        search(request, nested(own))

    experiment_command(searched)()


def _own(words: list[str]) -> Iterator[str]:
    for word in words:
        key = word.partition("=")[0].partition(".")[0]
        if key.lstrip("+") in OWN and "=" in word:
            yield word


if __name__ == "__main__":
    main()
