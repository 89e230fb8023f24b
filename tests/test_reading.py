"""Reading aloud: sentence by sentence, alike wherever they stand, never too loud, and how its time is measured."""

import itertools
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from spoken_runs import speaking_run, write_voice
from torch import Tensor, nn

from kd_lightning.experiment.finished import finished_model
from kd_lightning.frontend.sentences import split_sentences
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.reading import PAUSE_SECONDS, PEAK, Reader, lines_of, write_reading
from kd_lightning.teachers.finished_run import WEIGHTS

RATE = 16000
FLOW = (
    "student=squeeze_wave_small",
    *(f"student.network.{size}" for size in ("group=40", "flows=2", "layers=2", "channels=16")),
)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def texts(voice: Path) -> list[str]:
    """Sentences that the tokens can say, for they were learnt from them."""
    return [path.read_text() for path in sorted((voice / "train-clean-100").rglob("*.normalized.txt"))]


@pytest.fixture(scope="module")
def acoustic(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = speaking_run(tmp_path_factory.mktemp("acoustic"), voice, "libritts_tts", "corpus.pitch=false")
    state = load_file(run / WEIGHTS)
    state["network.predictors.head.bias"][0] = 2.0  # six frames a token
    save_file(state, run / WEIGHTS)
    return run


@pytest.fixture(scope="module")
def vocoder(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("vocoder"), voice, "libritts_vocoder")


@pytest.fixture(scope="module")
def flow(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("flow"), voice, "libritts_vocoder", *FLOW)


class Says(nn.Module):
    """A vocoder that says what a function makes of the mel."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, mel: Tensor) -> Tensor:
        return self.function(mel)


@pytest.mark.parametrize("kind", ["none", "vocoder", "flow"])
@torch.no_grad()
def test_a_sentence_is_what_the_two_networks_make_of_it(
    kind: str, acoustic: Path, texts: list[str], request: pytest.FixtureRequest
) -> None:
    run = None if kind == "none" else request.getfixturevalue(kind)
    reader = Reader(acoustic, run, seed=5)
    (said,) = reader.read(texts[0])
    model, config = finished_model(acoustic)
    speaks = GriffinLim(model.frontend) if run is None else finished_model(run)[0]
    tokens = torch.tensor([reader._tokens.encode(texts[0])])
    mel = model(Sentences(tokens, torch.tensor([tokens.shape[1]]), torch.tensor([0]))).mel
    torch.manual_seed(5)
    expected = speaks(mel)[0]
    assert said.text == texts[0]
    assert said.ended
    expected *= min(1.0, PEAK / float(expected.abs().max()))
    torch.testing.assert_close(said.waveform, expected, rtol=1e-3, atol=1e-4)
    assert config["speakers"] == ["100"]


def test_norms_of_a_flow_are_computed_once(flow: Path, acoustic: Path) -> None:
    network = Reader(acoustic, flow)._vocoder.network
    assert all(convolution.inverted is not None for convolution in network.convolutions)
    assert not any(nn.utils.parametrize.is_parametrized(module) for module in network.modules())


def test_a_text_of_two_thousand_words_is_read_to_the_end_and_not_kept(
    acoustic: Path, vocoder: Path, texts: list[str]
) -> None:
    words = itertools.cycle(", ".join(text.rstrip(".!?") for text in texts).split())
    text = " ".join(itertools.islice(words, 2000)) + "."  # one sentence
    reader = Reader(acoustic, vocoder)
    waveforms, read = [], []
    for said in reader.read(text):
        assert sum(waveform() is not None for waveform in waveforms) == 0
        waveforms.append(weakref.ref(said.waveform))
        read.append(said.text)
        del said
    assert " ".join(read) == text
    assert read == split_sentences(text, 30)
    assert len(read) >= 2000 / 30


def test_a_sentence_is_said_alike_wherever_it_stands(acoustic: Path, flow: Path, texts: list[str]) -> None:
    reader, other_seed = Reader(acoustic, flow), Reader(acoustic, flow, seed=1)
    state = torch.get_rng_state()
    first, second = reader.read(f"{texts[0]} {texts[1]}")
    (alone,) = reader.read(texts[1])
    assert torch.equal(second.waveform, alone.waveform)
    assert first.text == texts[0]
    (other,) = other_seed.read(texts[1])
    assert not torch.allclose(other.waveform, alone.waveform, atol=1e-3)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_clipped(acoustic: Path, texts: list[str]) -> None:
    reader = Reader(acoustic)
    tone = torch.sin(torch.arange(4000) / 20)[None]
    (quiet,) = reader.read(texts[0])
    for peak, scale in ((0.5, 1.0), (3.0, PEAK / 3.0)):
        reader._vocoder = Says(lambda mel, peak=peak: peak * tone)
        (said,) = reader.read(texts[0])
        torch.testing.assert_close(said.waveform, scale * peak * tone[0], rtol=1e-3, atol=1e-5)
    assert float(quiet.waveform.abs().max()) <= PEAK + 1e-6


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_said(wrong: float, acoustic: Path, texts: list[str]) -> None:
    reader = Reader(acoustic)
    reader._vocoder = Says(lambda mel: torch.full((1, 100), wrong))
    with pytest.raises(ValueError, match=r"said something that is no number for .* choose other runs"):
        list(reader.read(texts[0]))


def test_what_cannot_be_said_is_known_before_anything_is(acoustic: Path, texts: list[str]) -> None:
    reader = Reader(acoustic)
    reader._vocoder = Says(lambda mel: pytest.fail("it spoke"))
    with pytest.raises(ValueError, match="cannot say '你'"):
        reader.read(f"{texts[0]} Then 你.")
    for nothing in ("", "  \n", "... !"):
        with pytest.raises(ValueError, match="there is nothing to say"):
            reader.read(nothing)


def test_the_first_call_of_all_is_not_timed(acoustic: Path, texts: list[str]) -> None:
    reader = Reader(acoustic)
    times = iter([0.6, 0.05, 0.1, 0.05])

    def slow(mel: Tensor) -> Tensor:
        time.sleep(next(times))
        return torch.zeros(1, 100)

    reader._vocoder = Says(slow)
    seconds = [said.seconds for said in reader.read(f"{texts[0]} {texts[1]}")]
    assert 0.05 <= seconds[0] < 0.6
    assert 0.1 <= seconds[1] < 0.6
    assert len(list(reader.read(texts[0]))) == 1  # it is warm
    assert next(times, None) is None


def test_sentences_are_written_with_pauses_between_them(
    acoustic: Path, vocoder: Path, texts: list[str], tmp_path: Path
) -> None:
    reader = Reader(acoustic, vocoder)
    text = " ".join(texts[:3])
    parts = list(reader.read(text))
    reading = write_reading(tmp_path / "new" / "said.flac", iter(parts), reader.sample_rate)
    written, rate = soundfile.read(tmp_path / "new" / "said.flac")
    assert rate == reader.sample_rate == RATE
    pause = np.zeros(round(PAUSE_SECONDS * RATE))
    expected = np.concatenate([parts[0].waveform, pause, parts[1].waveform, pause, parts[2].waveform])
    np.testing.assert_allclose(written, expected, atol=1 / 32767)
    assert reading.speech_seconds == pytest.approx((len(written) - 2 * len(pause)) / RATE)
    assert reading.compute_seconds == pytest.approx(sum(part.seconds for part in parts))
    assert reading.first_seconds == parts[0].seconds
    assert reading.real_time_factor == pytest.approx(reading.compute_seconds / reading.speech_seconds)
    assert reading.unended == []


def test_a_file_is_whole_or_absent(acoustic: Path, texts: list[str], tmp_path: Path) -> None:
    reader = Reader(acoustic)

    def breaks():
        yield next(reader.read(texts[0]))
        raise ValueError("no further")

    with pytest.raises(ValueError, match="no further"):
        write_reading(tmp_path / "said.wav", breaks(), RATE)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_reading(tmp_path / "file" / "said.wav", reader.read(texts[0]), RATE)


def test_lines_are_named_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffOne.\r\n\r\n  Zwölf \n".encode())
    assert list(lines_of(path)) == [("a_0001", "One."), ("a_0003", "Zwölf")]
    path.write_bytes(b"One.\nZw\xf6lf")
    with pytest.raises(ValueError, match=r"a\.txt is not UTF-8 \(.* at byte 7\): save it as such"):
        list(lines_of(path))
    path.write_text(" \n\n")
    with pytest.raises(ValueError, match=r"a\.txt has no sentence"):
        list(lines_of(path))
