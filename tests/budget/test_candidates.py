"""What is enumerated fits, and fills the budget; nothing is trained for it."""

import pytest
import torch
from tasks import KEYWORD_STUDENTS, RECOGNITION_STUDENTS, SYNTHESIS_STUDENTS, VOCODING_STUDENTS, names

from kd_lightning.budget.candidates import Enumeration, fits
from kd_lightning.budget.limits import Cost
from kd_lightning.experiment.compose import conf_folder, stage_config
from kd_lightning.experiment.students import (
    recomposed,
    search_settings,
    student_names,
    task_of_network,
    typed_student,
)
from kd_lightning.stages import run_stage

SIZES = {"tc_resnet8_tiny": {"width": 0.01, "depth": [8, 14]}, "bc_resnet1": {"tau": 0.125}}
FEW = ["bc_resnet1", "bc_resnet2", "quartznet_small", "tc_resnet8", "tc_resnet8_tiny", "whisper"]
TINY = ["tc_resnet8_tiny"]


def enumerated(request, budget, students=FEW, sizes=SIZES, timed=None):
    enumeration = Enumeration(request, students, budget, sizes, timed or {})
    return enumeration, {candidate.name: candidate for candidate in enumeration.run()}


@pytest.fixture(scope="module")
def few(typed):
    return enumerated(typed(), {"size_kb": 100, "macs": 5e6})


def test_of_each_ladder_there_is_the_last_that_fits_and_the_next(few):
    _, candidates = few
    for depth in (8, 14):
        rungs = [
            each for each in candidates.values() if "-x" in each.name and each.network.get("depth") == depth
        ]
        inside, outside = sorted(rungs, key=lambda each: each.cost.params)
        assert fits(inside)
        assert inside.cost.size_kb <= 100 < outside.cost.size_kb
        assert outside.reasons == [f"size_kb {outside.cost.size_kb:.1f} > 100.0"]
        # A step of a ladder is an eighth of an octave in width, a quarter in weights.
        assert outside.cost.params < 1.3 * inside.cost.params


def test_a_student_costs_what_its_stage_will_say(typed):
    request = typed("student.network.width=0.25", "stages.baseline.trainer.max_epochs=1")
    _, candidates = enumerated(request, {"size_kb": 1000}, TINY, {})
    metrics = run_stage(stage_config(request, "baseline"))
    cost = candidates["tc_resnet8_tiny"].cost
    assert cost == Cost(metrics["size_bytes"] / 1000, metrics["params"], metrics["macs"])


def test_what_is_left_out_says_why(few):
    enumeration, candidates = few
    assert candidates["tc_resnet8_tiny"].reasons[0].startswith("narrower than tc_resnet8_tiny-x1.")
    assert candidates["bc_resnet2"].reasons[0].startswith("size_kb")
    # QuartzNet and Whisper recognise sentences.
    assert "quartznet_small" not in candidates
    assert enumeration.others == 2


@pytest.mark.parametrize(
    ("word", "student", "said"),
    [
        ("student.network.width=0.25", "gru", "Could not override 'student.network.width'"),
        (
            "frontend.hop_seconds=0.02",
            "kwt1",
            "does not build: KWT has positions for 101 frames and was given 51",
        ),
    ],
)
def test_a_student_that_cannot_be_is_left_out_in_all_sizes(typed, word, student, said):
    _, candidates = enumerated(typed(word), {"params": 1e9}, [student], {student: {"dropout": 0.1}})
    (candidate,) = candidates.values()
    assert not fits(candidate)
    assert candidate.cost is None
    assert candidate.reasons[0].startswith(said)


def test_networks_that_differ_in_more_than_width_do_not_replace_each_other(few):
    _, candidates = few
    depths = [each.network["depth"] for each in candidates.values() if fits(each) and "depth" in each.network]
    assert sorted(depths) == [8, 14]


def test_nothing_is_trained_nor_drawn_for_it(typed, tmp_path):
    before = torch.random.get_rng_state()
    enumerated(typed(runs=tmp_path / "runs"), {"params": 9000}, TINY, {})
    assert torch.equal(before, torch.random.get_rng_state())
    assert not (tmp_path / "runs").exists()


def test_a_clock_is_read_once(typed):
    _, candidates = enumerated(typed(), {"latency_ms": 1e6}, TINY, {})
    (found,) = candidates.values()
    assert found.cost.latency_ms > 0
    assert found.cost.real_time_factor == pytest.approx(found.cost.latency_ms / 1000)  # clips of a second
    before = found.cost._replace(latency_ms=123.0)
    _, again = enumerated(typed(), {"latency_ms": 100}, TINY, {}, {found.name: (found.network, before)})
    assert again[found.name].reasons == ["latency_ms 123 > 100"]
    _, other = enumerated(typed(), {"latency_ms": 1e6}, TINY, {}, {found.name: ({"width": 2}, before)})
    assert other[found.name].cost.latency_ms != 123.0


def test_sizes_of_nobody_are_refused():
    with pytest.raises(ValueError, match="ladders: conf/student has no tc_resnet9"):
        search_settings("keyword", {"ladders": {"tc_resnet9": {"width": 0.1}}})


def test_students_are_those_of_conf_or_the_one_that_is_typed(typed):
    assert student_names() == names("student")
    assert typed_student(typed()) is None
    assert typed_student(typed("student=tc_resnet8")) == "tc_resnet8"


def test_another_student_keeps_all_other_words(typed):
    request = recomposed(typed("seed=3", "student=tc_resnet8"), "gru", ("student.network.hidden=8",))
    config = stage_config(request, "baseline")
    assert (config["seed"], config["corpus"]["batch_size"]) == (3, 16)
    assert config["student"]["network"]["cell"] == "gru"
    assert config["student"]["network"]["hidden"] == 8


@pytest.mark.parametrize(
    ("task", "students"),
    [
        ("keyword", KEYWORD_STUDENTS),
        ("recognition", RECOGNITION_STUDENTS),
        ("synthesis", SYNTHESIS_STUDENTS),
        ("vocoding", VOCODING_STUDENTS),
    ],
)
def test_every_task_has_sizes_of_its_own_students(task, students):
    import yaml

    sizes = search_settings(task, {})["ladders"]
    assert sizes.keys() <= set(students)
    for name, own in sizes.items():
        network = yaml.safe_load((conf_folder() / "student" / f"{name}.yaml").read_text())["network"]
        assert own.keys() <= network.keys()
        assert task_of_network(network["_target_"]) == task


def test_words_change_the_settings_and_keep_the_rest():
    settings = search_settings("keyword", {"proxy": 0.5, "ladders": {"gru": {"hidden": 4}}})
    assert settings["proxy"] == 0.5
    assert settings["ladders"]["gru"] == {"hidden": 4}
    assert settings["ladders"]["bc_resnet1"] == {"tau": 0.125}
