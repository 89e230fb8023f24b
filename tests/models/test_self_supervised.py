"""Encoders of torchaudio with a pooling head: published sizes, torchaudio's own outputs, padding, and bad files."""

import pickle
from pathlib import Path

import pytest
import torch
import torchaudio
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import Tensor, nn
from torchaudio.pipelines import Wav2Vec2Bundle
from torchaudio.pipelines._wav2vec2.utils import _extend_model

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.models.self_supervised import (
    LayerPooling,
    TorchaudioEncoder,
    TorchaudioNetwork,
    standardised,
)

TINY = {
    "extractor_conv_layer_config": [(16, 10, 5), (16, 3, 4), (16, 3, 4)],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 32,
    "encoder_projection_dropout": 0.1,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 3,
    "encoder_num_heads": 4,
    "encoder_attention_dropout": 0.1,
    "encoder_ff_interm_features": 48,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.5,
    "aux_num_out": None,
}
WAV2VEC2 = TINY | {"encoder_ff_interm_dropout": 0.1}
SMALL = WAV2VEC2 | {"extractor_mode": "group_norm", "encoder_layer_norm_first": False}
LARGE = WAV2VEC2 | {"extractor_mode": "layer_norm", "encoder_layer_norm_first": True}
WAVLM = TINY | {
    "extractor_mode": "group_norm",
    "encoder_layer_norm_first": False,
    "encoder_num_buckets": 16,
    "encoder_max_distance": 32,
    "encoder_ff_interm_dropout": 0.1,
}
BUNDLES = {
    "SMALL": Wav2Vec2Bundle("small.pth", SMALL, 16000, False, "Wav2Vec2"),
    "LARGE": Wav2Vec2Bundle("large.pth", LARGE, 16000, True, "Wav2Vec2"),
    "WAVLM": Wav2Vec2Bundle("wavlm.pth", WAVLM, 16000, False, "WavLM"),
}


@pytest.fixture(autouse=True)
def _bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles of the published kinds whose encoders are tiny."""
    for name, bundle in BUNDLES.items():
        monkeypatch.setattr(torchaudio.pipelines, name, bundle, raising=False)


def theirs(name: str, **settings: object) -> nn.Module:
    """torchaudio's own model of a tiny bundle, with random weights."""
    bundle = BUNDLES[name]
    factory = torchaudio.models.wavlm_model if name == "WAVLM" else torchaudio.models.wav2vec2_model
    return factory(**bundle._params | settings).eval()


def saved(model: nn.Module, folder: Path) -> str:
    torch.save(model.state_dict(), folder / "weights.pth")
    return str(folder / "weights.pth")


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("bundle", "published"),
    [
        ("WAV2VEC2_BASE", 95e6),  # Baevski et al. 2020
        ("WAV2VEC2_LARGE_LV60K", 317e6),
        ("HUBERT_BASE", 95e6),  # Hsu et al. 2021, table 1
        ("HUBERT_LARGE", 317e6),
        ("WAVLM_BASE", 94.70e6),  # Chen et al. 2022, table 1
        ("WAVLM_LARGE", 316.62e6),
    ],
)
def test_parameters_are_within_two_percent_of_the_papers(bundle: str, published: float) -> None:
    with torch.device("meta"):
        assert parameters(TorchaudioEncoder(bundle, None)) == pytest.approx(published, rel=0.02)


@pytest.mark.parametrize("name", ["wav2vec2", "hubert", "wavlm"])
def test_each_teacher_file_hears_waveforms_and_builds(name: str) -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=[f"teacher={name}"])
    node = OmegaConf.to_container(config.teacher, resolve=True)
    assert isinstance(node, dict)
    frontend = build(node["frontend"])
    with torch.device("meta"):
        network = build(node["network"], nn.Module, classes=12)
        logits = network(frontend(torch.zeros(2, 16000))).logits
    assert logits.shape == (2, 12)
    assert parameters(network) == pytest.approx(94.5e6, rel=0.01)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_hidden_states_are_torchaudios(bundle: str, tmp_path: Path) -> None:
    model, waveform = theirs(bundle), torch.randn(2, 4000)
    expected, _ = model.extract_features(waveform)
    encoder = TorchaudioEncoder(bundle, saved(model, tmp_path)).eval()
    found, frames = encoder(waveform, None)
    assert len(found) == encoder.layers == 3
    assert frames is None
    for ours, others in zip(found, expected, strict=True):
        assert torch.equal(ours, others)


