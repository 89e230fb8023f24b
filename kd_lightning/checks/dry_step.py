"""One step that changes no weight: what each term says at the start, and how hard it pulls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from kd_lightning.checks.finding import Finding, ok, warning, wrong
from kd_lightning.distillers.distiller import Distiller

# A term that pulls so many times as hard as another leaves it nothing to say.
DOMINATES = 100.0


class TermStart(NamedTuple):
    """A term at the first step.

    Attributes:
        weight: at progress 0.
        mean: of the term.
        pull: norm of the weighted term's gradient on the student.
        items: or frames behind it, those that are valid.
        taught: whether it learns from a teacher.
    """

    weight: float
    mean: float
    pull: float
    items: float
    taught: bool = True


class DryStep(NamedTuple):
    """A step on the first batch.

    Attributes:
        step: what the networks said, as the terms read it.
        terms: each at the start, by key.
    """

    step: Any
    terms: dict[str, TermStart]

    @property
    def loss(self) -> float:
        """The weighted sum."""
        return sum(term.weight * term.mean for term in self.terms.values())


def dry_step(distiller: Distiller, batch: Any) -> DryStep:
    """Run the networks once in training mode, and each term's gradient for itself."""
    distiller.train()
    step = distiller.run_networks(batch)
    student = [parameter for parameter in distiller.student.parameters() if parameter.requires_grad]
    terms = {}
    for key, term in distiller.terms.items():
        summed = term(distiller.part(step, term))  # type: ignore[arg-type]
        weight, mean = float(distiller.weights[key](0.0)), summed.sum / summed.count.clamp(min=1.0)
        pull = 0.0
        if mean.requires_grad and student:
            gradients = torch.autograd.grad(weight * mean, student, retain_graph=True, allow_unused=True)
            pull = float(torch.nn.utils.get_total_norm([each for each in gradients if each is not None]))
        terms[key] = TermStart(
            weight, float(mean.detach()), pull, float(summed.count), bool(term.needs_teacher)
        )
    return DryStep(step, terms)


def of_terms(
    terms: dict[str, TermStart], clip: float | None = None, untaught: bool = False
) -> Iterator[Finding]:
    """What the terms say of themselves.

    Args:
        terms: by key.
        clip: ``trainer.gradient_clip_val``.
        untaught: whether the teacher has learnt nothing, so that nobody trusts what it says.
    """
    parts = [f"{key} {one.weight:g} x {one.mean:.3g}" for key, one in terms.items()]
    loss = sum(one.weight * one.mean for one in terms.values())
    finite = all(torch.isfinite(torch.tensor([one.mean, one.pull])).all() for one in terms.values())
    said = f"{loss:.3g} = {' + '.join(parts)}"
    if not finite:
        yield wrong("loss", f"{said} is not finite at step 0: lower the weight of the term that is not")
        return
    yield ok("loss", said)
    pulls = {key: one.pull for key, one in terms.items() if one.weight and one.items}
    clipped = f", clipped at {clip:g} all together" if clip else ""
    yield ok("gradient", ", ".join(f"{key} {pull:.2g}" for key, pull in pulls.items()) + clipped)
    empty = {key: one.taught for key, one in terms.items() if not one.items}
    if seen := [key for key, taught in empty.items() if not taught]:
        yield ok("terms", f"{', '.join(seen)} met nothing labelled in the first batch")
    if lost := [key for key, taught in empty.items() if taught]:
        yield (ok if untaught else warning)(
            "terms", f"{', '.join(lost)} found nothing of the teacher's to learn in the first batch"
        )
    if len(pulls) > 1 and not untaught:
        yield from _dominated(pulls)


def _dominated(pulls: dict[str, float]) -> Iterator[Finding]:
    """Whether the strongest term leaves the weakest nothing to say."""
    (strong, most), (weak, least) = max(pulls.items(), key=_pull), min(pulls.items(), key=_pull)
    if not least:
        yield warning("terms", f"the gradient of {weak} is 0 at the start, so {strong} is heard alone")
    elif most > DOMINATES * least:
        yield warning(
            "terms",
            f"{strong} pulls {most / least:.0f} times as hard as {weak}, which will not be heard: lower "
            f"transfer.weights.{strong}, or raise {weak}'s",
        )


def _pull(item: tuple[str, float]) -> float:
    return item[1]
