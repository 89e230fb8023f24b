"""All students of a task, in sizes up to where the budget ends, with what they cost. Nothing is trained."""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import save

from kd_lightning.budget.ladder import Rung, grains, ladders
from kd_lightning.budget.limits import TIMED, Budget, Cost, exceeded, is_smaller
from kd_lightning.experiment.build import build_corpus
from kd_lightning.experiment.command import WRONG_INPUT
from kd_lightning.experiment.compose import Request, stage_config
from kd_lightning.experiment.students import recomposed, task_of_network, untrained
from kd_lightning.metrics import efficiency


@dataclass
class Candidate:
    """One student in one size.

    Attributes:
        name: such as ``tc_resnet8-x0.71-depth14``.
        student: of ``conf/student``.
        words: what makes it this size, for the command line.
        network: the config of its network.
        cost: ``None`` if it does not build.
        reasons: why it is not tried; empty if it is.
        scores: of its short runs on validation, by epochs.
        steps: of its short runs, by epochs.
        rank: 1 is the best; ``None`` where it was not tried.
    """

    name: str
    student: str
    words: tuple[str, ...]
    network: dict[str, Any]
    cost: Cost | None = None
    reasons: list[str] = field(default_factory=list)
    scores: dict[int, float] = field(default_factory=dict)
    steps: dict[int, int] = field(default_factory=dict)
    rank: int | None = None


class Enumeration:
    """Measures the students of an experiment: all as they are; of those with sizes, the largest that fit and the next.

    Args:
        request: what the command line asked for.
        students: their names in ``conf/student``.
        budget: what they may cost.
        sizes: by student, the arguments that make it wider or deeper.
        timed: what was measured with a clock before, by candidate: a second look would not find the same.

    Attributes:
        candidates: those that were measured, or could not be.
        others: number of students of other tasks.
    """

    def __init__(
        self,
        request: Request,
        students: Sequence[str],
        budget: Budget,
        sizes: dict[str, Any],
        timed: dict[str, tuple[dict[str, Any], Cost]],
    ) -> None:
        self.request, self.students = request, students
        self.budget, self.sizes, self.timed = budget, sizes, timed
        self.candidates: list[Candidate] = []
        self.others = 0
        self._known: dict[str, Candidate] = {}
        self._corpora: dict[str, Any] = {}

    def run(self) -> list[Candidate]:
        """Measure them.

        Raises:
            ValueError: sizes name what a student's network has not.
        """
        configs = self._configs()
        for name, config in configs.items():
            self._keep(self._measured(config, name, Rung(name, {})))
        scaled: dict[str, set[str]] = {}  # what makes a network wider, by its class
        for name in [candidate.name for candidate in self.candidates if candidate.cost is not None]:
            network, sizes = configs[name]["student"]["network"], self.sizes.get(name, {})
            scaled.setdefault(network["_target_"], set()).update(grains(sizes))
            for ladder in ladders(name, network, sizes) if sizes else []:
                self._climb(configs[name], name, ladder)
        self._leave_out_narrower(scaled)
        return self.candidates

    def _configs(self) -> dict[str, dict[str, Any]]:
        """The config of a stage without a teacher for each student of the task."""
        configs = {}
        for name in self.students:
            try:
                config = stage_config(recomposed(self.request, name), "baseline")
                if task_of_network(config["student"]["network"].get("_target_")) != config["task"]:
                    self.others += 1
                else:
                    configs[name] = config
            except WRONG_INPUT as error:
                self.candidates.append(Candidate(name, name, (), {}, reasons=[_first_line(error)]))
        return configs

    def _climb(self, config: dict[str, Any], student: str, ladder: list[Rung]) -> None:
        """Keep the last rung of a ladder that fits, and the one after it.

        Costs grow along a ladder; at its narrow end there may be no channels left to build with.
        """

        def is_over(rung: Rung) -> bool:
            candidate = self._measured(config, student, rung)
            return candidate.cost is not None and bool(candidate.reasons)

        over = bisect.bisect_left(ladder, True, key=is_over)
        for rung in ladder[max(0, over - 1) : over + 1]:
            candidate = self._measured(config, student, rung)
            if candidate.cost is not None:
                self._keep(candidate)

    def _keep(self, candidate: Candidate) -> None:
        if all(candidate is not known for known in self.candidates):
            self.candidates.append(candidate)

    def _measured(self, config: dict[str, Any], student: str, rung: Rung) -> Candidate:
        """A student of this size, measured once."""
        network = config["student"]["network"] | rung.arguments
        key = json.dumps({name: _as_float(value) for name, value in network.items()}, sort_keys=True)
        if key in self._known:
            return self._known[key]
        words = tuple(f"student.network.{key}={value}" for key, value in rung.arguments.items())
        found = self._known[key] = Candidate(rung.name, student, words, network)
        try:
            found.cost = self._cost(config | {"student": config["student"] | {"network": network}}, found)
        except (*WRONG_INPUT, RuntimeError, TypeError) as error:
            found.reasons = [f"does not build: {_first_line(error)}"]
        else:
            found.reasons = exceeded(found.cost, self.budget)
        return found

    def _cost(self, config: dict[str, Any], candidate: Candidate) -> Cost:
        model, example, seconds = untrained(config, self._corpus(config))
        macs = efficiency.macs(model, *example)
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        cost = Cost(
            size_kb=len(save(weights)) / 1000,
            params=efficiency.parameters(model),
            macs=macs if config["task"] == "keyword" else macs / seconds,
        )
        if exceeded(cost, self.budget) or not self.budget.keys() & set(TIMED):
            return cost
        network, before = self.timed.get(candidate.name, ({}, cost))
        if network == candidate.network and before.latency_ms is not None:
            return cost._replace(latency_ms=before.latency_ms, real_time_factor=before.real_time_factor)
        model.eval()
        p50 = efficiency.latency(lambda: model(*example), seconds=5.0).p50
        return cost._replace(latency_ms=p50, real_time_factor=efficiency.real_time_factor(p50, seconds))

    def _corpus(self, config: dict[str, Any]) -> Any:
        """The corpus, which nearly all students share."""
        key = str(config["corpus"])
        if key not in self._corpora:
            self._corpora[key] = build_corpus(config)
        return self._corpora[key]

    def _leave_out_narrower(self, scaled: dict[str, set[str]]) -> None:
        """Of networks that differ in their width alone, those stay that use what the budget allows."""

        def family(candidate: Candidate) -> dict[str, Any]:
            wide = scaled.get(candidate.network["_target_"], set())
            return {key: value for key, value in candidate.network.items() if key not in wide}

        fitting = [(each, each.cost) for each in self.candidates if each.cost and not each.reasons]
        for candidate, cost in fitting:
            wider = [
                other
                for other, its in fitting
                if is_smaller(cost, its) and family(candidate) == family(other)
            ]
            if wider:
                candidate.reasons = [f"narrower than {wider[-1].name}, which fits too"]


def fits(candidate: Candidate) -> bool:
    """Whether a candidate is to be tried."""
    return candidate.cost is not None and not candidate.reasons


def _as_float(value: Any) -> Any:
    """A whole number as any other, because a config writes 1 and 1.0."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