def test_a_clip_is_normalised_as_torchaudio_does_by_itself(tmp_path: Path) -> None:
    model, waveform = theirs("LARGE"), 1 + 0.003 * torch.randn(1, 4000)
    wrapped = _extend_model(model, normalize_waveform=True)
    network = TorchaudioNetwork(5, "LARGE", saved(model, tmp_path)).eval()
    pooled = network.pooling(wrapped.extract_features(waveform)[0])
    torch.testing.assert_close(network(waveform).logits, network.head(pooled))


def test_a_recogniser_gives_its_encoder(tmp_path: Path) -> None:
    recogniser = theirs("SMALL", aux_num_out=29)
    encoder = TorchaudioEncoder("SMALL", saved(recogniser, tmp_path)).eval()
    waveform = torch.randn(1, 4000)
    assert torch.equal(encoder(waveform, None)[0][-1], recogniser.extract_features(waveform)[0][-1])


def test_pooling_is_the_mean_over_valid_frames_of_the_weighted_layers() -> None:
    pooling = LayerPooling(3).double()
    nn.init.normal_(pooling.scores)
    states = [torch.randn(2, 7, 4, dtype=torch.float64) for _ in range(3)]
    shares = pooling.scores.exp() / pooling.scores.exp().sum()
    mixed = sum(share * state for share, state in zip(shares, states, strict=True))
    assert isinstance(mixed, Tensor)
    torch.testing.assert_close(pooling(states), mixed.mean(dim=1))
    expected = torch.stack([mixed[0, :3].mean(dim=0), mixed[1].mean(dim=0)])
    torch.testing.assert_close(pooling(states, torch.tensor([3, 7])), expected)


def test_all_layers_count_alike_at_first() -> None:
    states = [torch.full((1, 2, 3), float(value)) for value in (1, 2, 6)]
    torch.testing.assert_close(LayerPooling(3)(states), torch.full((1, 3), 3.0))


