"""Encoders from Hugging Face folders: transformers' own outputs, the folder's preprocessing, and what is refused."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file
from torch import nn

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.finished import build_model, finished_model
from kd_lightning.models.hugging_face import MODELS, HuggingFaceEncoder, HuggingFaceNetwork, on_disk
from kd_lightning.models.self_supervised import standardised

transformers = pytest.importorskip("transformers")

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
    "layerdrop": 0.5,
}
SMALL = TINY | {"feat_extract_norm": "group", "do_stable_layer_norm": False}
LARGE = TINY | {"feat_extract_norm": "layer", "do_stable_layer_norm": True}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking up or connecting to any host fails the test."""

    def refuse(*arguments: object, **_: object) -> None:
        pytest.fail(f"reached for the network: {arguments[1:]}")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


def written(folder: Path, model_type: str = "wav2vec2", normalise: bool = True, **settings: Any) -> nn.Module:
    """A tiny model with random weights, saved by transformers."""
    config, encoder = (getattr(transformers, name) for name in MODELS[model_type])
    model: nn.Module = encoder(config(**(SMALL | settings))).eval()
    model.save_pretrained(folder)  # type: ignore[operator]
    transformers.Wav2Vec2FeatureExtractor(do_normalize=normalise).save_pretrained(folder)
    return model


def edited(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("model_type", MODELS)
def test_hidden_states_are_those_of_transformers(
    model_type: str, size: dict[str, Any], tmp_path: Path
) -> None:
    model, waveform = written(tmp_path, model_type, **size), torch.randn(2, 4000)
    encoder = HuggingFaceEncoder(tmp_path, "model.safetensors").eval()
    expected = model(waveform, output_hidden_states=True).hidden_states
    found, frames = encoder(waveform, None)
    assert len(found) == encoder.layers == 4
    assert frames is None
    for ours, others in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, others, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model_type", MODELS)
def test_parameters_are_those_of_the_published_base_models(model_type: str, tmp_path: Path) -> None:
    # Their configs are the defaults of transformers; 95M in the papers, WavLM 94.70M.
    config = getattr(transformers, MODELS[model_type][0])()
    config.save_pretrained(tmp_path)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
    with torch.device("meta"):
        encoder = HuggingFaceEncoder(tmp_path, None)
    assert sum(parameter.numel() for parameter in encoder.parameters()) == pytest.approx(94.7e6, rel=0.02)


def test_waveforms_are_prepared_as_the_folders_extractor_does(tmp_path: Path) -> None:
    written(tmp_path)
    extractor = transformers.Wav2Vec2FeatureExtractor.from_pretrained(tmp_path, local_files_only=True)
    clips = [2 + 0.001 * torch.randn(4000), torch.randn(2500)]
    padded = nn.utils.rnn.pad_sequence(clips, batch_first=True)
    expected = extractor(
        [clip.numpy() for clip in clips],
        sampling_rate=16000,
        padding=True,
        return_attention_mask=True,
        return_tensors="pt",
    )["input_values"]
    epsilon = HuggingFaceEncoder(tmp_path, None).normalise_epsilon
    assert epsilon is not None
    found = standardised(padded, torch.tensor([4000, 2500]), epsilon)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)
    # A constant added to a clip changes nothing once it is normalised.
    network = HuggingFaceNetwork(5, str(tmp_path)).eval()
    torch.testing.assert_close(
        network(padded[1:] + 0.5).logits, network(padded[1:]).logits, rtol=1e-4, atol=1e-4
    )


def test_waveforms_stay_as_they_are_where_the_folder_says_so(tmp_path: Path) -> None:
    model = written(tmp_path, normalise=False)
    network, waveform = HuggingFaceNetwork(5, str(tmp_path)).eval(), 1 + 3 * torch.randn(2, 4000)
    states = model(waveform, output_hidden_states=True).hidden_states
    torch.testing.assert_close(network(waveform).logits, network.head(network.pooling(states)))


@pytest.mark.parametrize("model_type", MODELS)
def test_layer_norm_encoders_ignore_padding(model_type: str, tmp_path: Path) -> None:
    written(tmp_path, model_type, **LARGE)
    network = HuggingFaceNetwork(5, str(tmp_path)).eval()
    assert not network.depends_on_padding
    waveform = torch.randn(2, 4000)
    waveform[1, 2500:] = 0
    ragged = network(waveform, torch.tensor([4000, 2500])).logits
    torch.testing.assert_close(ragged[1:], network(waveform[1:, :2500]).logits, rtol=1e-4, atol=1e-5)


def test_group_norm_encoders_depend_on_padding_and_refuse_it(tmp_path: Path) -> None:
    written(tmp_path)
    network = HuggingFaceNetwork(5, str(tmp_path)).eval()
    waveform = torch.randn(1, 2500)
    padded, length = nn.functional.pad(waveform, (0, 1500)), torch.tensor([2500])
    alone, (together, frames) = network.encoder(waveform, None)[0], network.encoder(padded, length)
    assert (together[-1][:, : int(frames[0])] - alone[-1]).abs().max() > 0.1
    assert network.depends_on_padding
    with pytest.raises(ValueError, match="outputs depend on padding: give it clips of one length"):
        network(padded, length)
    assert torch.equal(network(waveform, length).logits, network(waveform).logits)


