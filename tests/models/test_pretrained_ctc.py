"""Published recognisers: their own scores in our order of tokens, padding, short clips, and files that do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import torchaudio
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.pipelines import Wav2Vec2ASRBundle
from torchaudio.pipelines._wav2vec2.utils import _extend_model

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.tokens import Characters
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.pretrained_ctc import HuggingFaceCTC, PretrainedCTC, TorchaudioCTC, in_our_order

transformers = pytest.importorskip("transformers")

SIZES = {
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
    "encoder_ff_interm_dropout": 0.1,
    "encoder_dropout": 0.1,
    "encoder_layer_drop": 0.5,
    "aux_num_out": 5,
}
SMALL = SIZES | {"extractor_mode": "group_norm", "encoder_layer_norm_first": False}
LARGE = SIZES | {"extractor_mode": "layer_norm", "encoder_layer_norm_first": True}
LABELS = ("|", "B", "'", "A")
BUNDLES = {
    "SMALL": Wav2Vec2ASRBundle("small.pth", SMALL, 16000, False, "Wav2Vec2", LABELS),
    "LARGE": Wav2Vec2ASRBundle("large.pth", LARGE, 16000, True, "Wav2Vec2", LABELS),
}
OURS = ["<blank>", " ", "'", "a", "b"]
ORDER = [0, 1, 3, 4, 2]  # of "-|B'A"
# The first frame hears 10 + 2 * 5 + 2 * 20 samples, and each further one 80 more.
SHORTEST, STRIDE = 60, 80

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 3, 3),
    "conv_stride": (5, 4, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "final_dropout": 0.5,
}
GROUP = TINY | {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LAYER = TINY | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}
VOCABULARY = {"<s>": 0, "</s>": 1, "E": 2, "<pad>": 3, "|": 4, "<unk>": 5, "Ä": 6, "C": 7}


@pytest.fixture(autouse=True)
def _bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recognisers of the published kinds that are tiny."""
    for name, bundle in BUNDLES.items():
        monkeypatch.setattr(torchaudio.pipelines, name, bundle, raising=False)


def moved(model: nn.Module) -> nn.Module:
    """Weights far from the initial ones, with which all frames look alike."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def theirs(name: str, folder: Path) -> tuple[nn.Module, str]:
    """torchaudio's own tiny recogniser with random weights, and its file as the published ones are."""
    bundle = BUNDLES[name]
    model = moved(torchaudio.models.wav2vec2_model(**bundle._params))
    state = dict(model.state_dict())
    for part in ("aux.weight", "aux.bias"):  # fairseq's dictionary has three symbols after the blank
        state[part] = torch.cat((state[part][:1], torch.randn_like(state[part][:3]), state[part][1:]))
    torch.save(state, folder / "weights.pth")
    return _extend_model(model, normalize_waveform=bundle._normalize_waveform), str(folder / "weights.pth")


def written(folder: Path, model_type: str = "Wav2Vec2", **settings: Any) -> nn.Module:
    """A tiny ``*ForCTC`` with random weights, saved by transformers as published ones are."""
    config = getattr(transformers, f"{model_type}Config")(**(LAYER | {"vocab_size": 8} | settings))
    model = moved(getattr(transformers, f"{model_type}ForCTC")(config))
    model.save_pretrained(folder)  # type: ignore[operator]
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps(VOCABULARY))
    return model


