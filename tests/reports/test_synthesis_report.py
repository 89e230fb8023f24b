"""What the report says of networks that read text aloud: numbers as measured, in decibels, and their sound."""

import io
import json
from base64 import b64decode
from shutil import rmtree

import numpy as np
import pytest
import soundfile as sf
from rich.console import Console
from speech_folders import RATE, diagonal, said, spectrogram, write_pipeline, write_speaker, write_speech
from test_page import HOSTILE, parsed, printed, strict

from kd_lightning.metrics.intervals import interval
from kd_lightning.reports import audio
from kd_lightning.reports.comparison import compare, read_stages
from kd_lightning.reports.formats import DECIBELS, UNKNOWN
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.listening import listen
from kd_lightning.reports.page import write_report
from kd_lightning.reports.plots import metric_against_size, shares_below
from kd_lightning.reports.settings import compare_settings
from kd_lightning.reports.spectrograms import beside_recording, read_spectrograms
from kd_lightning.reports.tables import differences
from kd_lightning.reports.terminal import print_sweep
from kd_lightning.reports.theme import LIGHT, themed


def measured(stage: str, key: str = "mcd", **how: int) -> np.ndarray:
    return np.array([row["metrics"][key] for row in said(stage, **how)])


def rows_of(comparison: dict) -> dict[str, dict]:
    return {row["stage"]: row for row in comparison["rows"]}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(write_pipeline(tmp_path_factory.mktemp("runs") / "my_run"))


@pytest.fixture(scope="module")
def comparison(report):
    return strict((report / "comparison.json").read_text())


def test_means_and_their_intervals_are_those_of_the_predictions(comparison):
    assert (comparison["task"], comparison["metric"]) == ("synthesis", "mcd")
    for stage, row in rows_of(comparison).items():
        for key in ("mcd", "f0_rmse", "round_trip_cer"):
            values = measured(stage, key)
            assert row["metrics"][key] == pytest.approx(values.mean())
            # One voice: utterances are resampled.
            bounds = interval(values, [str(place) for place in range(len(values))])
            assert row["intervals"][key] == pytest.approx(list(bounds))
        assert "agreement" not in row["metrics"]


def test_five_speakers_are_resampled_and_four_are_not(tmp_path):
    bounds = {}
    for speakers in (4, 5):
        rows = said("teacher", cuts=40, speakers=speakers)
        for row in rows:  # all utterances of a speaker alike
            row["metrics"] = {"mcd": 5.0 + int(row["speaker"][-2:])}
        write_speaker(tmp_path / str(speakers) / "teacher", "teacher", rows=rows)
        found = compare(tmp_path / str(speakers))
        bounds[speakers] = found["rows"][0]["intervals"]["mcd"]
        over = "speakers" if speakers == 5 else "utterances"
        assert f"bootstrapped over {over}." in task_of("synthesis").quality(found).caption
        assert any("of 4 speakers" in note for note in found["notes"]) == (speakers == 4)
    values = np.repeat(np.arange(5.0), 8) + 5
    assert bounds[5] == pytest.approx(list(interval(values, [str(value) for value in values])))
    assert bounds[4][1] - bounds[4][0] < (bounds[5][1] - bounds[5][0]) / 2


def test_differences_are_paired_and_the_share_of_the_gap_is_that_of_the_means(comparison):
    means = {stage: measured(stage).mean() for stage in ("teacher", "baseline", "finetune")}
    (gained,) = [
        found
        for found in comparison["differences"]
        if (found["stage"], found["minus"]) == ("finetune", "baseline")
    ]
    pairs = measured("finetune") - measured("baseline")
    assert gained["value"] == pytest.approx(pairs.mean())
    assert gained["interval"] == pytest.approx(list(interval(pairs, [str(n) for n in range(len(pairs))])))
    assert gained["excludes_zero"]
    share = (means["baseline"] - means["finetune"]) / (means["baseline"] - means["teacher"])
    assert comparison["gap_recovered"] == pytest.approx(share)
    low, high = comparison["gap_recovered_interval"]
    assert low < share < high