@pytest.mark.parametrize("model_type", MODELS)
def test_fine_tuning_reaches_all_that_learns_and_neither_masks_nor_skips(
    model_type: str, tmp_path: Path
) -> None:
    dropouts = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    masks = {"mask_time_prob": 0.5, "mask_time_length": 2, "mask_feature_prob": 0.5}
    written(tmp_path, model_type, **LARGE, **masks, **dict.fromkeys(dropouts, 0.0))
    network = HuggingFaceNetwork(5, str(tmp_path), frozen=False).train()
    waveform = torch.randn(2, 4000)
    torch.testing.assert_close(network(waveform).logits, network(waveform).logits)
    network(waveform).logits.square().sum().backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert not any("feature_extractor" in name for name in learning)
    assert any("encoder.layers.0" in name for name in learning)


def test_a_frozen_encoder_neither_learns_nor_drops(tmp_path: Path) -> None:
    written(tmp_path)
    network, waveform = HuggingFaceNetwork(5, str(tmp_path)).train(), torch.randn(2, 4000)
    assert torch.equal(network(waveform).logits, network(waveform).logits)
    network(waveform).logits.square().sum().backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learning == {"pooling.scores", "head.weight", "head.bias"}


def test_the_teacher_file_builds_on_a_folder(tmp_path: Path) -> None:
    written(tmp_path)
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=["teacher=hugging_face", f"teacher.network.folder={tmp_path}"])
    node = OmegaConf.to_container(config.teacher, resolve=True)
    assert isinstance(node, dict)
    assert build_model(node, 12)(torch.randn(2, 16000)).logits.shape == (2, 12)


def same_as(model: nn.Module, folder: Path, weights: str = "model.safetensors") -> bool:
    waveform = torch.randn(1, 4000)
    encoder = HuggingFaceEncoder(folder, weights).eval()
    ours, theirs = encoder(waveform, None)[0][-1], model(waveform).last_hidden_state
    return bool(torch.allclose(ours, theirs, rtol=0, atol=1e-6))


