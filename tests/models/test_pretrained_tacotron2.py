"""torchaudio's Tacotron 2: its words from its file, its mels, and noise that every sentence shares."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from tiny_tacotron import tiny_bundle
from torch.nn import functional
from torchaudio.pipelines import TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH as BUNDLE

from kd_lightning.frontend.mel import Mel
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.pretrained_tacotron2 import MEL, PretrainedTacotron2

TEXT = "Hello, world!"


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[torchaudio.models.Tacotron2, Path]:
    """torchaudio's network and the file of its weights, as a bundle TINY."""
    bundle, network, path = tiny_bundle(tmp_path)
    monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
    return network, path


def loaded(path: Path | None, **more: object) -> PretrainedTacotron2:
    weights = None if path is None else str(path)
    return PretrainedTacotron2(80, "TINY", weights, max_frames_per_token=1.0, **more).eval()


def sentences(network: PretrainedTacotron2, *texts: str) -> Sentences:
    spelt = [torch.tensor(network.tokens.encode(text)) for text in texts]
    lengths = torch.tensor([len(tokens) for tokens in spelt])
    return Sentences(torch.nn.utils.rnn.pad_sequence(spelt, batch_first=True), lengths, lengths * 0)


@torch.no_grad()
def test_a_file_of_torchaudios_speaks_as_it_does_there(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, path = tiny
    monkeypatch.setattr(functional, "dropout", lambda hidden, *_, **__: hidden)
    ours = loaded(path, prenet_dropout=0.0)
    reference.decoder.decoder_max_step = 100
    tokens, lengths = BUNDLE.get_text_processor()(TEXT)
    with pytest.warns(UserWarning, match="Reached max decoder steps"):
        mel, _, attention = reference.infer(tokens, lengths)
    said = ours(sentences(ours, TEXT))
    torch.testing.assert_close(said.mel, mel, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(said.attention, attention, rtol=1e-4, atol=1e-4)
    assert said.ended.tolist() == [False]


@torch.no_grad()
def test_the_published_network_has_the_published_size() -> None:
    with torch.device("meta"):
        network = PretrainedTacotron2(80)
        theirs = torchaudio.models.Tacotron2(**BUNDLE._tacotron2_params)
    assert parameters(network) == parameters(theirs)
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.state_dict().items()
    }


def test_its_mels_are_ours_half_a_hop_later() -> None:
    """The transform is that of torchaudio's recipe for LJ Speech; its frames are centred on the beginnings of hops."""
    assert Mel().settings == MEL
    theirs = torchaudio.transforms.MelSpectrogram(
        22050, n_fft=1024, win_length=1024, hop_length=256, f_min=0.0, f_max=8000.0, n_mels=80, power=1.0,
        norm="slaney", mel_scale="slaney",
    )  # fmt: skip
    waveform = torch.from_numpy(np.random.default_rng(0).normal(0, 0.1, 40 * 256)).float()
    expected = theirs(waveform).clamp(min=1e-5).log()
    ours = Mel()(functional.pad(waveform, (128, 0))[None])[0]
    assert ours.shape == expected.shape == (80, 41)
    torch.testing.assert_close(ours[:, 2:-2], expected[:, 2:-2], rtol=0, atol=1e-5)
    vocoder = BUNDLE.get_vocoder()
    assert vocoder.sample_rate == Mel().sample_rate
    torch.testing.assert_close(Mel().filters, vocoder._inv_mel.fb)


def test_other_mels_are_refused(tiny) -> None:
    AcousticModel(Mel(), loaded(None))
    with pytest.raises(
        ValueError, match=r"speaks mels of its own \(sample_rate: 22050, here 16000; hop_length"
    ):
        AcousticModel(Mel(16000, hop_length=200), loaded(None))


@torch.no_grad()
def test_noise_in_eval_mode_is_of_the_step_and_not_of_the_sentence(tiny) -> None:
    network = loaded(tiny[1])
    many = sentences(network, TEXT, "Go.", "Yes, you!")
    together, again = network(many), network(many)
    assert torch.equal(together.mel, again.mel)
    for row, text in enumerate((TEXT, "Go.", "Yes, you!")):
        alone = network(sentences(network, text))
        frames = int(alone.frames)
        assert together.frames[row] == frames
        torch.testing.assert_close(together.mel[row, :, :frames], alone.mel[0], rtol=1e-4, atol=1e-4)
    quiet = loaded(tiny[1], prenet_dropout_at_inference=False)
    assert not torch.allclose(quiet(many).mel, together.mel, atol=1e-3)


@torch.no_grad()
def test_half_of_the_prenet_is_dropped_anew_in_each_step(tiny) -> None:
    network = PretrainedTacotron2(80, "TINY").eval()
    prenet = network.decoder.prenet
    masks = torch.stack([prenet._kept(200, step, layer) for step in range(50) for layer in range(2)])
    assert set(masks.unique().tolist()) == {0.0, 2.0}
    assert float(masks.mean()) == pytest.approx(1.0, abs=0.05)
    assert len(masks.unique(dim=0)) == len(masks)
    # Step by step as all at once.
    frames = torch.randn(2, 7, 80)
    prenet.step = 0
    at_once = prenet(frames)
    prenet.step = 0
    torch.testing.assert_close(torch.stack([prenet(frame) for frame in frames.unbind(1)], dim=1), at_once)
    draws = [network.train().decoder.prenet(frames) for _ in range(2)]
    assert not torch.equal(*draws)


@pytest.mark.parametrize(
    ("bundle", "said"),
    [
        ("TACOTRON2_WAVERNN_CHAR_LJSPEECH", "speaks the mels of its WaveRNN"),
        ("TACOTRON2_GRIFFINLIM_PHONE_LJSPEECH", "is told phonemes that DeepPhonemizer writes"),
        ("WAV2VEC2_BASE", "has no Tacotron 2 'WAV2VEC2_BASE'"),
    ],
)
def test_bundles_of_no_use_are_refused(bundle: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PretrainedTacotron2(80, bundle)


def test_files_of_no_use_are_refused(tiny, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none\.pth does not exist: fetch the weights of a Tacotron2 bundle"
    ):
        loaded(tmp_path / "none.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other\.pth holds the weights of another network: a is not in this one"
    ):
        loaded(tmp_path / "other.pth")