def test_a_teacher_that_is_worse_than_the_baseline_has_no_gap(tmp_path):
    for stage, like in (("teacher", "baseline"), ("baseline", "teacher"), ("finetune", "finetune")):
        rows = said(like)
        for row in rows:
            row["metrics"] = {"mcd": row["metrics"]["mcd"]}
        write_speaker(tmp_path / stage, stage, rows=rows)
    found = compare(tmp_path)
    assert found["gap_recovered"] is None
    assert any("does not lie below zero" in note for note in found["notes"])


def test_utterances_that_were_not_measured_do_not_count(tmp_path):
    baseline, student = said("baseline"), said("finetune")
    for row in baseline[:5]:
        del row["metrics"]["mcd"], row["metrics"]["f0_rmse"]
    for row in student[5:9]:
        row["metrics"]["mcd"] = None
    write_speaker(tmp_path / "baseline", "baseline", rows=baseline)
    for row in student:
        row["metrics"] = {key: value for key, value in row["metrics"].items() if value is not None}
    write_speaker(tmp_path / "finetune", "finetune", rows=student)
    found = compare(tmp_path)
    assert rows_of(found)["baseline"]["metrics"]["f0_rmse"] == pytest.approx(
        measured("baseline", "f0_rmse")[5:].mean()
    )
    assert found["differences"][0]["value"] == pytest.approx(
        (measured("finetune") - measured("baseline"))[9:].mean()
    )
    assert {one["cut"] for one in found["worst"]}.isdisjoint(row["cut"] for row in student[5:9])


def test_a_run_that_was_never_measured_is_said_and_shown_without_numbers(tmp_path):
    folder = write_pipeline(tmp_path / "my_run", heard=0)
    rows = [row | {"metrics": {}} for row in said("baseline")]
    write_speaker(folder / "baseline", "baseline", rows=rows, results={"metrics": {"loss": 1.0}}, heard=0)
    found = compare(folder)
    assert any("baseline: predictions.jsonl says no MCD" in note for note in found["notes"])
    assert "mcd" not in rows_of(found)["baseline"]["metrics"]
    assert found["gap_recovered"] is None
    assert task_of("synthesis").quality(found).rows[1][2:] == [UNKNOWN, UNKNOWN]
    assert [row[1:] for row in differences(found).rows if "baseline" in row[0]] == [[UNKNOWN, "no"]] * 3


def test_decibels_are_no_per_cent_in_any_form(report, comparison):
    row = rows_of(comparison)["finetune"]
    low, high = row["intervals"]["mcd"]
    forms = (
        (report / "index.html").read_text(),
        (report / "comparison.md").read_text().replace("\\[", "[").replace("\\]", "]").replace("\\%", "%"),
        printed(comparison),
    )
    for text in forms:
        assert f"{row['metrics']['mcd']:.2f} [{low:.2f}, {high:.2f}]" in text
        assert "dB of MCD (negative is better)" in text
        assert "6.03 [5.87, 6.19]" in text  # of the export
        assert "90 M" in text  # multiply-accumulates per second of speech
        assert "points" not in text
        assert (
            "teacher: of 40 sentences it leaves something out in 3, goes back in 2, finds no end in 0."
            in text
        )
    assert "MCD dB [95 %]" in forms[0]
    assert "round-trip CER % [95 %]" in forms[0]
    assert max(map(len, forms[2].splitlines())) <= 100
    assert "…" not in forms[2]


def test_every_stage_is_heard_and_seen_beside_the_recording(report):
    page = parsed((report / "index.html").read_text())
    sounds = [link for link in page.links if link.startswith("data:audio/flac;base64,")]
    assert len(sounds) == 2 * 5
    heard, rate = sf.read(io.BytesIO(b64decode(sounds[1].partition(",")[2])))
    assert (rate, heard.shape) == (RATE, (int(0.2 * RATE),))
    names = {path.name for path in report.glob("*.png")}
    assert names == {
        "learning_curves.png", "mcd_size.png", "mcd_utterances.png", *(f"sentence_{n}.png" for n in (1, 2)),
    }  # fmt: skip
    assert page.tags.count("img") == len(names)
    assert page.tags.count("script") == 1


