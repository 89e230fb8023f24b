"""The stages of a pipeline, one after the other."""

import json
from pathlib import Path

import pytest

from kd_lightning.pipeline import pipeline, stage_configs, warn_of_weak_teacher
from kd_lightning.reports.comparison import compare
from kd_lightning.reports.page import write_report
from kd_lightning.stages import run_stage


def test_a_wrong_setting_of_the_last_stage_is_named_before_the_first_one_trains(request_of):
    request = request_of("++stages.finetune.optimizer.lr=fast")
    with pytest.raises(ValueError, match=r"torch\.optim\.AdamW: lr=fast is not float"):
        pipeline(request)
    assert not Path(request.config.paths.runs).exists()


def test_an_assistant_has_a_row_and_the_gap_is_to_the_real_teacher(request_of, teacher_run):
    request = request_of(f"teacher.run={teacher_run}", "assistant=tc_resnet8", "assistant.network.width=0.35")
    for config in stage_configs(request).values():
        run_stage(config)
    folder = Path(request.config.paths.runs) / "quick"
    assert json.loads((folder / "assistant" / "config.json").read_text())["teacher"]["run"] == str(
        teacher_run
    )
    assert (write_report(folder) / "index.html").read_text().count("assistant") > 5
    comparison = compare(folder)
    rows = {row["stage"]: row for row in comparison["rows"]}
    assert list(rows) == ["teacher", "assistant", "baseline", "distill", "finetune"]
    assert rows["teacher"]["params"] > rows["assistant"]["params"] > rows["finetune"]["params"]
    accuracy = json.loads((teacher_run / "metrics.json").read_text())["metrics"]["accuracy"]
    assert rows["teacher"]["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert ("assistant", "baseline") in {
        (found["stage"], found["minus"]) for found in comparison["differences"]
    }


@pytest.mark.parametrize(
    ("validation", "role"),
    [
        ({"teacher": 0.5, "baseline": 0.6}, "teacher"),
        ({"teacher": 0.9, "assistant": 0.6, "baseline": 0.6}, "assistant"),
        ({"teacher": 0.5, "assistant": 0.7, "baseline": 0.6}, None),
        ({"baseline": 0.6}, None),
    ],
)
def test_whoever_teaches_the_student_should_beat_the_baseline(validation, role, caplog):
    warn_of_weak_teacher("validation/accuracy", validation)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (role is not None)
    assert all(line.startswith(f"the {role} (") and "does not beat the baseline" in line for line in said)
