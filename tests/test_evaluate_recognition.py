"""Scoring a recogniser, on its own corpus and on another one, and transcribing with it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from untrained import untrained_run

from kd_lightning.corpora.synthetic_sentences import SyntheticCommonVoice
from kd_lightning.evaluate import evaluate
from kd_lightning.transcription import names

SMALL = ("student=quartznet_small", "student.network.channels=[16,16,16]", "student.network.head_channels=32")
SPELLER = (
    "student=las_small",
    *(f"student.network.{size}" for size in ("hidden=16", "speller_hidden=16", "embedding=8", "ctc=false")),
)


@pytest.fixture(scope="module")
def ctc_run(sentence_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("experiment=common_voice", "transfer=none", *SMALL, *sentence_words)
    return untrained_run(tmp_path_factory.mktemp("ctc"), *words)


@pytest.fixture(scope="module")
def speller_run(sentence_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ("experiment=common_voice", "transfer=none", *SPELLER, *sentence_words)
    return untrained_run(tmp_path_factory.mktemp("speller"), *words)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Four kinds of files, two of them under one name, a broken one and one that is no audio."""
    folder = tmp_path / "speech"
    (folder / "more").mkdir(parents=True)
    (folder / "._a.wav").write_bytes(b"what macOS leaves beside a file")
    noise = np.random.default_rng(0).normal(0, 0.1, 66150)
    for name, rate in (("a.wav", 22050), ("a.mp3", 44100), ("b.flac", 8000), ("more/c.ogg", 48000)):
        soundfile.write(folder / name, noise, rate)
    soundfile.write(folder / "short.wav", noise[:40], 16000)
    (folder / "broken.mp3").write_bytes(b"ID3 and no more")
    (folder / "list.csv").write_text("a.wav\n")
    return folder


def test_a_run_is_scored_on_its_test_set(ctc_run: Path, capsys: pytest.CaptureFixture[str]):
    evaluate({"run": str(ctc_run)})
    found = json.loads((ctc_run / "evaluation" / "metrics.json").read_text())
    assert set(found["metrics"]) == {"wer", "cer", "substitutions", "deletions", "insertions"}
    assert set(found["intervals"]) == {"wer", "cer"}
    lines = (ctc_run / "evaluation" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 8
    assert "8 test cuts" in capsys.readouterr().out


def test_another_corpus_gives_references_and_the_run_its_letters(ctc_run: Path, tmp_path: Path):
    alphabet = json.loads((ctc_run / "config.json").read_text())["classes"]
    other = SyntheticCommonVoice(clips=(4, 2, 3), voices=(2, 1, 1), seed=7).write(tmp_path / "other")
    evaluate({"run": str(ctc_run), "corpus": {"root": str(other), "language": "tr"}})
    lines = [
        json.loads(line) for line in (ctc_run / "evaluation" / "predictions.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 3
    assert set("".join(line["output"] for line in lines)) <= set(alphabet)
    # Fewer sentences have fewer letters: the corpus's own numbers would not be the run's.
    assert len({letter for line in lines for letter in line["reference"]}) < len(alphabet)


def test_streaming_is_for_keywords(ctc_run: Path):
    with pytest.raises(ValueError, match=r"streaming=true spots keywords.*task=recognition.*audio="):
        evaluate({"run": str(ctc_run), "streaming": True})


def test_a_folder_is_transcribed(ctc_run: Path, speech: Path, capsys: pytest.CaptureFixture[str]):
    run = Path(shutil.copytree(ctc_run, speech.parent / "run"))
    evaluate({"run": str(run), "audio": str(speech), "chunk_seconds": 2})
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == f"5 transcribed to {run / 'transcripts'}, 1 could not be read"
    assert len(said.out.splitlines()) == 6
    assert said.err.startswith(f"{speech / 'broken.mp3'} could not be read: ")
    written = {str(path.relative_to(run / "transcripts")) for path in (run / "transcripts").rglob("*.*")}
    stems = ("a.mp3", "a.wav", "b", "more/c", "short")
    assert written == {f"{stem}{ending}" for stem in stems for ending in (".json", ".txt")}
    found = json.loads((run / "transcripts" / "b.json").read_text())
    assert found["seconds"] == pytest.approx(66150 / 8000, abs=1e-3)
    assert len(found["segments"]) > 4
    assert found["text"] == (run / "transcripts" / "b.txt").read_text().strip()
    assert [word["word"] for word in found["words"]] == found["text"].split()
    times = [time for word in found["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[-1] <= found["seconds"]


def test_a_beam_may_be_wider(ctc_run: Path, speech: Path):
    evaluate({"run": str(ctc_run), "audio": str(speech / "a.wav"), "beam": 3})
    assert json.loads((ctc_run / "transcripts" / "a.json").read_text())["audio"] == str(speech / "a.wav")


def test_without_ctc_there_are_no_word_times(
    speller_run: Path, speech: Path, caplog: pytest.LogCaptureFixture
):
    evaluate({"run": str(speller_run), "audio": str(speech / "short.wav")})
    assert "ListenAttendSpell has no CTC layer: it does not say when a word was said" in caplog.text
    assert json.loads((speller_run / "transcripts" / "short.json").read_text())["words"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"audio": "nowhere.wav"}, "audio=nowhere.wav is neither a file nor a folder"),
        ({"audio": "{speech}/list.csv"}, "0 transcribed to .*, 1 could not be read"),
        ({"audio": "{speech}/empty"}, "has no file that ends in .flac, .mp3"),
        ({"audio": "{speech}", "beam": 2.5}, "beam=2.5 is not a whole number"),
        ({"audio": "{speech}", "beam": 0}, "beam=0: at least 1"),
        ({"audio": "{speech}", "chunk_seconds": "long"}, "chunk_seconds=long is not a number"),
        ({"audio": "{speech}", "chunk_seconds": 0.1}, "chunk_seconds=0.1: at least 1"),
        ({"audio": "{speech}", "beams": 5}, "beams: with audio= go beam="),
    ],
)
def test_what_cannot_be_transcribed_is_one_message(ctc_run: Path, speech: Path, words: dict, said: str):
    (speech / "empty").mkdir()
    words = words | {"audio": words["audio"].format(speech=speech)}
    with pytest.raises((ValueError, OSError), match=said):
        evaluate({"run": str(ctc_run)} | words)


def test_keyword_runs_do_not_transcribe(teacher_run: Path, speech: Path):
    with pytest.raises(ValueError, match="spots keywords: a run of task=recognition transcribes"):
        evaluate({"run": str(teacher_run), "audio": str(speech)})


def test_transcripts_of_files_that_differ_in_their_ending_keep_it():
    folder = Path("x")
    found = names([folder / "a.wav", folder / "a.mp3", folder / "b.c.wav", folder / "d" / "a.wav"], Path())
    assert list(found.values()) == ["x/a.wav", "x/a.mp3", "x/b.c", "x/d/a"]