def listening(folder) -> list:
    return listen(read_stages(folder)[0], "mcd", DECIBELS)


def test_each_voice_says_how_far_it_is_and_what_was_understood(report):
    (section,) = listening(report.parent)
    first, row = section.heard[0], said("teacher")[0]
    assert first.title == "the boat finds a river · 19/198/19_198_000000 · speaker voice00"
    assert [voice.name for voice in first.voices] == [
        "recording",
        "teacher",
        "baseline",
        "distill",
        "finetune",
    ]
    assert first.voices[0].note == ""
    assert first.voices[1].note == f"{row['metrics']['mcd']:.2f} dB · heard: seven white horses"
    # The same runs give the same picture, byte by byte.
    assert first.picture.light == (report / "sentence_1.png").read_bytes()


def test_sentences_that_all_stages_kept_come_first_and_six_are_shown(tmp_path):
    rows = said("teacher")
    write_speaker(tmp_path / "teacher", "teacher", heard=8)
    write_speaker(tmp_path / "finetune", "finetune", heard=0)
    for row in (rows[2], rows[39]):
        write_speech(tmp_path / "finetune", row["cut"], 1)
    for stage in ("teacher", "finetune"):
        rmtree(tmp_path / stage / "spectrograms")  # which take long to draw
    (section,) = listening(tmp_path)
    numbers = [int(one.title.split(" · ")[1][-6:]) for one in section.heard]
    assert numbers == [2, 0, 1, 3, 4, 5]
    assert [voice.audio is not None for voice in section.heard[0].voices] == [True, True, True]
    assert [voice.audio is not None for voice in section.heard[1].voices] == [True, True, False]


