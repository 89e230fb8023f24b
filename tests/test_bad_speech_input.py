"""What is wrong with a corpus or a run of the tasks that speak, as a user meets it: one line, or a counted skip."""

import json
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly
from spoken_runs import speaking_run, write_voice

from kd_lightning.experiment.finished import finished_config, spoken_tokens
from kd_lightning.frontend.spoken_characters import SpokenCharacters

TTS = (
    "experiment=libritts_tts",
    "corpus.pitch=false",
    "student=feed_forward_small",
    "student.network.width=16",
)
VOCODER = ("experiment=libritts_vocoder", "student=vocos_tiny")
BASELINE = (
    *("stage=baseline", "stages.distill.trainer.max_epochs=0", "stages.finetune.trainer.max_epochs=0"),
    *("distiller.terms.pitch=null", "distiller.weights.pitch=null"),
)
Typed = Callable[..., int | str | None]


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def runs(voice: Path, teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A finished run of each of several kinds."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, *words: str) -> Path:
        return speaking_run(folder / name, voice, *words)

    return {
        "keyword": teacher_run,
        "acoustic": run("acoustic", "libritts_tts", "corpus.pitch=false"),
        "letters": run("letters", "libritts_tts", "corpus.pitch=false", "corpus.spelling=characters"),
        "vocoder": run("vocoder", "libritts_vocoder"),
        "other_mel": run("other_mel", "libritts_vocoder", "frontend=mel_22k", "student=vocos_tiny"),
    }


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, voice: Path, data: Path) -> Typed:
    """The status, or the message, with which a command ends; the corpus is the voice unless words name another."""

    def run(module: str, *words: str) -> int | str | None:
        usual = [
            *("logger=csv", "callbacks=none", "~callbacks.speech", "trainer.enable_progress_bar=false"),
            *("name=tried", "corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]"),
            *(f"corpus.root={voice}", f"paths.data={data}", f"paths.runs={tmp_path / 'runs'}"),
        ]
        composed = module in ("train", "pipeline", "label")
        monkeypatch.setattr("sys.argv", [module, *(usual if composed else []), *words])
        try:
            import_module(f"kd_lightning.{module}").main()
        except SystemExit as end:
            return end.code
        return None

    return run


def in_one_line(message: object, said: str) -> None:
    assert re.search(said, str(message)), message
    assert re.match(r"\w+: [^\n]*$", str(message)), message


# Corpora


