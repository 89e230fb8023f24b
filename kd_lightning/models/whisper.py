"""Whisper from a Hugging Face folder on disk, and students that keep its encoder and some layers of its decoder.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023; Gandhi, von Platen & Rush,
"Distil-Whisper: Robust Knowledge Distillation via Large-Scale Pseudo Labelling", 2023.
"""

from pathlib import Path
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.frontend.byte_pairs import BytePairs
from kd_lightning.models.hugging_face import SAFETENSORS, _json, _tensors, on_disk
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.self_supervised import load_tensors

# Layers are never dropped at random, and masks belong to the view, which teacher and student share.
SETTINGS = {"encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "apply_spec_augment": False}


class Whisper(nn.Module):
    """Whisper as a recogniser that hears the waveform (frontend ``waveform``) and writes with its own tokens.

    Every utterance is filled up with silence to half a minute, as in its training, and the decoder attends to all of
    it: all 1,500 frames are valid. Token 0 stands for Whisper's end of text and, in front of a prefix, for its prompt
    (start, language, transcribe, no timestamps); token n + 1 is Whisper's n. What else it knows (languages, tasks,
    timestamps) is never written.

    Args:
        folder: holds config.json, preprocessor_config.json, generation_config.json, the weights, and
            tokenizer.json or vocab.json with merges.txt; or a name on the hub, such as openai/whisper-tiny.
        weights: name of the file of weights in the folder, as in
            :class:`~kd_lightning.models.hugging_face.HuggingFaceNetwork`.
        language: code of what is spoken, for Whispers of several languages.
        decoder_layers: how many of the decoder's layers to keep, maximally spaced, the first and the last among them;
            ``None`` keeps all.
        frozen_encoder: the encoder stays as it is, as in Distil-Whisper.
        sample_rate: of the waveforms, in Hz.

    Attributes:
        tokens: what spells, for a corpus to follow.
        width: size D of the encoder's frames.
        subsampling: samples for one of them.
        max_positions: the longest prefix that it continues.

    Raises:
        ValueError: if transformers is not installed, the folder holds another kind of model, its files are damaged or
            do not belong together, it has fewer layers, or it wants another sample rate or language.
        FileNotFoundError: if one of its files is missing.
    """

    prompt: Tensor

    def __init__(
        self,
        folder: str,
        weights: str | None = SAFETENSORS,
        language: str = "en",
        decoder_layers: int | None = None,
        frozen_encoder: bool = True,
        sample_rate: int = 16000,
    ) -> None:
        super().__init__()
        place = on_disk(folder)
        given = _settings(place)
        depth = given["decoder_layers"]
        kept = spaced(depth, depth if decoder_layers is None else decoder_layers)
        self.encoder, self.decoder = _architecture(place, given | {"decoder_layers": len(kept)})
        config = self.decoder.config
        self.log_mel = WhisperLogMel(place, config, sample_rate)
        self.end = int(config.eos_token_id)
        self.tokens = BytePairs(place, self.end)
        prompt = _prompt(place, config.decoder_start_token_id, language)
        self.register_buffer("prompt", torch.tensor(prompt), persistent=False)
        self.width = config.d_model
        self.subsampling = 2 * self.log_mel.hop_length
        self.max_positions = config.max_target_positions - len(prompt)
        self.frozen_encoder = frozen_encoder
        if weights is not None:
            tensors = {
                name.removeprefix("model."): tensor for name, tensor in _tensors(place, weights).items()
            }
            load_tensors(self, _with_layers(tensors, kept), place / weights)
        if frozen_encoder:
            self.encoder.requires_grad_(False)

    @property
    def pieces(self) -> list[str]:
        """Names of the tokens."""
        return self.tokens.pieces

    def train(self, mode: bool = True) -> "Whisper":
        """Set the mode; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.frozen_encoder:
            self.encoder.eval()
        return self

    def forward(self, waveform: Tensor, lengths: Tensor, prefix: Tensor | None = None) -> RecognitionOutput:
        """Score tokens where a prefix is given (teacher forcing).

        Args:
            waveform: (B, T) float32.
            lengths: (B,) int64, valid samples.
            prefix: (B, U) int64 tokens, padded with 0.

        Raises:
            ValueError: if an utterance or a prefix is too long.
        """
        memory, frames = self.encode(waveform, lengths)
        if prefix is None:
            return RecognitionOutput(None, frames)
        return RecognitionOutput(None, frames, *self._decode(memory, prefix))

    def encode(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's frames (B, frames, D), and how many are valid (B,): all."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_encoder):
            memory: Tensor = self.encoder(self.log_mel(waveform, lengths)).last_hidden_state
        return memory, torch.full_like(lengths, memory.shape[1])

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        """Logits (B, V) of the token after a prefix (B, U), all of whose tokens count, where 0 ends the sentence.

        Args:
            memory: (B, frames, D), what :meth:`encode` gave.
            lengths: (B,) int64, likewise.
            prefix: (B, U) int64; U may be 0.

        Raises:
            ValueError: if the prefix is too long.
        """
        token_logits, _ = self._decode(memory, prefix)
        return token_logits[:, -1]

    def _decode(self, memory: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Token logits (B, U + 1, V), and attention weights (B, U + 1, frames)."""
        if prefix.shape[1] > self.max_positions:
            raise ValueError(
                f"a transcript of {prefix.shape[1]} tokens: Whisper writes at most {self.max_positions}, leave it out "
                "or cut the audio"
            )
        written = torch.where(prefix == 0, self.end, prefix - 1)
        tokens = torch.cat((self.prompt.expand(len(prefix), -1), written), dim=1)
        said = self.decoder(tokens, encoder_hidden_states=memory, use_cache=False, output_attentions=True)
        start = len(self.prompt) - 1  # the last of the prompt says the first token
        attention = torch.stack([layer.mean(dim=1) for layer in said.cross_attentions]).mean(dim=0)
        # The numbers up to the end of text are those that are written; the end comes first.
        embeddings = self.decoder.embed_tokens.weight[: self.end + 1]
        logits = functional.linear(said.last_hidden_state[:, start:], embeddings).roll(1, dims=-1)
        return logits, attention[:, start:]


class WhisperLogMel(nn.Module):
    """What transformers' WhisperFeatureExtractor computes: log10 of mel power, its top 80 dB, halved twice, plus one.

    Args:
        folder: holds preprocessor_config.json.
        config: of the model that hears it.
        sample_rate: of the waveforms, in Hz.

    Raises:
        ValueError: if the folder wants another sample rate, or its files do not belong together.
        FileNotFoundError: if the file is missing.
    """

    filters: Tensor
    window: Tensor

    def __init__(self, folder: Path, config: Any, sample_rate: int) -> None:
        super().__init__()
        path = folder / "preprocessor_config.json"
        heard = {
            "sampling_rate": 16000,
            "feature_size": 80,
            "n_fft": 400,
            "hop_length": 160,
            "chunk_length": 30,
        } | _json(path)
        if heard["sampling_rate"] != sample_rate:
            raise ValueError(
                f"Whisper hears {heard['sampling_rate']} Hz and the frontend gives {sample_rate} Hz: "
                f"use a corpus and a frontend of {heard['sampling_rate']} Hz"
            )
        self.fft_length, self.hop_length = heard["n_fft"], heard["hop_length"]
        self.samples = heard["chunk_length"] * sample_rate
        frames, bins = self.samples // self.hop_length, heard["feature_size"]
        if (frames, bins) != (2 * config.max_source_positions, config.num_mel_bins):
            raise ValueError(
                f"{path} gives {frames} frames of {bins} bands and config.json wants {2 * config.max_source_positions} "
                f"of {config.num_mel_bins}: copy both again"
            )
        with torch.device("cpu"):  # also where the network is built without numbers
            filters = torchaudio.functional.melscale_fbanks(
                self.fft_length // 2 + 1, 0.0, 8000.0, bins, sample_rate, norm="slaney", mel_scale="slaney"
            )
        # Derived from the settings, so not part of the weights.
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(self.fft_length), persistent=False)

    def forward(self, waveform: Tensor, lengths: Tensor) -> Tensor:
        """Features (B, bins, frames) float32 of waveforms (B, T), of which ``lengths`` (B,) samples are valid.

        Raises:
            ValueError: if an utterance is longer than what Whisper hears.
        """
        longest = int(lengths.max())
        if longest > self.samples:
            raise ValueError(
                f"an utterance of {longest} samples: Whisper hears {self.samples}; leave longer ones out, or cut them"
            )
        with torch.autocast(waveform.device.type, enabled=False):
            valid = waveform.float() * frame_mask(lengths, waveform.shape[1])
            padded = functional.pad(valid, (0, self.samples - waveform.shape[1]))
            spectrum = torch.stft(
                padded, self.fft_length, self.hop_length, window=self.window, return_complex=True
            )[..., :-1]
            power = spectrum.real.square() + spectrum.imag.square()
            log_mel = (power.mT @ self.filters).mT.clamp(min=1e-10).log10()
            floor = log_mel.amax(dim=(1, 2), keepdim=True) - 8
            return (torch.maximum(log_mel, floor) + 4) / 4