def edited(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def alone(waveform: Tensor) -> tuple[Tensor, Tensor]:
    return waveform, torch.full((len(waveform),), waveform.shape[1])


@torch.no_grad()
@pytest.mark.parametrize("bundle", BUNDLES)
def test_scores_are_torchaudios_in_our_order(bundle: str, tmp_path: Path) -> None:
    model, path = theirs(bundle, tmp_path)
    network, waveform = TorchaudioCTC(bundle, path).eval(), 1 + torch.randn(1, 4000)
    assert network.pieces == OURS
    expected, _ = model(waveform)
    output = network(*alone(waveform))
    torch.testing.assert_close(output.logits, expected[..., ORDER], rtol=1e-4, atol=1e-4)
    assert output.lengths.tolist() == [expected.shape[1]] == [(4000 - SHORTEST) // STRIDE + 1]
    assert network.subsampling == STRIDE


@torch.no_grad()
@pytest.mark.parametrize("norm", [GROUP, LAYER], ids=["group", "layer"])
@pytest.mark.parametrize("model_type", ["Wav2Vec2", "Hubert", "WavLM"])
def test_scores_are_those_of_transformers_in_our_order(
    model_type: str, norm: dict[str, Any], tmp_path: Path
) -> None:
    model, waveform = written(tmp_path, model_type, **norm), torch.randn(2, 4000)
    network = HuggingFaceCTC(str(tmp_path)).eval()
    assert network.pieces == ["<blank>", " ", "c", "e", "ä"]
    expected = model(waveform).logits[..., [3, 4, 7, 2, 6]]
    torch.testing.assert_close(network(*alone(waveform)).logits, expected, rtol=1e-4, atol=1e-4)


def test_an_english_bundle_spells_with_the_alphabet_of_english_transcripts() -> None:
    labels = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H.get_labels()
    pieces, rows = in_our_order(0, {label: number for number, label in enumerate(labels) if number})
    assert pieces == Characters("abcdefghijklmnopqrstuvwxyz'").pieces
    assert [labels[row].lower() for row in rows[2:]] == pieces[2:]
    assert rows[:2] == [0, 1]


def test_capitals_stay_where_small_letters_mean_something_else() -> None:
    pieces, rows = in_our_order(3, {"a": 0, "A": 1, "|": 2})
    assert pieces == ["<blank>", " ", "A", "a"]
    assert rows == [3, 2, 1, 0]


@torch.no_grad()
@pytest.mark.parametrize("kind", ["SMALL", "LARGE", "group", "layer"])
def test_padding_is_unheard(kind: str, tmp_path: Path) -> None:
    network = _network(kind, tmp_path).eval()
    assert network.depends_on_padding == (kind in ("SMALL", "group"))
    lengths = torch.tensor([4000, 2500, 61, 4000, 1])
    waveform = torch.randn(5, 4000)
    for clip, length in zip(waveform, lengths, strict=True):
        clip[length:] = 0
    together = network(waveform, lengths)
    assert together.lengths.tolist() == [50, 31, 1, 50, 1]
    for index, length in enumerate(lengths.tolist()):
        one = network(*alone(waveform[index : index + 1, :length]))
        frames = int(one.lengths)
        assert frames == together.lengths[index]
        torch.testing.assert_close(together.logits[index, :frames], one.logits[0], rtol=1e-4, atol=1e-4)
    hidden, frames = network.encode(waveform, lengths)
    assert hidden.shape[2] == network.width
    torch.testing.assert_close(network.ctc(hidden), together.logits)


def _network(kind: str, folder: Path) -> PretrainedCTC:
    if kind in BUNDLES:
        return TorchaudioCTC(kind, theirs(kind, folder)[1])
    written(folder, **(GROUP if kind == "group" else LAYER))
    return HuggingFaceCTC(str(folder))


@pytest.mark.parametrize("kind", ["SMALL", "LARGE", "group", "layer"])
def test_fine_tuning_reaches_all_but_the_convolutions(kind: str, tmp_path: Path) -> None:
    network = _network(kind, tmp_path).train()
    output = network(torch.randn(2, 4000), torch.tensor([4000, 3000]))
    scores = output.logits.log_softmax(dim=2).transpose(0, 1)
    functional.ctc_loss(
        scores, torch.ones(2, 3, dtype=torch.int64), output.lengths, torch.tensor([3, 2])
    ).backward()
    silent = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    frozen = {
        f"encoder.model.feature_extractor.{name}" for name, _ in network.encoder.extractor.named_parameters()
    }
    assert silent - {"encoder.model.masked_spec_embed"} == frozen
    assert not network.encoder.extractor.training


def test_weights_of_an_encoder_alone_are_refused(tmp_path: Path) -> None:
    _, path = theirs("SMALL", tmp_path)
    state = torch.load(path, weights_only=True)
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("aux")}, path)
    with pytest.raises(
        ValueError, match=r"weights\.pth has no aux\.weight: these are the weights of an encoder"
    ):
        TorchaudioCTC("SMALL", path)
    model = written(tmp_path)
    model.wav2vec2.save_pretrained(tmp_path)
    edited(tmp_path / "config.json", vocab_size=8)
    with pytest.raises(
        ValueError, match=r"model\.safetensors has no lm_head\.weight: these are the weights of"
    ):
        HuggingFaceCTC(str(tmp_path))