@pytest.fixture
def broken(voice: Path, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """The voice, some of whose training recordings cannot be learnt from, and why; one is at another rate."""
    root = Path(shutil.copytree(voice, tmp_path / "LibriTTS"))
    wavs = sorted((root / "train-clean-100").rglob("*.wav"))
    clipped, silent, untold, not_utf8, unsayable, truncated, other_rate, *_ = wavs
    speech, rate = soundfile.read(clipped)
    soundfile.write(clipped, np.clip(100 * speech, -1, 1), rate)
    soundfile.write(silent, np.zeros(rate), rate)
    untold.with_suffix(".normalized.txt").unlink()
    not_utf8.with_suffix(".normalized.txt").write_bytes(b"Zw\xf6lf.")
    unsayable.with_suffix(".normalized.txt").write_text("We saw 你.", encoding="utf-8")
    truncated.write_bytes(truncated.read_bytes()[:-5000])
    speech, rate = soundfile.read(other_rate)
    soundfile.write(other_rate, resample_poly(speech, 147, 80), 44100)
    reasons = {
        clipped.stem: "clipped: ",
        silent.stem: "silent: its peak is 0.00000 of full scale",
        untold.stem: "there is no .normalized.txt beside it",
        not_utf8.stem: "its .normalized.txt is not UTF-8",
        unsayable.stem: "cannot say '你'",
        truncated.stem: "truncated: ",
    }
    return root, reasons


@pytest.mark.parametrize("task", ["synthesis", "vocoding"])
def test_recordings_of_no_use_are_skipped_counted_and_named(
    task: str, broken: tuple[Path, dict[str, str]], typed: Typed, runs: dict[str, Path], tmp_path: Path
) -> None:
    root, reasons = broken
    if task == "synthesis":
        words = (*TTS, *BASELINE, f"corpus.spelling={runs['acoustic']}")
    else:  # which needs no text that can be spelt
        reasons = {id: reason for id, reason in reasons.items() if "say" not in reason}
        words = (*VOCODER, *BASELINE[:3])
    assert typed("train", *words, f"corpus.root={root}", f"paths.data={tmp_path / 'data'}") is None
    run = tmp_path / "runs" / "tried" / "baseline"
    log = (run / "train.log").read_text()
    kept = len(list((root / "train-clean-100").rglob("*.wav"))) - len(reasons)
    assert re.search(rf"{len(reasons)} utterances are left out, such as \S+ \(.+\), see {tmp_path}", log)
    assert f"{kept} (0.0 h) to train on" in log
    assert json.loads((run / "metrics.json").read_text())["metrics"]["mcd"] > 0
    # Where the log points to, each has its reason.
    said: dict[str, str] = {}
    for path in (tmp_path / "data" / "prepared").rglob("*.json"):
        said |= json.loads(path.read_text()).get("skipped", {})
    assert {Path(id).stem for id in said} == reasons.keys()
    for id, reason in said.items():
        assert reasons[Path(id).stem] in reason


def test_a_corpus_without_texts_is_one_line(voice: Path, typed: Typed, tmp_path: Path) -> None:
    root = Path(shutil.copytree(voice, tmp_path / "LibriTTS"))
    for path in root.rglob("*.normalized.txt"):
        path.unlink()
    message = typed("train", *TTS, *BASELINE, f"corpus.root={root}", f"paths.data={tmp_path / 'data'}")
    in_one_line(message, "espeak says nothing for these texts: phonemes need transcripts")
    message = typed(
        "train", *VOCODER, "stage=baseline", f"corpus.root={root}", f"paths.data={tmp_path / 'data'}"
    )
    in_one_line(
        message, r"the test split of the corpus has no utterance that can be used: there is no \.normalized"
    )


def test_test_sentences_that_nobody_can_say_are_named(voice: Path, typed: Typed, tmp_path: Path) -> None:
    root = Path(shutil.copytree(voice, tmp_path / "LibriTTS"))
    for path in (root / "test-clean").rglob("*.normalized.txt"):
        path.write_text("We saw 你.", encoding="utf-8")
    message = typed("train", *TTS, *BASELINE, f"corpus.root={root}", f"paths.data={tmp_path / 'data'}")
    in_one_line(message, "the test split of the corpus has no utterance that can be used: .* cannot say '你'")


# Runs and choices that do not fit


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recogniser={vocoder}"], "recogniser=.* is of task=vocoding: name the run of a recogniser"),
        (["recogniser=nowhere"], r"nowhere is not a run: it has no config\.json"),
        (["vocoder={acoustic}"], "vocoder=.* is of task=synthesis: name the run of a vocoder"),
        (["vocoder={other_mel}"], r"the vocoder speaks other mels \(hop_length: 256 there, 200 here; "),
        (
            ["corpus.spelling={vocoder}"],
            "is of task=vocoding: a run that spells for others is of task=synthesis",
        ),
        (
            ["corpus.spelling=runes"],
            "corpus.spelling=runes: there are phonemes, characters, teacher and folders",
        ),
        (["corpus.spelling=teacher"], "corpus.spelling=teacher: stage=baseline finds no finished teacher"),
        (["corpus.voice=klingon"], "espeak-ng has no voice 'klingon': name a language or accent"),
        (["corpus.speakers=[84]"], "corpus.speakers names 84, who are not in train-clean-100"),
        (
            ["frontend=log_mel_80"],
            "NormalisedLogMel is heard and not spoken: choose frontend=mel_16k, mel_22k",
        ),
        (["student=gru"], "RecurrentNetwork turns no text into mels: choose student=feed_forward_small"),
        (["student=vocos_tiny"], "Vocos turns no text into mels: choose student=feed_forward_small"),
    ],
)
def test_what_does_not_fit_an_acoustic_stage_is_one_line(
    words: list[str], said: str, typed: Typed, runs: dict[str, Path]
) -> None:
    network = () if any(word.startswith("student=") for word in words) else TTS[2:]
    in_one_line(typed("train", *TTS[:2], *network, *BASELINE, *(word.format(**runs) for word in words)), said)