def spaced(depth: int, layers: int) -> list[int]:
    """Which of ``depth`` layers a student of so many takes: the first, the last, and evenly between (Distil-Whisper).

    Raises:
        ValueError: if there are not as many.
    """
    if not 1 <= layers <= depth:
        raise ValueError(f"decoder_layers={layers} of a Whisper with {depth}: set 1 to {depth}")
    return [round(index * (depth - 1) / max(layers - 1, 1)) for index in range(layers)]


def _with_layers(tensors: dict[str, Tensor], kept: list[int]) -> dict[str, Tensor]:
    """The tensors of a Whisper whose decoder has only the layers with these numbers."""
    path = "decoder.layers."
    chosen = {name: tensor for name, tensor in tensors.items() if not name.startswith(path)}
    for index, number in enumerate(kept):
        layer = f"{path}{number}."
        chosen |= {
            f"{path}{index}.{name.removeprefix(layer)}": tensor
            for name, tensor in tensors.items()
            if name.startswith(layer)
        }
    return chosen


def _settings(folder: Path) -> dict[str, Any]:
    """What config.json says of the architecture."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: name one with config.json and {SAFETENSORS}")
    path = folder / "config.json"
    given = _json(path)
    if given.get("model_type") != "whisper":
        raise ValueError(f"{path} describes a model of type {given.get('model_type')!r}: use a Whisper")
    if not given.get("tie_word_embeddings", True):
        raise ValueError(
            f"{path} keeps apart how tokens are read and scored, which no published Whisper does: use one"
        )
    try:
        from transformers import WhisperConfig
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[huggingface]'") from error
    # Only what describes the architecture: the file may also name code, kernels and quantisers to load.
    usual = WhisperConfig().to_dict()
    known = usual.keys() - {"dtype", "architectures", "transformers_version"}
    return {name: given.get(name, usual[name]) for name in known} | SETTINGS


def _architecture(folder: Path, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Encoder and decoder with random weights; the decoder computes attention so that it can be seen."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperDecoder, WhisperEncoder

    try:
        return (
            WhisperEncoder(WhisperConfig(**settings)),
            WhisperDecoder(WhisperConfig(**settings | {"attn_implementation": "eager"})),
        )
    except Exception as error:  # whatever a senseless size leads to
        raise ValueError(
            f"{folder / 'config.json'} describes no Whisper that can be built: {error}"
        ) from error


def _prompt(folder: Path, start: int, language: str) -> list[int]:
    """What Whisper is told before it writes: start, language and task where it knows several, no timestamps."""
    path = folder / "generation_config.json"
    told = _json(path)
    prompt = [start]
    if languages := told.get("lang_to_id"):
        if f"<|{language}|>" not in languages:
            known = ", ".join(name.strip("<|>") for name in languages)
            raise ValueError(
                f"{folder} does not know the language {language!r}: set language to one of {known}"
            )
        prompt += [languages[f"<|{language}|>"], told["task_to_id"]["transcribe"]]
    if "no_timestamps_token_id" not in told:
        raise ValueError(f"{path} names no no_timestamps_token_id: copy the one that was published last")
    return [*prompt, told["no_timestamps_token_id"]]
