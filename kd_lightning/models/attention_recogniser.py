"""Recognisers that write with a decoder what an encoder heard, beside the encoder's own CTC layer.

Joint CTC and attention: Kim, Hori & Watanabe, "Joint CTC-Attention based End-to-End Speech Recognition using Multi-task
Learning", ICASSP 2017.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn

from kd_lightning.models.recognition_output import RecognitionOutput


class Encoder(Protocol):
    """What a recognition network, an ``nn.Module``, has to be to carry a decoder.

    Attributes:
        width: size D of a hidden frame.
        subsampling: frames of the features for one hidden frame.
        ctc: maps hidden frames (B, frames, D) to token scores (B, frames, V); ``None`` without CTC.
    """

    @property
    def width(self) -> int: ...

    @property
    def subsampling(self) -> int: ...

    @property
    def ctc(self) -> nn.Module | None: ...

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden frames (B, frames, D) of features (B, bins, frames), and how many are valid (B,)."""
        ...


class AttentionDecoder(nn.Module):
    """Token scores after each token of a prefix, and where each looked.

    Token 0 starts the sentence, and its score is that of the end. What is said after a token depends on no later one.
    """

    def forward(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Score what follows 0, y1, ..., yU.

        Args:
            memory: (B, frames, D) of the encoder.
            lengths: (B,) int64, its valid frames.
            prefix: (B, U) int64, y1 to yU.

        Returns:
            token logits (B, U + 1, V), and attention weights (B, U + 1, frames), the mean over heads and layers.
        """
        raise NotImplementedError


class EncoderDecoder(nn.Module):
    """A built encoder and a built decoder.

    Args:
        encoder: a recognition network.
        decoder: attends to its hidden frames; ``None`` leaves the encoder alone.

    Attributes:
        width: size D of the encoder's frames.
        subsampling: frames of the features for one of them.
    """

    def __init__(self, encoder: Encoder, decoder: AttentionDecoder | None) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.width = encoder.width
        self.subsampling = encoder.subsampling

    def forward(self, features: Tensor, lengths: Tensor, prefix: Tensor | None = None) -> RecognitionOutput:
        """Score frames, and tokens where a prefix is given (teacher forcing).

        Args:
            features: (B, bins, frames).
            lengths: (B,) int64, valid frames.
            prefix: (B, U) int64 tokens, padded with 0; the start of the sentence is put in front here.
        """
        memory, lengths = self.encode(features, lengths)
        logits = None if self.encoder.ctc is None else self.encoder.ctc(memory)
        if self.decoder is None or prefix is None:
            return RecognitionOutput(logits, lengths)
        return RecognitionOutput(logits, lengths, *self.decoder(memory, lengths, prefix))

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The encoder's frames (B, frames, D) and how many are valid (B,)."""
        return self.encoder.encode(features, lengths)

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        """Logits (B, V) of the token after a prefix (B, U), all of whose tokens count, where 0 ends the sentence.

        Args:
            memory: (B, frames, D), what :meth:`encode` gave.
            lengths: (B,) int64, likewise.
            prefix: (B, U) int64; U may be 0.

        Raises:
            ValueError: if there is no decoder.
        """
        if self.decoder is None:
            raise ValueError(f"{type(self).__name__} has no decoder: decode its CTC layer")
        token_logits, _ = self.decoder(memory, lengths, prefix)
        last: Tensor = token_logits[:, -1]
        return last


class AttentionRecogniser(EncoderDecoder):
    """Any encoder of this package with any decoder, as a config puts them together.

    Args:
        bins: number of feature bins.
        classes: number of tokens V.
        encoder: makes a recognition network of ``bins`` and ``classes``.
        decoder: makes a decoder of ``memory``, the encoder's width, and ``classes``.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        encoder: Callable[..., Encoder],
        decoder: Callable[..., AttentionDecoder],
    ) -> None:
        heard = encoder(bins=bins, classes=classes)
        super().__init__(heard, decoder(memory=heard.width, classes=classes))
