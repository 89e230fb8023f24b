"""The audio that a run keeps: of what was understood worst, as it was heard."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
import torch
import wandb
from pytorch_lightning.loggers import WandbLogger
from wandb_files import close_wandb, read_logged

from kd_lightning.callbacks.kept_audio import KeptAudio
from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.utterance_batches import UtteranceBatch
from kd_lightning.frontend.features import SpecMasks

RATE = 16000


def batch(cuts: list[str], samples: list[int]) -> UtteranceBatch:
    """Utterances of which each sample is its number over 1000, padded to the longest."""
    nothing = SpecMasks(torch.zeros(len(cuts), 0, 2), torch.zeros(len(cuts), 0, 2))
    lengths = torch.tensor(samples)
    number = torch.tensor([float(cut[-1]) for cut in cuts])[:, None] / 1000
    waveform = torch.where(torch.arange(max(samples)) < lengths[:, None], number, 0.0)
    none = torch.zeros(len(cuts), 0, dtype=torch.long)
    labelled = torch.ones(len(cuts), dtype=torch.bool)
    texts = ["a b c"] * len(cuts)
    return UtteranceBatch(
        waveform, lengths, none, lengths * 0, labelled, nothing, nothing, cuts, texts, texts, lengths.float()
    )


@pytest.fixture
def module():
    student = SimpleNamespace(frontend=SimpleNamespace(sample_rate=RATE))
    return SimpleNamespace(predictions=[], student=student)


def test_the_worst_utterances_are_kept_as_they_were_heard(module, tmp_path) -> None:
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), loggers=[])
    kept = KeptAudio(most=2)
    kept.on_test_start(trainer, module)
    outputs = {"cut/1": "a b c", "cut/2": "x y z", "cut/3": "a b", "cut/4": "a y z"}
    for cuts, samples in ((["cut/1", "cut/2"], [300, 200]), (["cut/3", "cut/4"], [500, 400])):
        module.predictions += [{"reference": "a b c", "output": outputs[cut]} for cut in cuts]
        kept.on_test_batch_end(trainer, module, None, batch(cuts, samples), 0)
    kept.on_test_end(trainer, module)
    assert {path.name for path in (tmp_path / "audio").iterdir()} == {"cut%2F2.flac", "cut%2F4.flac"}
    for number, length in ((2, 200), (4, 400)):
        waveform, rate = sf.read(tmp_path / "audio" / f"cut%2F{number}.flac")
        assert (rate, waveform.shape) == (RATE, (length,))
        np.testing.assert_allclose(waveform, number / 1000, atol=1 / 32768)


def clips(cuts: list[str]) -> KeywordBatch:
    """Clips of which each sample is its number over 1000."""
    waveform = torch.tensor([float(cut[-1]) for cut in cuts])[:, None].expand(-1, RATE) / 1000
    nothing = SpecMasks(torch.zeros(len(cuts), 0, 2), torch.zeros(len(cuts), 0, 2))
    unknown = torch.full((len(cuts),), torch.nan)
    return KeywordBatch(waveform, torch.zeros(len(cuts), dtype=torch.long), nothing, cuts, cuts, unknown)


def test_of_clips_of_words_the_surest_mistakes_are_kept(module, tmp_path) -> None:
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), loggers=[])
    kept = KeptAudio(most=2)
    heard = {"yes/1": ("yes", 1.0), "yes/2": ("no", 0.5), "yes/3": ("go", 0.9), "yes/4": ("no", 0.7)}
    module.predictions = [
        {"reference": "yes", "output": output, "score": score} for output, score in heard.values()
    ]
    kept.on_test_batch_end(trainer, module, None, clips(list(heard)), 0)
    kept.on_test_end(trainer, module)
    assert {path.name for path in (tmp_path / "audio").iterdir()} == {"yes%2F3.flac", "yes%2F4.flac"}
    waveform, rate = sf.read(tmp_path / "audio" / "yes%2F3.flac")
    assert (rate, waveform.shape) == (RATE, (RATE,))
    np.testing.assert_allclose(waveform, 0.003, atol=1 / 32768)


def test_the_keywords_of_a_recogniser_are_not_kept(module, tmp_path) -> None:
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), loggers=[])
    kept = KeptAudio()
    module.predictions = [{"reference": "a b c", "output": "a"}]
    kept.on_test_batch_end(trainer, module, None, clips(["yes/1"]), 0, 1)
    kept.on_test_end(trainer, module)
    assert not (tmp_path / "audio").exists()


def test_wandb_holds_the_worst_few_with_what_was_said(module, tmp_path, monkeypatch) -> None:
    for name, value in {"MODE": "offline", "SILENT": "true"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()
    logger = WandbLogger(project="p", save_dir=str(tmp_path), offline=True)
    trainer = SimpleNamespace(default_root_dir=str(tmp_path), loggers=[logger], global_step=7)
    kept = KeptAudio()
    kept.on_test_start(trainer, module)
    module.predictions += [
        {"reference": "a b c", "output": "x y z"},
        {"reference": "a b c", "output": "a b c"},
    ]
    kept.on_test_batch_end(trainer, module, None, batch(["cut/1", "cut/2"], [300, 200]), 0)
    kept.on_test_end(trainer, module)
    close_wandb()
    sounds = (tmp_path / "wandb").glob("offline-run-*/files/media/audio/samples/worst_*.wav")
    assert sorted(sf.info(path).frames for path in sounds) == [200, 300]
    assert read_logged(tmp_path).summary["samples/worst.captions"] == ["a b c -> x y z", "a b c -> a b c"]