@pytest.mark.parametrize("kind", ["vocoder", "keyword"])
def test_runs_of_another_task_are_named(kind: str, typed: Typed, runs: dict[str, Path]) -> None:
    task = {"vocoder": "vocoding", "keyword": "keyword"}[kind]
    message = typed("train", *TTS, "stage=finetune", f"student.run={runs[kind]}")
    in_one_line(message, rf"student\.run=\S+ is of task={task}, and this stage is of task=synthesis")
    message = typed("train", *TTS, "stage=distill", "teacher.stored=false", f"teacher.run={runs[kind]}")
    in_one_line(message, rf"was trained for task={task}, and this stage is of task=synthesis")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["student=feed_forward_small"],
            "FeedForwardAcoustic turns no mels into waveforms: choose student=vocos",
        ),
        (["student=gru"], "RecurrentNetwork turns no mels into waveforms: choose student=vocos_small"),
        (
            ["corpus.segment_seconds=0.001"],
            r"corpus\.segment_seconds=0\.001 is shorter than a hop of 200 samples",
        ),
        (["student=squeeze_wave_small"], "group=128 samples do not fill frames of 200: set a divisor"),
        (["recogniser={acoustic}"], "recogniser=.* is of task=synthesis: name the run of a recogniser"),
    ],
)
def test_what_does_not_fit_a_vocoder_stage_is_one_line(
    words: list[str], said: str, typed: Typed, runs: dict[str, Path]
) -> None:
    words = ["experiment=libritts_vocoder", "stage=baseline", *(word.format(**runs) for word in words)]
    in_one_line(typed("train", *words), said)


def test_durations_that_nobody_knows_are_one_line(voice: Path, typed: Typed, tmp_path: Path) -> None:
    root = Path(shutil.copytree(voice, tmp_path / "LibriTTS"))
    for path in root.rglob("*.phones.tsv"):
        path.unlink()
    words = ("stage=baseline", "stages.distill.trainer.max_epochs=1", "stages.finetune.trainer.max_epochs=0")
    message = typed("train", *TTS, *words, f"corpus.root={root}", f"paths.data={tmp_path / 'data'}")
    in_one_line(
        message, r"the corpus has no durations .*: set aligner=<run .*>, or choose a student with a decoder"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vocoder={acoustic}"], "vocoder=.* is of task=synthesis: name the run of a vocoder"),
        (["vocoder={other_mel}"], r"the vocoder speaks other mels \(hop_length"),
        (["recogniser={vocoder}"], "recogniser=.* is of task=vocoding: name the run of a recogniser"),
        (["streaming=true"], "streaming=true spots keywords, and .* is of task=synthesis"),
        (["audio=speech.wav"], "is of task=synthesis"),
    ],
)
def test_what_cannot_be_evaluated_is_one_line(
    words: list[str], said: str, typed: Typed, runs: dict[str, Path]
) -> None:
    in_one_line(typed("evaluate", f"run={runs['acoustic']}", *(word.format(**runs) for word in words)), said)


def test_a_vocoder_stores_nothing(typed: Typed, runs: dict[str, Path]) -> None:
    message = typed("label", *VOCODER, f"teacher.run={runs['vocoder']}")
    in_one_line(message, r"set teacher\.stored=false, and it teaches live")


def test_the_pipeline_refuses_the_same_before_it_trains(
    typed: Typed, runs: dict[str, Path], tmp_path: Path
) -> None:
    message = typed("pipeline", *TTS, f"vocoder={runs['other_mel']}")
    in_one_line(message, r"the vocoder speaks other mels \(hop_length")
    assert not list((tmp_path / "runs").rglob("metrics.json"))


# Tokens of another run


def test_letters_of_another_run_stay_letters(typed: Typed, runs: dict[str, Path], tmp_path: Path) -> None:
    letters = runs["letters"]
    assert typed("train", *TTS, *BASELINE, f"corpus.spelling={letters}") is None
    config = finished_config(tmp_path / "runs" / "tried" / "baseline")
    assert config["classes"] == finished_config(letters)["classes"]
    tokens = spoken_tokens(config)
    assert isinstance(tokens, SpokenCharacters)
    assert tokens.encode("Play the song.") == spoken_tokens(finished_config(letters)).encode("Play the song.")
