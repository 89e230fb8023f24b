"""FastSpeech 2: all frames of a sentence at once, from durations, pitch and energy that it predicts.

Ren et al., "FastSpeech 2: Fast and High-Quality End-to-End Text to Speech", ICLR 2021. Pitch and energy are means over
each token and are embedded by a convolution, as in Łańcucki, "FastPitch: Parallel Text-to-Speech with Pitch
Prediction", ICASSP 2021.
"""

import torch
from torch import Tensor, nn

from kd_lightning.frontend.mel import SILENCE, TYPICAL
from kd_lightning.models.acoustic_blocks import AcousticStack, ConvolutionBlock, TransformerBlock
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.length_regulator import regulate
from kd_lightning.models.padding import frame_mask


class FeedForwardAcoustic(nn.Module):
    """Token embedding, encoder, predictors, length regulator, decoder.

    The default arguments are FastSpeech 2's, whose pitch is a spectrogram of wavelets and not a mean. Students can
    start from spaced layers of a deeper one: ``encoder.layers`` or ``decoder.layers``.

    Args:
        bins: number of mel bins.
        classes: number of tokens.
        speakers: number of voices; what is learned of each is added to the encoder's output.
        blocks: "transformer", or "convolution", which is faster.
        width: size D of a token and of a frame.
        inner: size between the two halves of a block.
        encoder_layers: blocks over tokens.
        decoder_layers: blocks over frames.
        kernel: tokens or frames that a block's convolution sees, odd.
        heads: of a Transformer block's attention.
        dropout: probability that a value in a block is dropped.
        predictor_width: channels of the predictors.
        predictor_kernel: tokens that their convolutions see, odd.
        predictor_dropout: probability that a value in a predictor is dropped.
        max_duration: frames of a token, predicted ones are cut there.

    Raises:
        ValueError: if there are no such blocks, or a kernel is even.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        speakers: int = 1,
        blocks: str = "transformer",
        width: int = 256,
        inner: int = 1024,
        encoder_layers: int = 4,
        decoder_layers: int = 4,
        kernel: int = 9,
        heads: int = 2,
        dropout: float = 0.1,
        predictor_width: int = 256,
        predictor_kernel: int = 3,
        predictor_dropout: float = 0.5,
        max_duration: int = 200,
    ) -> None:
        super().__init__()
        if blocks not in ("transformer", "convolution"):
            raise ValueError(f"blocks={blocks!r}: set transformer or convolution")
        if kernel % 2 == 0 or predictor_kernel % 2 == 0:
            raise ValueError(
                f"kernel={kernel}, predictor_kernel={predictor_kernel}: a convolution over an even number of frames "
                "has no frame in its middle: set odd ones"
            )

        def stack(layers: int) -> AcousticStack:
            return AcousticStack(
                [
                    TransformerBlock(width, inner, kernel, heads, dropout)
                    if blocks == "transformer"
                    else ConvolutionBlock(width, inner, kernel, dropout)
                    for _ in range(layers)
                ],
                width,
            )

        self.max_duration = max_duration
        self.embedding = nn.Embedding(classes, width)
        self.encoder = stack(encoder_layers)
        self.speaker = nn.Embedding(speakers, width) if speakers > 1 else None
        self.predictors = Predictors(3, width, predictor_width, predictor_kernel, predictor_dropout)
        self.prosody_embedding = nn.Conv1d(2, width, predictor_kernel, padding=predictor_kernel // 2)
        self.decoder = stack(decoder_layers)
        self.head = nn.Linear(width, bins)
        nn.init.constant_(self.head.bias, TYPICAL)

    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        """Say sentences.

        Args:
            sentences: B of them.
            recorded: whose durations are taken, and whose pitch and energy where they are known; ``None`` for those
                that the network predicts.

        Returns:
            mel, frames, durations, log_durations, pitch and energy; zero for padding of the sentences, and
            :data:`~kd_lightning.frontend.mel.SILENCE` beyond an utterance's end.

        Raises:
            ValueError: if the durations of what was recorded are unknown.
        """
        tokens, lengths, speakers = sentences
        spoken = frame_mask(lengths, tokens.shape[1])[..., None]
        encoded = self.encoder(self.embedding(tokens), spoken)
        if self.speaker is not None:
            encoded = encoded + self.speaker(speakers)[:, None]
        log_durations, pitch, energy = self.predictors(encoded, spoken).unbind(dim=2)
        known = (None, None) if recorded is None else (recorded.pitch, recorded.energy)
        heard = [
            predicted if told is None else told.where(~told.isnan(), predicted)
            for told, predicted in zip(known, (pitch, energy), strict=True)
        ]
        prosody = (torch.stack(heard, dim=2) * spoken).transpose(1, 2)
        encoded = encoded + self.prosody_embedding(prosody).transpose(1, 2)
        if recorded is None:
            durations = self._durations(log_durations.detach())
            frames = durations.sum(dim=1)
            longest = _largest(frames)
        elif recorded.durations is not None:
            durations, frames, longest = recorded.durations, recorded.frames, recorded.mel.shape[-1]
        else:
            raise ValueError(
                "a feed-forward network learns how long each token lasts, and nobody knows it of this recording: use a "
                "corpus with phoneme times, or durations from a teacher's attention"
            )
        valid = frame_mask(frames, longest)[..., None]
        said = self.head(self.decoder(regulate(encoded, durations, longest), valid))
        mel = said.float().masked_fill(~valid, SILENCE)
        return AcousticOutput(
            mel=mel.transpose(1, 2),
            frames=frames,
            durations=durations,
            log_durations=log_durations,
            pitch=pitch,
            energy=energy,
        )

    def _durations(self, log_durations: Tensor) -> Tensor:
        """Whole frames (B, U) int64 of logarithms, at least one in a sentence; padding's are 0 and remain so."""
        durations = torch.expm1(log_durations).round().clamp(0, self.max_duration).long()
        unsaid = durations.sum(dim=1, keepdim=True) == 0
        return torch.cat((durations[:, :1] + unsaid, durations[:, 1:]), dim=1)


