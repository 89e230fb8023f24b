"""Listening to long audio from the command line."""

import json
from pathlib import Path

import pytest

from kd_lightning.evaluate import evaluate


def test_a_finished_run_listens_and_listens_alike_again(
    teacher_run: Path, capsys: pytest.CaptureFixture[str]
):
    results = []
    for _ in range(2):
        evaluate({"run": str(teacher_run), "streaming": True, "minutes": 2, "snr": 20})
        results.append(json.loads((teacher_run / "streaming.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["audio"]["words"] == 48
    assert [one["keyword"] for one in results[0]["keywords"]] == ["no", "stop", "tree", "yes"]
    assert {one["events"] for one in results[0]["keywords"]} == {12}
    assert results[0]["operating_points"][0]["false_alarms_per_hour"] is None
    assert results[0]["operating_points"][2]["false_alarms_per_hour"] >= 0
    assert (teacher_run / "det.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr().out
    assert "2 % missed needs 50 events of a keyword" in said
    assert "48 words" in said


def test_the_seed_of_the_audio_is_not_that_of_the_run(teacher_run: Path):
    evaluate({"run": str(teacher_run), "streaming": True, "minutes": 0.5, "seed": 5, "keywords": ["yes"]})
    found = json.loads((teacher_run / "streaming.json").read_text())
    assert found["audio"]["seed"] == 5
    assert found["events"] == 6  # the other half are other words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"keywords": ["yess"]}, "'yess' is no word that this network knows; did you mean yes"),
        ({"keywords": ["yes", "yes"]}, "one twice"),
        ({"keywords": []}, "names none"),
        ({"minutes": 0}, "minutes=0"),
        ({"minutes": -3}, "minutes=-3"),
        ({"minutes": "long"}, "minutes=long is not a number"),
        ({"snr": ["loud"]}, "snr=loud is not a number"),
        ({"hop": 0}, "hop=0"),
        ({"hop": 2}, "hop of 32000 samples"),
        ({"refractory": -1}, "refractory=-1"),
        ({"streaming": "maybe"}, "streaming=maybe is neither true nor false"),
        ({"streaming": False, "recogniser": "a"}, "recogniser= reads back what a run says"),
    ],
)
def test_what_cannot_be_listened_to_is_one_message(teacher_run: Path, words: dict, said: str):
    with pytest.raises(ValueError, match=said):
        evaluate({"run": str(teacher_run), "streaming": True, "minutes": 0.5} | words)
