"""What the student lost, by word, by speaker and by length, recounted from the predictions."""

import jiwer
import numpy as np
import pytest
from recognition_folders import WRONG, spoken, write_recogniser
from run_folders import predictions, write_run
from speech_folders import said, write_speaker

from kd_lightning.reports.comparison import compare
from kd_lightning.reports.formats import DECIBELS, UNKNOWN, points
from kd_lightning.reports.keyword import tables as keyword
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.recognition import tables as recognition


@pytest.fixture(scope="module")
def keywords(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keyword")
    for stage, share in (("teacher", 0.93), ("finetune", 0.85)):
        write_run(folder / stage, stage, share, cuts=300, speakers=12)
    return compare(folder)


@pytest.fixture(scope="module")
def recognisers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recognition")
    for stage, share in WRONG.items():
        write_recogniser(folder / stage, stage, spoken(share, cuts=80))
    return compare(folder)


def test_a_keyword_is_lost_by_the_speakers_who_said_it(keywords):
    (found,) = keywords["flips"]
    teacher, student = (
        predictions(share, 300, [row["word"] for row in found["by_word"]], 12, 0) for share in (0.93, 0.85)
    )
    assert len(teacher) == len(student)
    assert sum(row["lost"] for row in found["by_speaker"]) == found["lost"]
    assert sum(row["gained"] for row in found["by_speaker"]) == found["gained"]
    assert sum(row["cuts"] for row in found["by_speaker"]) == 300
    lost = [row["lost"] for row in found["by_speaker"]]
    assert lost == sorted(lost, reverse=True)
    assert keyword.flips_by_speaker(found).rows[0][2] == str(lost[0])


def test_only_the_speakers_who_lost_most_are_kept_and_one_speaker_is_no_group(tmp_path):
    for stage, share in (("teacher", 0.95), ("finetune", 0.6)):
        write_run(tmp_path / "many" / stage, stage, share, cuts=300, speakers=50)
        write_run(tmp_path / "one" / stage, stage, share, cuts=40, speakers=1)
    assert len(compare(tmp_path / "many")["flips"][0]["by_speaker"]) == 20
    assert compare(tmp_path / "one")["flips"][0]["by_speaker"] == []


def test_the_last_column_is_what_was_lost_to_the_teacher(keywords, recognisers):
    for table, groups, key in (
        (keyword.noise(keywords), keywords["noise"], "accuracy"),
        (recognition.by_noise(recognisers), recognisers["noise"], "wer"),
        (recognition.by_speaker(recognisers), recognisers["speakers"], "wer"),
    ):
        assert table.columns[-1] == "finetune - teacher"
        for row, group in zip(table.rows, groups, strict=True):
            assert row[-1] == points(group[key]["finetune"] - group[key]["teacher"])


def test_a_word_is_lost_as_often_as_jiwer_says(recognisers):
    wrong = {}
    for stage in ("teacher", "baseline", "finetune"):
        rows = spoken(WRONG[stage], cuts=80)
        oracle = jiwer.process_words([row["reference"] for row in rows], [row["output"] for row in rows])
        words = [
            words[place]
            for chunks, words in zip(oracle.alignments, oracle.references, strict=True)
            for chunk in chunks
            if chunk.type in ("substitute", "delete")
            for place in range(chunk.ref_start_idx, chunk.ref_end_idx)
        ]
        wrong[stage] = {word: words.count(word) for word in set(words)}
    further = {
        word: times - wrong["teacher"].get(word, 0)
        for word, times in wrong["finetune"].items()
        if times > wrong["teacher"].get(word, 0)
    }
    assert {one["word"] for one in recognisers["lost"]} == set(further)
    shown = [further[one["word"]] for one in recognisers["lost"]]
    assert shown == sorted(shown, reverse=True)
    said_words = " ".join(row["reference"] for row in spoken(0, cuts=80)).split()
    for one in recognisers["lost"]:
        assert one["times"] == said_words.count(one["word"])
        assert one["errors"] == {stage: counted.get(one["word"], 0) for stage, counted in wrong.items()}
    row = recognition.lost_words(recognisers).rows[0]
    assert row[-1] == f"+{shown[0]}"


def test_without_a_teacher_no_word_is_lost(tmp_path):
    write_recogniser(tmp_path / "baseline", "baseline", spoken(0.3, cuts=20))
    found = compare(tmp_path)
    assert found["lost"] == []
    assert recognition.by_noise(found).columns[-1] == "baseline"


@pytest.mark.parametrize("task", ["synthesis", "vocoding"])
def test_means_of_speakers_and_of_lengths_are_over_their_own_utterances(tmp_path, task):
    for stage in ("teacher", "finetune"):
        write_speaker(tmp_path / stage, stage, task, said(stage, task, speakers=3), heard=0)
    found = compare(tmp_path)
    rows = said("finetune", task, speakers=3)
    assert [one["cuts"] for one in found["lengths"]] == [12, 8, 12, 8]
    short = [row["metrics"]["mcd"] for row in rows if row["seconds"] <= 1.2]
    assert found["lengths"][0]["length"] == "up to 1.2 s"
    assert found["lengths"][0]["mcd"]["finetune"] == pytest.approx(np.mean(short))
    assert len(found["speakers"]) == 3
    for one in found["speakers"]:
        own = [row["metrics"]["mcd"] for row in rows if row["speaker"] == one["speaker"]]
        assert (one["cuts"], one["mcd"]["finetune"]) == (len(own), pytest.approx(np.mean(own)))
    far = [one["mcd"]["finetune"] for one in found["speakers"]]
    assert far == sorted(far, reverse=True)


def test_one_voice_is_no_group_and_what_was_not_measured_is_a_dash(tmp_path):
    rows = said("finetune")
    for row in rows:
        if row["seconds"] > 1.6:
            del row["metrics"]["mcd"]
    write_speaker(tmp_path / "teacher", "teacher", rows=said("teacher"), heard=0)
    write_speaker(tmp_path / "finetune", "finetune", rows=rows, heard=0)
    found = compare(tmp_path)
    assert found["speakers"] == []
    task = task_of("synthesis")
    table = task._group_table(found, "lengths", "length", "")
    assert table.columns == ["length", "cuts", "teacher", "finetune", "finetune - teacher"]
    first, last = found["lengths"][0]["mcd"], table.rows[-1]
    assert table.rows[0][-1] == DECIBELS.signed(first["finetune"] - first["teacher"])
    assert last[3:] == [UNKNOWN, UNKNOWN]
