"""Each recipe of conf/transfer for recognisers builds, fits a step, and teaches the student."""

from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from recognition_steps import FRAMES, HYPOTHESES, STUDENT, TEACHER, random, step

from kd_lightning.distillers.recognition_terms import RecognitionTerm
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.targets import build

RECIPES = sorted(
    path.stem
    for path in (conf_folder() / "transfer").glob("*.yaml")
    if path.stem.startswith(("ctc_", "sequence", "attention_"))
)


def recipe(name: str) -> dict[str, Any]:
    words = (f"transfer={name}",)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=list(words)), words), "distill")["transfer"]


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_teaches_the_student(name: str) -> None:
    config = recipe(name)
    terms: dict[str, RecognitionTerm] = build(config["terms"])
    assert set(terms) == set(build(config["weights"]))
    # Leaves that a term's gradient must reach.
    outputs = (
        STUDENT.logits,
        STUDENT.intermediate[0],
        STUDENT.token_logits,
        STUDENT.attention,
        random(4, 3, FRAMES),
    )
    logits, lower, tokens, attention, hidden = (given.clone().requires_grad_() for given in outputs)
    said = STUDENT._replace(
        logits=logits, intermediate=(lower,), token_logits=tokens, attention=attention.softmax(dim=-1)
    )
    taps = [
        {path: layer for term in terms.values() for path in getattr(term, side)}
        for side, layer in (("student_paths", hidden), ("teacher_paths", random(4, 7, 2 * FRAMES)))
    ]
    one = step(said, TEACHER, HYPOTHESES)._replace(student_taps=taps[0], teacher_taps=taps[1])
    reached = {
        "frames": logits, "guide": logits, "lower_frames": lower, "soft_tokens": tokens, "attention": attention,
        "hint": hidden, "hypotheses": tokens if name.startswith("attention") else logits,
    }  # fmt: skip
    torch.manual_seed(0)
    for key, term in terms.items():
        assert term.needs_teacher
        term.size(one)
        summed = term(one)
        (gradient,) = torch.autograd.grad(summed.sum, reached[key])
        assert summed.count > 0
        assert summed.sum > 0
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0


def test_recipes_build_on_one_another() -> None:
    assert set(recipe("sequence_frames")["terms"]) == {"hypotheses", "frames"}
    assert set(recipe("attention_sequence_tokens")["weights"]) == {"hypotheses", "soft_tokens"}
    both = [recipe(name)["terms"]["frames"] for name in ("ctc_frames", "ctc_symmetric")]
    assert {key for key in both[0] if both[0][key] != both[1][key]} == {"frames"}
