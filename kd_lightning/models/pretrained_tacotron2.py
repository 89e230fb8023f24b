"""Tacotron 2 as torchaudio publishes it: one voice, its own letters, its own mels."""

from __future__ import annotations

from typing import Any

import torch
import torchaudio
from torch import Tensor
from torchaudio.pipelines import Tacotron2TTSBundle

from kd_lightning.frontend.published_letters import PublishedLetters
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.tacotron2 import Prenet, Tacotron2

# The settings of frontend=mel_22k.
MEL: dict[str, float | int | str] = {
    "frontend": "Mel",
    "sample_rate": 22050,
    "window_length": 1024,
    "hop_length": 256,
    "fft_length": 1024,
    "bins": 80,
    "low_hz": 0.0,
    "high_hz": 8000.0,
}
# What the sizes of our network are called in a bundle.
_SIZES = {
    "frames_per_step": "n_frames_per_step",
    "encoder_width": "encoder_embedding_dim",
    "encoder_layers": "encoder_n_convolution",
    "encoder_kernel": "encoder_kernel_size",
    "prenet_width": "prenet_dim",
    "attention_width": "attention_rnn_dim",
    "attention_space": "attention_hidden_dim",
    "location_filters": "attention_location_n_filter",
    "location_kernel": "attention_location_kernel_size",
    "decoder_width": "decoder_rnn_dim",
    "postnet_width": "postnet_embedding_dim",
    "postnet_layers": "postnet_n_convolution",
    "postnet_kernel": "postnet_kernel_size",
    "recurrent_dropout": "decoder_dropout",
}


class PretrainedTacotron2(Tacotron2):
    """A character bundle of torchaudio's with a Griffin-Lim vocoder, which was trained on LJ Speech.

    It speaks to every speaker of a corpus with its one voice. Its mels are those of ``frontend=mel_22k``, but that
    frame i was centred on the beginning of the i-th hop and not on the middle: what it says comes 6 ms late.

    Args:
        bins: number of mel bins.
        bundle: name of a bundle in ``torchaudio.pipelines``.
        weights: its ``.pth`` file on disk; nothing is downloaded. ``None`` for random ones.
        prenet_dropout: probability that a value of the prenet is dropped.
        prenet_dropout_at_inference: keeps that up in eval mode, as it was published: without, a decoder that has only
            ever heard such noise may lose its place. What is dropped then depends on the step alone, so a sentence is
            said twice alike, and alone as in a batch, without which nothing could be stored of a teacher.
        max_frames_per_token: see :class:`~kd_lightning.models.tacotron2.Tacotron2`.

    Attributes:
        tokens: what spells for it, for a corpus to follow.
        mel: settings of the mels that it speaks, as those of :class:`~kd_lightning.frontend.mel.Mel`.

    Raises:
        ValueError: there is no such bundle, it takes phonemes or speaks other mels, or the file holds other weights.
        FileNotFoundError: there is no such file.
    """

    def __init__(
        self,
        bins: int,
        bundle: str = "TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH",
        weights: str | None = None,
        prenet_dropout: float = 0.5,
        prenet_dropout_at_inference: bool = True,
        max_frames_per_token: float = 20.0,
    ) -> None:
        sizes = _params(bundle)
        super().__init__(
            bins,
            sizes["n_symbol"],
            **{ours: sizes[theirs] for ours, theirs in _SIZES.items()},
            prenet_dropout=prenet_dropout,
            max_frames_per_token=max_frames_per_token,
            weights=weights,
        )
        self.tokens = PublishedLetters()
        self.mel = MEL
        self.decoder.prenet = RepeatablePrenet(
            self.decoder.prenet.layers, prenet_dropout, prenet_dropout_at_inference
        )

    @property
    def pieces(self) -> list[str]:
        """Names of the tokens."""
        return self.tokens.pieces

    def forward(
        self, sentences: Sentences, recorded: Recorded | None = None, frames: Tensor | None = None
    ) -> AcousticOutput:
        self.decoder.prenet.step = 0
        return super().forward(sentences, recorded, frames)


class RepeatablePrenet(Prenet):
    """A prenet whose dropout in eval mode is the same for every sentence: a function of the decoder's step.

    Args:
        layers: linear, torchaudio's.
        dropout: probability that a value is dropped.
        at_inference: whether it is in eval mode too.

    Attributes:
        step: of the decoder; set it to 0 before a sentence.
    """

    def __init__(self, layers: torch.nn.ModuleList, dropout: float, at_inference: bool) -> None:
        super().__init__(layers, dropout, at_inference)
        self.step = 0

    def forward(self, frames: Tensor) -> Tensor:
        """Map (B, r * bins) of one step to (B, width), or (B, S, r * bins) of S steps to (B, S, width)."""
        if self.training or not self.at_inference:
            return super().forward(frames)
        hidden = frames if frames.ndim == 3 else frames[:, None]
        steps = range(self.step, self.step + hidden.shape[1])
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden).relu()
            kept = [self._kept(hidden.shape[2], step, number) for step in steps]
            hidden = hidden * torch.stack(kept).to(hidden)
        self.step = steps.stop
        return hidden if frames.ndim == 3 else hidden[:, 0]

    def _kept(self, width: int, step: int, layer: int) -> Tensor:
        """(width,) by which the values of a step are multiplied."""
        generator = torch.Generator().manual_seed(len(self.layers) * step + layer)
        return (torch.rand(width, generator=generator) >= self.dropout) / (1 - self.dropout)


def _params(bundle: str) -> dict[str, Any]:
    """The sizes of a bundle's network.

    Raises:
        ValueError: there is no such bundle, or it is of no use here.
    """
    found = getattr(torchaudio.pipelines, bundle, None)
    if not isinstance(found, Tacotron2TTSBundle):
        raise ValueError(
            f"torchaudio.pipelines has no Tacotron 2 {bundle!r}; TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH is one"
        )
    if hasattr(found, "_wavernn_params"):
        raise ValueError(
            f"{bundle} speaks the mels of its WaveRNN (40 to 11025 Hz, FFT of 2048, windows of 1100 and hops of 275 "
            "samples), and no frontend here hears those: choose TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH"
        )
    sizes: dict[str, Any] = found._tacotron2_params
    if sizes["n_symbol"] != PublishedLetters().size:
        raise ValueError(
            f"{bundle} is told phonemes that DeepPhonemizer writes, and nobody writes them here: choose "
            "TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH"
        )
    return sizes