def test_shards_are_put_together(tmp_path: Path) -> None:
    model = written(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    model.save_pretrained(tmp_path, max_shard_size="40KB")  # type: ignore[operator]
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 2
    assert same_as(model, tmp_path)
    (tmp_path / shards[1]).unlink()
    with pytest.raises(
        FileNotFoundError, match=f"{shards[1]} is missing, which model.safetensors.index.json"
    ):
        HuggingFaceNetwork(5, str(tmp_path))
    edited(tmp_path / "model.safetensors.index.json", weight_map={"encoder": "../elsewhere.safetensors"})
    with pytest.raises(ValueError, match=r"lists \.\./elsewhere\.safetensors, which is not a file of that"):
        HuggingFaceNetwork(5, str(tmp_path))


def test_a_recogniser_in_half_precision_gives_its_encoder_in_single_precision(tmp_path: Path) -> None:
    written(tmp_path)
    config = transformers.Wav2Vec2Config(**SMALL)
    recogniser = transformers.Wav2Vec2ForCTC(config).eval()
    recogniser.half().save_pretrained(tmp_path)
    assert same_as(recogniser.float().wav2vec2, tmp_path)
    encoder = HuggingFaceEncoder(tmp_path, "model.safetensors")
    assert {parameter.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_older_names_of_weight_norm_and_a_missing_mask_are_understood(tmp_path: Path) -> None:
    # As facebook/wav2vec2-base-960h was published.
    model = written(tmp_path)
    path = tmp_path / "model.safetensors"
    older = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(path).items()
        if name != "masked_spec_embed"
    }
    assert any(name.endswith("weight_g") for name in older)
    save_file(older, path)
    assert same_as(model, tmp_path)


class Marker:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_pickles_are_read_by_name_only_and_never_run(tmp_path: Path) -> None:
    model = written(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"pickled weights: .*set weights: pytorch_model\.bin"):
        HuggingFaceNetwork(5, str(tmp_path))
    assert same_as(model, tmp_path, "pytorch_model.bin")
    torch.save(model.state_dict() | {"more": Marker(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is damaged or holds more than weights"):
        HuggingFaceNetwork(5, str(tmp_path), "pytorch_model.bin")
    assert not (tmp_path / "ran").exists()


def test_the_code_kernels_and_quantisers_that_a_folder_names_are_left_alone(tmp_path: Path) -> None:
    model = written(tmp_path)
    (tmp_path / "remote.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    edited(
        tmp_path / "config.json",
        auto_map={"AutoConfig": "remote.Config", "AutoModel": "someone/else--remote.Model"},
        attn_implementation="someone/kernels",
        _attn_implementation="someone/kernels",
        quantization_config={"quant_method": "gptq", "bits": 4},
        name_or_path="someone/else",
    )
    assert same_as(model, tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing: copy it from where the model was"):
        HuggingFaceNetwork(5, str(tmp_path))


def test_only_the_settings_are_needed_for_the_architecture(tmp_path: Path) -> None:
    model = written(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    empty = HuggingFaceNetwork(5, str(tmp_path), weights=None)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items() if "masked" not in name}
    assert {name: tensor.shape for name, tensor in empty.encoder.model.state_dict().items()} == shapes


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder: name one with config"):
        HuggingFaceNetwork(5, str(tmp_path / "nowhere"))


@pytest.mark.parametrize("change", ["cut off", "too long", "no safetensors"])
def test_damaged_weights_are_named(change: str, tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(
        {"cut off": whole[:-100], "too long": whole + bytes(100), "no safetensors": b"<html>"}[change]
    )
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged, cut off or too long"):
        HuggingFaceNetwork(5, str(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_damaged_settings_are_named(name: str, tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / name).write_text("{'not': json")
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        HuggingFaceNetwork(5, str(tmp_path))
    (tmp_path / name).write_text("[]")
    with pytest.raises(ValueError, match=rf"{name} holds no settings"):
        HuggingFaceNetwork(5, str(tmp_path))


def test_settings_and_weights_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    written(tmp_path)
    edited(tmp_path / "config.json", num_hidden_layers=4)
    with pytest.raises(ValueError, match=r"another network: encoder\.layers\.3\..* is missing \(and"):
        HuggingFaceNetwork(5, str(tmp_path))
    edited(tmp_path / "config.json", num_hidden_layers=3, intermediate_size=50)
    with pytest.raises(ValueError, match=r"another network: size mismatch for encoder\.layers\.0"):
        HuggingFaceNetwork(5, str(tmp_path))
    edited(tmp_path / "config.json", hidden_size="many")
    with pytest.raises(ValueError, match=r"config\.json describes no wav2vec2 that can be built"):
        HuggingFaceNetwork(5, str(tmp_path))


@pytest.mark.parametrize("model_type", ["whisper", None])
def test_other_kinds_of_models_are_refused(model_type: str | None, tmp_path: Path) -> None:
    written(tmp_path)
    edited(tmp_path / "config.json", model_type=model_type)
    with pytest.raises(ValueError, match=f"of type {model_type!r}: use one of wav2vec2, hubert, wavlm"):
        HuggingFaceNetwork(5, str(tmp_path))


def test_another_sample_rate_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    edited(tmp_path / "preprocessor_config.json", sampling_rate=8000)
    with pytest.raises(ValueError, match="the encoder hears 8000 Hz and the frontend gives 16000 Hz"):
        HuggingFaceNetwork(5, str(tmp_path))
    assert HuggingFaceNetwork(5, str(tmp_path), sample_rate=8000)(torch.randn(1, 4000)).logits.shape == (1, 5)


def test_without_transformers_the_error_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written(tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(
        ValueError, match=r"transformers is missing: pip install 'kd_lightning\[huggingface\]'"
    ):
        HuggingFaceNetwork(5, str(tmp_path))


def test_a_finished_run_needs_no_weights_but_its_own(tmp_path: Path) -> None:
    folder, run = tmp_path / "folder", tmp_path / "run"
    written(folder)
    frontend = {"_target_": "kd_lightning.frontend.raw_waveform.RawWaveform"}
    network = {
        "_target_": "kd_lightning.models.hugging_face.HuggingFaceNetwork",
        "folder": str(folder),
        "weights": "model.safetensors",
    }
    student = {"network": network, "frontend": frontend, "run": None}
    trained = build_model(student, 3)
    run.mkdir()
    save_file(trained.state_dict(), run / "network.safetensors")
    config = {
        "task": "keyword",
        "student": student,
        "corpus": {},
        "distiller": {},
        "classes": ["a", "b", "c"],
    }
    (run / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    again, _ = finished_model(run)
    waveform = torch.randn(2, 4000)
    torch.testing.assert_close(again(waveform).logits, trained.eval()(waveform).logits)


# Names on the hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one model in it, and no network."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = tmp_path / "cache" / "models--someone--tiny"
    snapshot = model / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(snapshot.name)
    written(snapshot)
    return snapshot


def test_a_name_on_the_hub_is_what_was_fetched_before(hub: Path) -> None:
    assert on_disk("someone/tiny") == hub
    assert HuggingFaceNetwork(3, "someone/tiny")(torch.randn(2, 4000)).logits.shape == (2, 3)


def test_what_was_not_fetched_says_so_without_a_network(hub: Path) -> None:
    said = r"someone/large is no folder here and could not be fetched from the Hugging Face hub \(.*\): fetch it where"
    with pytest.raises(FileNotFoundError, match=said):
        on_disk("someone/large")
    (hub / "model.safetensors").unlink()  # somebody looked at the settings alone
    with pytest.raises(FileNotFoundError, match=r"model\.safetensors is missing: copy it"):
        HuggingFaceNetwork(3, "someone/tiny")


@pytest.mark.parametrize("path", ["folder", "./some/folder", "/some/folder", "../some", "a/b/c", "some/"])
def test_paths_are_never_looked_up(path: str) -> None:
    assert on_disk(path) == Path(path)


def test_a_folder_here_goes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "someone" / "tiny").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert on_disk("someone/tiny") == Path("someone/tiny")
