"""Scoring networks that speak: on their own corpus and another one, heard through a vocoder and by a recogniser."""

import json
from pathlib import Path

import pytest
from spoken_runs import RECOGNISER, SENTENCES, speaking_run, write_voice
from untrained import untrained_run

from kd_lightning.corpora.synthetic_voice import SyntheticVoice
from kd_lightning.evaluate import evaluate


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def acoustic(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("acoustic"), voice, "libritts_tts")


@pytest.fixture(scope="module")
def vocoder(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("vocoder"), voice, "libritts_vocoder")


@pytest.fixture(scope="module")
def two_voices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another corpus, with a voice that the networks have not learnt."""
    settings = SyntheticVoice(clips=(2, 2, 2), voices=(2, 2, 2), seed=7)
    return settings.write(tmp_path_factory.mktemp("two_voices"))


@pytest.fixture(scope="module")
def recogniser(sentence_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("recogniser"), *RECOGNISER, *sentence_words)


def written(folder: Path) -> tuple[dict, list[dict]]:
    """metrics.json and the lines of predictions.jsonl."""
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((folder / "metrics.json").read_text()), [json.loads(line) for line in lines]


def test_an_acoustic_run_is_heard_through_a_vocoder_by_a_recogniser(
    acoustic: Path, vocoder: Path, recogniser: Path, capsys: pytest.CaptureFixture[str]
):
    evaluate({"run": str(acoustic), "vocoder": str(vocoder), "recogniser": str(recogniser)})
    found, lines = written(acoustic / "evaluation")
    assert {"mcd", "round_trip_cer", "duration_error"} <= set(found["metrics"])
    assert set(found["intervals"]) == set(found["metrics"])
    assert (found["vocoder"], found["recogniser"]) == (str(vocoder), str(recogniser))
    assert found["metrics"]["mcd"] == pytest.approx(sum(line["score"] for line in lines) / SENTENCES)
    assert len(lines) == SENTENCES
    assert f"{SENTENCES} test cuts" in capsys.readouterr().out


def test_a_vocoder_is_scored_on_another_corpus(vocoder: Path, two_voices: Path):
    evaluate({"run": str(vocoder), "corpus": {"root": str(two_voices)}})
    found, lines = written(vocoder / "evaluation")
    assert {"mcd", "stft_distance", "stoi"} <= set(found["metrics"])
    assert len({line["speaker"] for line in lines}) == 2


def test_an_acoustic_run_cannot_speak_as_a_stranger(acoustic: Path, two_voices: Path):
    with pytest.raises(ValueError, match="speakers that no network can have learnt: 101"):
        evaluate({"run": str(acoustic), "corpus": {"root": str(two_voices)}})


def test_a_vocoder_is_scored_on_predicted_mels(acoustic: Path, vocoder: Path, recogniser: Path):
    evaluate({"run": str(acoustic), "vocoder": str(vocoder)})
    of_mels, own = written(acoustic / "evaluation")
    evaluate({"run": str(vocoder), "acoustic": str(acoustic), "recogniser": str(recogniser)})
    found, lines = written(vocoder / "evaluation" / "predicted_mels")
    assert found["acoustic"] == str(acoustic)
    assert {"mcd", "round_trip_cer"} <= set(found["metrics"])
    assert [line["cut"] for line in lines] == [line["cut"] for line in own]
    # The sentences last as long, but the mel of the waveform is none that was predicted.
    assert found["metrics"]["duration_error"] == pytest.approx(of_mels["metrics"]["duration_error"])
    assert abs(found["metrics"]["mcd"] - of_mels["metrics"]["mcd"]) > 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"run": "{acoustic}", "streaming": True}, "task=synthesis: name a run of task=keyword"),
        (
            {"run": "{vocoder}", "audio": "speech.wav"},
            "task=vocoding, which speaks: name a run of task=recog",
        ),
        ({"run": "{acoustic}", "acoustic": "{acoustic}"}, "run={acoustic} is of task=synthesis; .* vocoder="),
        ({"run": "{vocoder}", "acoustic": "{vocoder}"}, "acoustic={vocoder} is of task=vocoding"),
        (
            {"run": "{vocoder}", "acoustic": "{acoustic}", "vocoder": "{vocoder}"},
            "the vocoder is the run itself",
        ),
        ({"run": "{vocoder}", "vocoder": "{vocoder}"}, "vocoder= makes an acoustic run's mels heard"),
        ({"run": "{vocoder}", "acoustic": "{acoustic}/nowhere"}, "nowhere is not a folder"),
        ({"run": "{acoustic}", "vocoder": "{acoustic}"}, "vocoder={acoustic} is of task=synthesis"),
        ({"run": "{acoustic}", "recogniser": "{vocoder}"}, "recogniser={vocoder} is of task=vocoding"),
    ],
)
def test_what_cannot_be_scored_is_one_message(acoustic: Path, vocoder: Path, words: dict, said: str):
    folders = {"acoustic": acoustic, "vocoder": vocoder}
    filled = {
        key: value.format(**folders) if isinstance(value, str) else value for key, value in words.items()
    }
    with pytest.raises((ValueError, OSError), match=said.format(**folders)):
        evaluate(filled)
