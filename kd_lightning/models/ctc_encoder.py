"""What Conformer and Transformer share as recognisers: shortened features, a stack of layers, and a CTC layer."""

from collections.abc import Sequence

from torch import Tensor, nn

from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.subsampling import ConvolutionalSubsampling


class CTCEncoder(nn.Module):
    """Subsampling by 4, layers, and token scores of each frame (CTC, Graves et al. 2006).

    In training, the CTC layer may also score lower layers (Lee & Watanabe, "Intermediate Loss Regularization for
    CTC-based Speech Recognition", ICASSP 2021): the same layer, which adds no parameters.

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        width: size D of a frame.
        channels: of the subsampling's convolutions.
        layers: each maps (B, frames, D) and what is padding, (B, frames) bool, to (B, frames, D).
        dropout: of what enters the first layer.
        intermediate_layers: numbers of the layers below the last, from 1, that CTC scores in training.

    Attributes:
        width: D.
        subsampling: frames of the features for one of the output.
        ctc: maps hidden frames (B, frames, D) to token scores (B, frames, V).

    Raises:
        ValueError: if there is no such intermediate layer.
    """

    subsampling = ConvolutionalSubsampling.factor

    def __init__(
        self,
        bins: int,
        classes: int,
        width: int,
        channels: int,
        layers: Sequence[nn.Module],
        dropout: float,
        intermediate_layers: Sequence[int],
    ) -> None:
        super().__init__()
        if not set(intermediate_layers) <= set(range(1, len(layers))):
            raise ValueError(
                f"intermediate_layers={list(intermediate_layers)}: set numbers from 1 to {len(layers) - 1}"
            )
        self.width = width
        self.intermediate_layers = tuple(intermediate_layers)
        self.stem = ConvolutionalSubsampling(bins, width, channels)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(layers)
        self.ctc = nn.Linear(width, classes)

    def positioned(self, hidden: Tensor) -> Tensor:
        """What enters the layers for shortened features (B, frames, D)."""
        return hidden

    def normalised(self, hidden: Tensor) -> Tensor:
        """What leaves the encoder for the output (B, frames, D) of a layer."""
        return hidden

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden frames.

        Args:
            features: (B, bins, frames).
            lengths: (B,) int64, valid frames.

        Returns:
            (B, ceil(frames / 4), D) and its valid frames (B,) int64.
        """
        states, lengths = self._states(features, lengths)
        return self.normalised(states[-1]), lengths

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame; the arguments are those of :meth:`encode`."""
        states, lengths = self._states(features, lengths)
        numbers = self.intermediate_layers if self.training else ()
        *lower, last = (
            self.ctc(self.normalised(states[number - 1])) for number in (*numbers, len(self.layers))
        )
        return RecognitionOutput(last, lengths, intermediate=tuple(lower))

    def _states(self, features: Tensor, lengths: Tensor) -> tuple[list[Tensor], Tensor]:
        hidden, lengths = self.stem(features, lengths)
        hidden = self.dropout(self.positioned(hidden))
        padding = ~frame_mask(lengths, hidden.shape[1])
        states = []
        for layer in self.layers:
            hidden = layer(hidden, padding)
            states.append(hidden)
        return states, lengths
