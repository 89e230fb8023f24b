"""Recurrent CTC recognisers: two strided convolutions, then layers of plain RNN, LSTM or GRU.

The family of Amodei et al., "Deep Speech 2: End-to-End Speech Recognition in English and Mandarin", ICML 2016.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from kd_lightning.models.ctc_encoder import CTCEncoder
from kd_lightning.models.ragged_recurrence import recurrent_states
from kd_lightning.models.recurrent import CELLS


class RecurrentRecogniser(CTCEncoder):
    """Convolutions that quarter the frames, recurrent layers, and the CTC layer.

    Unlike the paper's, the layers are normalised frame by frame (LayerNorm): the statistics of a BatchNorm would hear
    the padding. Hints can tap ``layers``: (B, frames, D), where D is the hidden size times the directions.

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        cell: "rnn" (tanh), "lstm" or "gru".
        hidden: size of a layer's state, in each direction.
        layers: number of recurrent layers.
        bidirectional: whether each layer also runs from the last frame to the first.
        channels: of the convolutions.
        dropout: probability that a value is dropped before the first recurrent layer, and after each.
        intermediate_layers: numbers of the layers below the last, from 1, that the CTC layer scores too in training.

    Raises:
        ValueError: if there is no such cell, or no such intermediate layer.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        cell: str = "lstm",
        hidden: int = 256,
        layers: int = 3,
        bidirectional: bool = True,
        channels: int = 32,
        dropout: float = 0.0,
        intermediate_layers: Sequence[int] = (),
    ) -> None:
        if cell not in CELLS:
            raise ValueError(f"recurrent recogniser of cell {cell!r}: set cell to {', '.join(CELLS)}")
        width = 2 * hidden if bidirectional else hidden
        stack = [RecurrentLayer(cell, width, hidden, bidirectional, dropout) for _ in range(layers)]
        super().__init__(bins, classes, width, channels, stack, dropout, intermediate_layers)


class RecurrentLayer(nn.Module):
    """A recurrent layer, LayerNorm and dropout.

    Args:
        cell: "rnn", "lstm" or "gru".
        inputs: size of a frame that comes in.
        hidden: size of the state, in each direction.
        bidirectional: whether it also runs from the last frame to the first.
        dropout: probability that a value is dropped.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        self.recurrent = CELLS[cell](inputs, hidden, batch_first=True, bidirectional=bidirectional)
        self.norm = nn.LayerNorm(2 * hidden if bidirectional else hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, padding: Tensor) -> Tensor:
        """Map (B, frames, inputs), of which ``padding`` (B, frames) says what is none, to (B, frames, D)."""
        normed: Tensor = self.norm(recurrent_states(self.recurrent, frames, (~padding).sum(dim=1)))
        return self.dropout(normed)
