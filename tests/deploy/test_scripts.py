"""What lies beside a deployed network to run it: the parts against reference libraries, and that it is one file."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.signal import resample_poly

from kd_lightning.decoding.greedy import greedy
from kd_lightning.deploy.script import script
from kd_lightning.deploy.scripts import griffin_lim, recognition, synthesis
from kd_lightning.deploy.scripts.audio import mono, resampled
from kd_lightning.deploy.scripts.keyword import heard, windows
from kd_lightning.frontend.mel import Mel
from kd_lightning.frontend.phonemes import Phonemes
from kd_lightning.frontend.published_letters import PublishedLetters
from kd_lightning.frontend.spoken_characters import SpokenCharacters
from kd_lightning.frontend.tokens import decode
from kd_lightning.models.griffin_lim import GriffinLim

TASKS = ("keyword", "recognition", "synthesis", "vocoding")
SENTENCES = ("Good morning!", "Is it  you, Anne? Well: no.", "The sister’s hat; a red one.")  # noqa: RUF001


@pytest.mark.parametrize("task", TASKS)
def test_a_script_is_one_file_that_knows_nothing_of_the_package(task: str, tmp_path: Path):
    path = tmp_path / "run.py"
    path.write_text(script(task))
    assert "kd_lightning" not in path.read_text()
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    for words in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *words, "--config", str(pyproject), "--no-cache", str(path)]
        checked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("rate", "wanted"), [(22050, 16000), (48000, 16000), (8000, 16000), (44100, 22050)])
def test_resampling_is_scipys(rate: int, wanted: int):
    samples = np.random.default_rng(0).normal(size=5001).astype(np.float32)
    divisor = np.gcd(rate, wanted)
    expected = resample_poly(samples, wanted // divisor, rate // divisor)
    np.testing.assert_allclose(resampled(samples, rate, wanted), expected, atol=2e-6)


def test_channels_are_averaged(tmp_path: Path):
    left, right = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 100))
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    np.testing.assert_allclose(mono(tmp_path / "stereo.wav", 16000), (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("content", [b"no audio", b""])
def test_what_is_no_audio_is_one_line(tmp_path: Path, content: bytes):
    (tmp_path / "clip.wav").write_bytes(content)
    with pytest.raises(SystemExit, match=r"clip\.wav: not readable as audio"):
        mono(tmp_path / "clip.wav", 16000)
    with pytest.raises(SystemExit, match=r"none\.wav: not readable as audio"):
        mono(tmp_path / "none.wav", 16000)


def test_windows_cover_all_samples_and_silence_follows_the_last():
    samples = np.arange(1, 26, dtype=np.float32)
    found = windows(samples, 10, 4)
    assert found.shape == (5, 10)
    np.testing.assert_array_equal(found[:, 0], [1, 5, 9, 13, 17])
    np.testing.assert_array_equal(found[-1], [*range(17, 26), 0])
    np.testing.assert_array_equal(windows(samples[:7], 10, 4), [[*range(1, 8), 0, 0, 0]])


def test_a_word_in_neighbouring_windows_is_heard_once_where_it_is_surest():
    yes, no = [0.9, 0.1, 0.0], [0.3, 0.7, 0.0]
    surer, silence, unsure = [0.05, 0.95, 0.0], [0.1, 0.0, 0.9], [0.4, 0.3, 0.3]
    scores = np.array([yes, no, surer, no, silence, no, unsure])
    assert heard(scores, ["yes", "no", "_silence_"], 0.5) == [
        (0, "yes", 0.9),
        (2, "no", 0.95),
        (5, "no", 0.7),
    ]


def test_texts_are_those_of_greedy_ctc():
    names = ["<blank>", "\u2581a", "b", "<0xC3>", "<0xA9>"]
    best = np.random.default_rng(0).integers(0, len(names), 200)
    best[:4] = [3, 4, 0, 1]
    scores = torch.nn.functional.one_hot(torch.from_numpy(best), len(names)).float().log()[None]
    expected = decode(names, greedy(scores, torch.tensor([200]))[0].tokens)
    assert recognition.spelt(best, names) == expected
    assert expected.startswith("é a")


def test_long_audio_is_cut_where_it_is_quiet_and_nothing_is_lost():
    rate = 100
    samples = np.random.default_rng(0).normal(size=45 * rate)
    for pause in (17, 34):
        samples[pause * rate : pause * rate + rate] = 0
    found = list(recognition.pieces(samples, rate))
    np.testing.assert_array_equal(np.concatenate(found), samples)
    cuts = np.cumsum([len(piece) for piece in found])[:-1] / rate
    assert len(cuts) == 2
    assert all(pause <= cut <= pause + 1 for pause, cut in zip((17, 34), cuts, strict=True))


@pytest.mark.parametrize("frontend", [Mel(), Mel(16000, 800, 200, 1024)])
def test_mel_bands_and_griffin_lim_are_the_packages(frontend: Mel, monkeypatch: pytest.MonkeyPatch):
    filters = griffin_lim.mel_filters(frontend.settings)
    np.testing.assert_allclose(filters, frontend.filters.T, atol=1e-5 * float(frontend.filters.max()))
    generator = torch.Generator().manual_seed(0)
    mel = frontend(0.1 * torch.randn(1, 20 * frontend.hop_length, generator=generator))
    # Small differences grow with every iteration, so few are compared.
    monkeypatch.setattr(griffin_lim, "ITERATIONS", 2)
    expected = GriffinLim(frontend, iterations=2)(mel)[0]
    said = griffin_lim.griffin_lim(mel[0].numpy(), frontend.settings)
    np.testing.assert_allclose(said, expected, atol=3e-3 * float(expected.abs().max()))


def test_characters_are_spelt_as_in_training():
    tokens = SpokenCharacters.of(SENTENCES, "en")
    told = {"classes": tokens.pieces, "spelling": "characters"}
    for text in SENTENCES:
        assert synthesis.tokens(text, told, False) == tokens.encode(text)
    letters = PublishedLetters()
    assert synthesis.tokens("Good morning!", {**told, "classes": letters.pieces}, False) == letters.encode(
        "Good morning!"
    )
    with pytest.raises(SystemExit, match="cannot say 7"):
        synthesis.tokens("at 7", told, False)
    with pytest.raises(SystemExit, match="nothing to say"):
        synthesis.tokens(" ", told, False)


def test_phones_are_spelt_as_in_training():
    pytest.importorskip("phonemizer")
    tokens = Phonemes.of(SENTENCES, "en-us")
    told = {"classes": tokens.pieces, "spelling": "phonemes", "voice": "en-us"}
    for text in SENTENCES:
        assert synthesis.tokens(text, told, False) == tokens.encode(text)
    line = " ".join(tokens.pieces[2:])
    assert synthesis.tokens(line, told, True) == [1, *range(2, tokens.size), 1]
    with pytest.raises(SystemExit, match="never heard ʘ"):
        synthesis.tokens("ʘ", told, True)


def test_without_phonemizer_a_text_names_both_ways_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "phonemizer.backend", None)
    told = {"classes": ["<blank>", "_", "h"], "spelling": "phonemes", "voice": "en-us"}
    with pytest.raises(SystemExit, match=r"install phonemizer-fork .* --phones"):
        synthesis.tokens("hello", told, False)


def test_a_vocoder_that_is_asked_for_is_found_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(synthesis, "HERE", tmp_path)
    assert synthesis.vocoder_file(None) is None  # Griffin-Lim
    (tmp_path / "vocoder.onnx").touch()
    assert synthesis.vocoder_file(None) == tmp_path / "vocoder.onnx"
    folder = tmp_path / "other"
    with pytest.raises(SystemExit, match=r"--vocoder .*other: there is no file .*other"):
        synthesis.vocoder_file(folder)
    folder.mkdir()
    with pytest.raises(SystemExit, match=r"there is no file .*other/network_fp32\.onnx"):
        synthesis.vocoder_file(folder)
    (folder / "network_fp32.onnx").touch()
    (folder / "network_int8.onnx").touch()
    assert synthesis.vocoder_file(folder) == folder / "network_fp32.onnx"
    assert synthesis.vocoder_file(folder / "network_int8.onnx") == folder / "network_int8.onnx"