def test_without_audio_there_is_nothing_to_hear_and_what_does_not_fit_is_said(tmp_path, monkeypatch):
    write_speaker(tmp_path / "teacher", "teacher", heard=0)
    assert listening(tmp_path) == []
    write_speaker(tmp_path / "teacher", "teacher", heard=2)
    size = max(path.stat().st_size for path in (tmp_path / "teacher" / "audio").iterdir())
    monkeypatch.setattr(audio, "MOST", 3 * (size * 4 // 3 + 40))
    (section,) = listening(tmp_path)
    assert sum(voice.audio is not None for one in section.heard for voice in one.voices) == 3
    assert any("plays 3 of these files; 1 more are in" in text for text in section.text)


def test_spectrograms_that_are_none_are_left_out(tmp_path):
    folder = tmp_path / "spectrograms"
    folder.mkdir()
    good = {"mel": spectrogram(1), "reference_mel": spectrogram(0), "hop_seconds": 0.0125}
    broken = {
        "object": {"mel": np.array([{}], dtype=object)},
        "flat": {"mel": np.zeros(9, dtype=np.float32)},
        "nan": {"mel": np.full((80, 4), np.nan, dtype=np.float32)},
        "text": {"mel": np.array([["a"]])},
        "still": {"hop_seconds": 0.0},
        "large": {"mel": np.zeros((80, 300_000), dtype=np.float32)},
    }
    np.savez(folder / "good.npz", **good, attention=diagonal())
    np.savez(folder / "incomplete.npz", mel=good["mel"])
    for name, changed in broken.items():
        np.savez_compressed(folder / f"{name}.npz", **(good | changed))
    (folder / "cut.npz").write_bytes((folder / "good.npz").read_bytes()[:900])
    (folder / "other.npz").write_text("root:x:0:0")
    found = read_spectrograms(tmp_path, "good")
    np.testing.assert_array_equal(found.mel, good["mel"])
    np.testing.assert_array_equal(found.attention, diagonal())
    for name in (*broken, "incomplete", "cut", "other", "absent"):
        assert read_spectrograms(tmp_path, name) is None, name


def test_mels_are_drawn_over_the_same_seconds(report):
    spoken = {
        stage: read_spectrograms(report.parent / stage, said(stage)[0]["cut"])
        for stage in ("teacher", "finetune")
    }
    with themed(LIGHT):
        axes = beside_recording(spoken, LIGHT).axes
    mels = axes[0::2]
    assert [one.get_title(loc="left") for one in mels] == ["recording", "teacher", "finetune"]
    assert {one.get_xlim() for one in mels} == {(0.0, 60 * 0.0125)}
    np.testing.assert_array_equal(mels[2].images[0].get_array(), spoken["finetune"].mel)
    assert len({image.get_clim() for one in mels for image in one.images}) == 1
    assert [len(one.images) for one in axes[1::2]] == [0, 1, 0]


def test_utterances_are_counted_below_each_distortion():
    with themed(LIGHT):
        (axes,) = shares_below({"teacher": np.array([2.0, 1.0, np.nan, 4.0])}, "MCD dB", LIGHT).axes
    steps = axes.lines[0].get_xydata()
    assert steps[steps[:, 0] == 2.0][-1, 1] == pytest.approx(2 / 3)
    assert axes.get_xlabel() == "MCD dB"


def test_the_axis_is_in_decibels(comparison):
    with themed(LIGHT):
        (axes,) = metric_against_size(comparison, task_of("synthesis"), LIGHT).axes
    assert axes.get_ylabel() == "test MCD dB (lower is better)"
    assert axes.yaxis.get_major_formatter()(5.5) == "5.5"


def test_other_vocoders_and_recognisers_do_not_compare(tmp_path):
    for stage, vocoder in (("teacher", "runs/voice/finetune"), ("finetune", None)):
        results = {"recogniser": "runs/asr"} | ({"vocoder": vocoder} if vocoder else {})
        write_speaker(tmp_path / stage, stage, results=results)
    (note,) = [note for note in compare(tmp_path)["notes"] if "vocoder" in note]
    assert "teacher runs/voice/finetune, finetune none" in note
    assert not any("recogniser" in note for note in compare(tmp_path)["notes"])


def test_hostile_texts_stay_text(tmp_path):
    rows = [
        row | {"reference": HOSTILE, "output": HOSTILE, "speaker": HOSTILE}
        for row in said("finetune", cuts=6)
    ]
    for row in rows:
        row["metrics"][HOSTILE] = 1.0
    folder = write_speaker(
        tmp_path / "a" / "finetune", "finetune", rows=rows, results={"vocoder": HOSTILE}, heard=1
    )
    write_speaker(tmp_path / "a" / "baseline", "baseline", rows=rows, heard=0)
    (folder / "audio" / "more.flac").write_text("root:x:0:0")
    report = write_report(tmp_path / "a")
    text = (report / "index.html").read_text()
    assert text.count("<script") == 1
    assert "\x1b" not in text
    assert "<script" not in (report / "comparison.md").read_text()
    assert "\x1b[31m" not in printed(strict((report / "comparison.json").read_text()))


def test_a_sweep_is_in_decibels_and_says_the_seeds_for_a_tenth(tmp_path):
    job = 0
    for setting, values in (("none", (6.4, 6.6, 6.5)), ("durations", (5.9, 6.1, 5.9))):
        for seed, value in enumerate(values):
            config = {"overrides": [f"transfer={setting}", f"seed={seed}"], "seed": seed}
            results = {"metrics": {"mcd": value, "round_trip_cer": 0.1, "f0_rmse": 20.0}, "seed": seed}
            write_speaker(
                tmp_path / str(job), "distill", "synthesis", said("distill", cuts=3), config, results, 0
            )
            job += 1
    found = compare_settings(tmp_path)
    rows = {row["setting"]: row for row in found["rows"]}
    assert rows["transfer=durations"]["difference"]["value"] == pytest.approx(-1.6 / 3)
    console = Console(file=io.StringIO(), width=100)
    print_sweep(json.loads(json.dumps(found)), console)
    text = " ".join(console.file.getvalue().split())
    assert "-0.53 [" in text
    assert "6.50 [" in text
    assert f"scatter by {found['seed_deviation']:.2f} dB" in text
    assert "a true difference of 0.1 dB" in text
    assert max(map(len, console.file.getvalue().splitlines())) <= 100