def test_an_alphabet_of_another_recogniser_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    edited(tmp_path / "vocab.json", Z=8)
    with pytest.raises(
        ValueError, match=r"vocab\.json has number 8 for 'Z' and config\.json says 8 tokens: they"
    ):
        HuggingFaceCTC(str(tmp_path))
    edited(tmp_path / "config.json", vocab_size=9)
    with pytest.raises(
        ValueError, match=r"safetensors scores 8 tokens and its alphabet has number 8: they do not"
    ):
        HuggingFaceCTC(str(tmp_path))
    edited(tmp_path / "vocab.json", Z={"A": 0})
    with pytest.raises(ValueError, match=r"vocab\.json has alphabets of several languages"):
        HuggingFaceCTC(str(tmp_path))
    (tmp_path / "vocab.json").write_text('{"A": 0}')
    with pytest.raises(ValueError, match=r"vocab\.json has no <pad>, which is the blank"):
        HuggingFaceCTC(str(tmp_path))
    (tmp_path / "vocab.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"vocab\.json is missing: copy it"):
        HuggingFaceCTC(str(tmp_path))


def test_other_names_of_special_tokens_are_those_that_the_folder_says(tmp_path: Path) -> None:
    written(tmp_path)
    names = {"[PAD]": 3, "_": 4, "[UNK]": 5, "E": 2, "C": 7, "Ä": 6, "<s>": 8, "</s>": 9}
    (tmp_path / "vocab.json").write_text(json.dumps(names))
    said = {"pad_token": "[PAD]", "unk_token": {"content": "[UNK]", "lstrip": False}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(said))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"word_delimiter_token": "_", "bos_token": None})
    )
    usual = HuggingFaceCTC(str(tmp_path))
    (tmp_path / "vocab.json").write_text(json.dumps(VOCABULARY))
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    assert usual.pieces == HuggingFaceCTC(str(tmp_path)).pieces
    assert torch.equal(usual.ctc.weight, HuggingFaceCTC(str(tmp_path)).ctc.weight)


def test_unknown_bundles_and_other_sample_rates_are_refused(tmp_path: Path) -> None:
    for name in ("WAV2VEC2_BASE", "MMS_FA", "WAV2VEC3"):
        with pytest.raises(
            ValueError, match=f"no recogniser '{name}'; it has HUBERT_ASR_LARGE, .*VOXPOPULI_ASR"
        ):
            TorchaudioCTC(name)
    with pytest.raises(ValueError, match="hears 16000 Hz and the frontend gives 8000 Hz"):
        TorchaudioCTC("SMALL", sample_rate=8000)
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        TorchaudioCTC("SMALL", str(tmp_path / "none.pth"))


def test_a_finished_run_needs_no_weights_but_its_own(tmp_path: Path) -> None:
    written(tmp_path)
    trained = moved(HuggingFaceCTC(str(tmp_path)))
    save_file(trained.state_dict(), tmp_path / "network.safetensors")
    (tmp_path / "model.safetensors").unlink()
    again = HuggingFaceCTC(str(tmp_path), weights=None).eval()
    again.load_state_dict(load_file(tmp_path / "network.safetensors"))
    waveform = torch.randn(1, 1000)
    torch.testing.assert_close(again(*alone(waveform)).logits, trained(*alone(waveform)).logits)


def test_the_teacher_file_hears_waveforms_and_builds() -> None:
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=["teacher=wav2vec2_ctc"])
    node = OmegaConf.to_container(config.teacher, resolve=True)
    assert isinstance(node, dict)
    with torch.device("meta"):
        network = build(node["network"], nn.Module)
        output = network(
            build(node["frontend"])(torch.zeros(2, 16000)), torch.tensor([16000, 16000], device="cpu")
        )
    assert output.logits.shape == (2, 49, 29)
    assert parameters(network) == pytest.approx(94.4e6, rel=0.01)  # Baevski et al. 2020: 95M