def _largest(frames: Tensor) -> int:
    """The largest of a few counts, in a way that an exporter can follow: it has to be told that it is not 1."""
    largest: int = frames.max().item()  # type: ignore[assignment]
    if torch.compiler.is_exporting():
        torch._check(largest > 1)
    return largest


class Predictors(nn.Module):
    """Numbers for each token, each from two convolutions with ReLU, norm and dropout, and a linear layer (section 2.3).

    They share nothing but the call: as groups of channels they take a third of the time of three small networks. The
    norms have no weights, since a linear layer follows each.

    Args:
        numbers: for each token.
        width: size D of a token.
        channels: of the convolutions of each number.
        kernel: tokens that they see, odd.
        dropout: probability that a value is dropped.
    """

    def __init__(self, numbers: int, width: int, channels: int, kernel: int, dropout: float) -> None:
        super().__init__()
        self.numbers = numbers
        self.convolutions = nn.ModuleList(
            nn.Conv1d(inputs, numbers * channels, kernel, padding=kernel // 2, groups=groups)
            for inputs, groups in ((width, 1), (numbers * channels, numbers))
        )
        self.norm = nn.LayerNorm(channels, elementwise_affine=False)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv1d(numbers * channels, numbers, kernel_size=1, groups=numbers)

    def forward(self, encoded: Tensor, spoken: Tensor) -> Tensor:
        """Map tokens (B, U, D), of which those ``spoken`` (B, U, 1) are no padding, to (B, U, numbers) float32.

        Padding's are 0.
        """
        hidden = encoded
        for convolution in self.convolutions:
            channels = convolution((hidden * spoken).transpose(1, 2)).relu().transpose(1, 2)
            hidden = self.dropout(self.norm(channels.unflatten(2, (self.numbers, -1)))).flatten(2)
        predicted: Tensor = self.head(hidden.transpose(1, 2)).transpose(1, 2)
        return predicted.float() * spoken
