"""Each recipe of conf/transfer takes a training step on the networks that its paths are written for."""

from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from tasks import KEYWORD_RECIPES

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.distillers.keyword import KeywordDistiller
from kd_lightning.experiment.build import learns_from_teacher
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.finished import build_model
from kd_lightning.experiment.targets import build

CLASSES = ["yes", "no", "stop"]


def distill_config(*words: str) -> dict[str, Any]:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=list(words)), words), "distill")


@pytest.mark.parametrize("recipe", KEYWORD_RECIPES)
def test_every_recipe_takes_a_step(recipe: str, batch: KeywordBatch) -> None:
    config = distill_config(f"transfer={recipe}")
    torch.manual_seed(0)
    distiller: KeywordDistiller = build(
        config["distiller"]
        | {key: config["distiller"][key] | config["transfer"][key] for key in ("terms", "weights")},
        classes=CLASSES,
        student=build_model(config["student"], len(CLASSES)),
        teacher=build_model(config["teacher"], len(CLASSES)) if learns_from_teacher(config) else None,
        optimizer=build(config["optimizer"]),
    )
    distiller.size_terms(batch)
    step = distiller.run_networks(batch)
    loss, means = distiller.weigh({key: term(step) for key, term in distiller.terms.items()})
    loss.backward()
    assert loss.isfinite()
    assert all(mean > 0 for mean in means.values()) or recipe == "logits_confident"
    assert [key for key in means if key != "labels"] or recipe == "none"
    for name, parameter in (*distiller.student.named_parameters(), *distiller.terms.named_parameters()):
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_function_matching_mixes_and_hides_labels_in_distill_alone() -> None:
    words = ["experiment=speech_commands_function_matching"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        request = Request(compose("config", overrides=words), tuple(words))
    stages = {stage: stage_config(request, stage) for stage in ("teacher", "baseline", "distill", "finetune")}
    mixed = {stage: build(config["corpus"]["augment"]).mixup for stage, config in stages.items()}
    assert mixed == {"teacher": 0.0, "baseline": 0.0, "distill": 1.0, "finetune": 0.0}
    assert stages["distill"]["transfer"]["weights"] == {"labels": 0.0, "soft_targets": 1.0}
    assert stages["baseline"]["trainer"]["max_epochs"] == 122
    assert stages["distill"]["corpus"]["views"] == 120
