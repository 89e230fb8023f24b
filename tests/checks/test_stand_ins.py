"""Runs in the place of those that are not trained yet."""

from pathlib import Path

from kd_lightning.checks.stage import check_stage
from kd_lightning.checks.stand_ins import StandIns
from kd_lightning.checks.stored import store_to_write
from kd_lightning.distillers.terms import Step
from kd_lightning.experiment.build import build_corpus
from kd_lightning.pipeline import stage_configs


def test_what_builds_on_a_stage_that_is_wrong_is_not_checked(request_of, tmp_path):
    configs = stage_configs(request_of("corpus.labelled_fraction=0"))
    stand_ins = StandIns(tmp_path)
    said = {stage: check_stage(config, stand_ins).findings[-1].says for stage, config in configs.items()}
    assert "is not in (0, 1]" in said["distill"]
    assert said["finetune"] == "not checked: it builds on distill, where something is wrong"


def test_a_run_that_is_there_is_left_alone(request_of, teacher_run, tmp_path):
    config = stage_configs(request_of(f"teacher.run={teacher_run}"))["distill"]
    stand_ins = StandIns(tmp_path)
    assert not stand_ins.teach(config)
    assert stand_ins.put_into(config) == config


def test_a_student_starts_from_the_run_that_stands_in(request_of, tmp_path):
    configs = stage_configs(request_of())
    stand_ins = StandIns(tmp_path)
    for stage in ("teacher", "distill"):
        assert not check_stage(configs[stage], stand_ins).is_wrong
    started = stand_ins.put_into(configs["finetune"])
    assert Path(started["student"]["run"]) == tmp_path / "distill"
    assert stand_ins.teach(configs["distill"])


def test_a_store_has_a_number_for_each_class_of_each_cut_in_each_view(config_of, teacher_run):
    import torch

    from kd_lightning.models.waveform_model import KeywordOutput

    words = (f"teacher.run={teacher_run}", "teacher.stored=true", "labels.views=3")
    config = config_of("distill", *words)
    said = KeywordOutput(torch.zeros(16, 4))
    step = Step(torch.zeros(16), said, said, {}, {})
    store = store_to_write(config, build_corpus(config), step, 16)
    assert store is not None
    assert store == (96 * 3, 96 * 3 * 4 * 2)
    assert store_to_write(config_of("distill", words[0]), None, step, 16) is None
