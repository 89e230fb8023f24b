"""Speech encoders from a Hugging Face folder on disk: config.json, preprocessor_config.json and safetensors.

Only settings and tensors are read from the folder. Its code is never run, and pickled weights are read only where they
are asked for by name. Nothing is looked up on the network, unless a name on the Hugging Face hub is given for a folder.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kd_lightning.models.self_supervised import (
    SelfSupervisedNetwork,
    SpeechEncoder,
    load_tensors,
    read_pickle,
)

# model_type in config.json -> its config and its encoder in transformers.
MODELS = {
    "wav2vec2": ("Wav2Vec2Config", "Wav2Vec2Model"),
    "hubert": ("HubertConfig", "HubertModel"),
    "wavlm": ("WavLMConfig", "WavLMModel"),
}
# Layers are never dropped, because all of them are mixed. Masks belong to the view, which teacher and student share.
SETTINGS = {"layerdrop": 0.0, "mask_time_prob": 0.0, "mask_feature_prob": 0.0}
SAFETENSORS = "model.safetensors"
PICKLE = "pytorch_model.bin"
# "owner/model", and no path from here or from the root.
HUB_NAME = re.compile(r"\w[\w.-]*/\w[\w.-]*")
FETCHED = ["*.json", "*.txt", "*.safetensors"]
# What Wav2Vec2FeatureExtractor adds to the variance.
EPSILON = 1e-7


class HuggingFaceNetwork(SelfSupervisedNetwork):
    """wav2vec 2.0, HuBERT or WavLM from a Hugging Face folder, with a pooling head.

    Args:
        classes: number of classes C.
        folder: holds config.json, preprocessor_config.json and the weights; or a name on the hub.
        weights: name of the file of weights in the folder. ``model.safetensors`` also finds the shards that
            ``model.safetensors.index.json`` lists. ``pytorch_model.bin`` is a pickle, of which only tensors are read.
            ``None`` starts from random weights.
        sample_rate: of the waveforms, in Hz.
        frozen: only the head learns.

    Raises:
        ValueError: if transformers is not installed, the folder holds another kind of model, its files are damaged or
            do not belong together, or it wants another sample rate.
        FileNotFoundError: if one of its files is missing.
    """

    def __init__(
        self,
        classes: int,
        folder: str,
        weights: str | None = SAFETENSORS,
        sample_rate: int = 16000,
        frozen: bool = True,
    ) -> None:
        super().__init__(classes, HuggingFaceEncoder(on_disk(folder), weights), sample_rate, frozen)


class HuggingFaceEncoder(SpeechEncoder):
    """The encoder in a Hugging Face folder, without a recogniser's last layer.

    ``forward`` returns what enters the first transformer layer and what leaves each. No layer is dropped and nothing is
    masked in training, whatever config.json says.

    Args:
        folder: as of :class:`HuggingFaceNetwork`.
        weights: likewise.

    Raises:
        ValueError, FileNotFoundError: as :class:`HuggingFaceNetwork`.
    """

    def __init__(self, folder: Path, weights: str | None) -> None:
        super().__init__()
        self.model = _architecture(folder)
        config = self.model.config
        heard = _json(folder / "preprocessor_config.json")
        if weights is not None:
            # A recogniser keeps its encoder under a name of its own.
            prefix = f"{self.model.base_model_prefix}."
            tensors = {
                name.removeprefix(prefix): tensor for name, tensor in _tensors(folder, weights).items()
            }
            load_tensors(self.model, tensors, folder / weights)
        self.width = config.hidden_size
        self.layers = config.num_hidden_layers + 1
        self.sample_rate = heard.get("sampling_rate", 16000)
        self.normalise_epsilon = EPSILON if heard.get("do_normalize", True) else None
        # Group norm takes its statistics over time, padding included.
        self.depends_on_padding = config.feat_extract_norm == "group"
        if config.do_stable_layer_norm:
            self.model.encoder.layer_norm.requires_grad_(False)  # behind the last layer, where nobody listens

    @property
    def extractor(self) -> nn.Module:
        """The convolutions at the bottom."""
        extractor: nn.Module = self.model.feature_extractor
        return extractor

    def forward(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Sequence[Tensor], Tensor | None]:
        """Encode waveforms (B, T): states (B, frames, D) before the first transformer layer and after each."""
        mask = None
        if lengths is not None:
            positions = torch.arange(waveform.shape[1], device=waveform.device)
            mask = (positions < lengths[:, None]).long()
        states = self.model(waveform, attention_mask=mask, output_hidden_states=True).hidden_states
        return states, None if lengths is None else self.model._get_feat_extract_output_lengths(lengths)


def on_disk(folder: str) -> Path:
    """A folder as it is, or that of a model on the Hugging Face hub, fetched unless it was before.

    Only settings, tokens and safetensors are fetched. What was fetched before is taken as it is, so a run goes on with
    the files that it began with.

    Args:
        folder: a path, or a name such as ``openai/whisper-tiny``.

    Raises:
        FileNotFoundError: it is no folder here, and could not be fetched.
        ValueError: huggingface_hub is not installed.
    """
    if Path(folder).is_dir() or not HUB_NAME.fullmatch(folder):
        return Path(folder)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[huggingface]'") from error
    for cached in (True, False):
        try:
            place = Path(snapshot_download(folder, allow_patterns=FETCHED, local_files_only=cached))
        except Exception as error:  # no network, no such model, no access
            reason = str(error).partition("\n")[0]
            continue
        if not cached or any(place.glob("*.safetensors")):
            return place
    raise FileNotFoundError(
        f"{folder} is no folder here and could not be fetched from the Hugging Face hub ({reason}): fetch it where "
        "there is a network, and name the folder"
    )


def _architecture(folder: Path) -> Any:
    """The encoder that config.json describes, with random weights."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: name one with config.json and {SAFETENSORS}")
    path = folder / "config.json"
    given = _json(path)
    model_type = given.get("model_type")
    if model_type not in MODELS:
        raise ValueError(f"{path} describes a model of type {model_type!r}: use one of {', '.join(MODELS)}")
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[huggingface]'") from error
    config, encoder = (getattr(transformers, name) for name in MODELS[model_type])
    # Only what describes the architecture: the file may also name code, kernels and quantisers to load.
    known = config().to_dict().keys() - {"dtype", "architectures", "transformers_version"}
    try:
        return encoder(config(**{name: given[name] for name in known & given.keys()} | SETTINGS))
    except Exception as error:  # whatever a senseless size leads to
        raise ValueError(f"{path} describes no {model_type} that can be built: {error}") from error


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: copy it from where the model was published")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no settings: copy it again")
    return content


def _tensors(folder: Path, weights: str) -> dict[str, Tensor]:
    """All tensors of the file of this name, or of the shards that its index lists."""
    path, index = folder / weights, folder / f"{weights}.index.json"
    if path.is_file():
        return _read(path)
    if index.is_file():
        shards = sorted(set(_json(index).get("weight_map", {}).values()))
        for shard in shards:
            if shard != Path(shard).name:
                raise ValueError(f"{index} lists {shard}, which is not a file of that folder: copy it again")
            if not (folder / shard).is_file():
                raise FileNotFoundError(f"{folder / shard} is missing, which {index.name} lists: copy it too")
        return {name: tensor for shard in shards for name, tensor in _read(folder / shard).items()}
    if (folder / PICKLE).is_file():
        raise FileNotFoundError(
            f"{folder} holds no {weights} but pickled weights: convert them to safetensors, or, if you trust who made "
            f"them, set weights: {PICKLE}"
        )
    raise FileNotFoundError(f"{path} is missing: copy it from where the model was published")


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        return read_pickle(path)
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged, cut off or too long ({error}): copy it again") from error