def test_standardised_clips_have_no_mean_and_unit_variance_over_their_own_samples() -> None:
    waveform, lengths = 5 + 0.1 * torch.randn(2, 1000), torch.tensor([1000, 600])
    waveform[1, 600:] = 0
    normal = standardised(waveform, lengths, 1e-7)
    assert normal[1, 600:].eq(0).all()
    for clip, length in zip(normal, lengths, strict=True):
        assert clip[:length].mean().abs() < 1e-4
        assert clip[:length].std(correction=0) == pytest.approx(1, abs=1e-4)
    alone = standardised(waveform[1:, :600], None, 1e-7)
    torch.testing.assert_close(normal[1:, :600], alone, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bundle", BUNDLES)
def test_logits_of_a_clip_do_not_depend_on_others_of_its_length(bundle: str) -> None:
    network = TorchaudioNetwork(5, bundle).eval()
    waveform = torch.randn(3, 4000) * torch.tensor([[1.0], [0.01], [5.0]])
    together = network(waveform, torch.full((3,), 4000)).logits
    torch.testing.assert_close(together[1:2], network(waveform[1:2]).logits, rtol=1e-4, atol=1e-5)


def test_layer_norm_encoders_ignore_padding() -> None:
    network = TorchaudioNetwork(5, "LARGE").eval()
    assert not network.depends_on_padding
    waveform = torch.randn(2, 4000)
    waveform[1, 2500:] = 0
    ragged = network(waveform, torch.tensor([4000, 2500])).logits
    torch.testing.assert_close(ragged[1:], network(waveform[1:, :2500]).logits, rtol=1e-4, atol=1e-5)


def test_group_norm_encoders_depend_on_padding_and_refuse_it() -> None:
    network = TorchaudioNetwork(5, "SMALL").eval()
    waveform = torch.randn(1, 2500)
    padded = nn.functional.pad(waveform, (0, 1500))
    alone, _ = network.encoder(waveform, None)
    together, frames = network.encoder(padded, torch.tensor([2500]))
    assert (together[-1][:, : int(frames[0])] - alone[-1]).abs().max() > 0.1
    assert network.depends_on_padding
    with pytest.raises(ValueError, match="outputs depend on padding: give it clips of one length"):
        network(padded, torch.tensor([2500]))


def test_torchaudios_wavlm_takes_no_lengths() -> None:
    network = TorchaudioNetwork(5, "WAVLM").eval()
    with pytest.raises(AssertionError):
        network.encoder(torch.randn(2, 4000), torch.tensor([4000, 2500]))
    assert network.depends_on_padding


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_frozen_encoder_neither_learns_nor_drops(bundle: str) -> None:
    network = TorchaudioNetwork(5, bundle, frozen=True).train()
    waveform = torch.randn(2, 4000)
    assert torch.equal(network(waveform).logits, network(waveform).logits)
    network(waveform).logits.square().sum().backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learning == {"pooling.scores", "head.weight", "head.bias"}


@pytest.mark.parametrize("bundle", BUNDLES)
def test_fine_tuning_reaches_all_but_the_extractor(bundle: str) -> None:
    network = TorchaudioNetwork(5, bundle, frozen=False).train()
    network(torch.randn(2, 4000)).logits.square().sum().backward()
    wanting = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert wanting == {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    frozen = {name for name, _ in network.named_parameters()} - wanting
    silent = {f"encoder.model.encoder.transformer.layer_norm.{part}" for part in ("weight", "bias")}
    extractor = {
        f"encoder.model.feature_extractor.{name}" for name, _ in network.encoder.extractor.named_parameters()
    }
    assert frozen - silent == extractor


def test_other_sample_rates_and_unknown_bundles_are_refused() -> None:
    with pytest.raises(ValueError, match="hears 16000 Hz and the frontend gives 8000 Hz"):
        TorchaudioNetwork(5, "SMALL", sample_rate=8000)
    for name in ("WAV2VEC3", "HDEMUCS_HIGH_MUSDB"):
        with pytest.raises(ValueError, match=f"no encoder '{name}'; it has HUBERT_ASR_LARGE, .*WAVLM_LARGE"):
            TorchaudioNetwork(5, name)


def test_missing_weights_say_which_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none\.pth does not exist: .*pipelines\.SMALL \(small\.pth\)"
    ):
        TorchaudioNetwork(5, "SMALL", str(tmp_path / "none.pth"))


def test_weights_of_another_encoder_are_refused(tmp_path: Path) -> None:
    path = saved(theirs("SMALL", encoder_num_layers=2), tmp_path)
    with pytest.raises(ValueError, match=r"another network: encoder.transformer.layers.2.* is missing \(and"):
        TorchaudioNetwork(5, "SMALL", path)
    path = saved(theirs("SMALL", encoder_embed_dim=64), tmp_path)
    with pytest.raises(ValueError, match=r"another network: size mismatch for encoder\."):
        TorchaudioNetwork(5, "SMALL", path)


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_pickles_are_not_run_and_damaged_files_are_named(tmp_path: Path) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "ran"
    torch.save({"weight": Marker(marker)}, path)
    with pytest.raises(ValueError, match=r"weights\.pth is damaged or holds more than weights"):
        TorchaudioNetwork(5, "SMALL", str(path))
    assert not marker.exists()
    pickle.loads(pickle.dumps(Marker(marker)))
    assert marker.exists()  # as it would have been
    torch.save({"model": {"weight": torch.zeros(1)}}, path)
    with pytest.raises(ValueError, match=r"weights\.pth holds more than weights"):
        TorchaudioNetwork(5, "SMALL", str(path))
    saved(theirs("SMALL"), tmp_path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"weights\.pth is damaged"):
        TorchaudioNetwork(5, "SMALL", str(path))
