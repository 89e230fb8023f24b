"""Recurrent networks: plain RNN, LSTM or GRU over the frames, pooled by attention.

The attention is that of de Andrade et al., "A neural attention model for speech command recognition", 2018: what the
network remembers of the clip asks which frames matter. Without it the network is the baseline of Zhang et al., "Hello
Edge", 2017, which classifies its last state.
"""

import torch
from torch import Tensor, nn

from kd_lightning.models.waveform_model import KeywordOutput

CELLS: dict[str, type[nn.RNN | nn.LSTM | nn.GRU]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class RecurrentNetwork(nn.Module):
    """A recurrent network for clips of any length.

    Each feature is normalised by a BatchNorm first: the first cepstral coefficient is ten times the others. Hints can
    tap ``recurrent``, whose output is a tuple: the states of all frames (B, frames, D), where D is the hidden size
    times the directions, and the last states; and ``attention``, the pooled (B, D).

    Args:
        bins: number of feature bins.
        classes: number of classes C.
        cell: "rnn" (tanh), "lstm" or "gru".
        hidden: size of a layer's state, in each direction.
        layers: number of layers.
        bidirectional: whether each layer also runs from the last frame to the first.
        attention: whether frames are pooled by attention; otherwise the last state is classified.
        dropout: probability that a value is dropped between two layers, and of the pooled vector.

    Raises:
        ValueError: if there is no such cell.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        cell: str = "gru",
        hidden: int = 128,
        layers: int = 1,
        bidirectional: bool = False,
        attention: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ValueError(f"recurrent network of cell {cell!r}: set cell to {', '.join(CELLS)}")
        width = 2 * hidden if bidirectional else hidden
        self.norm = nn.BatchNorm1d(bins)
        self.recurrent = CELLS[cell](
            bins,
            hidden,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # torch warns where there is nothing between
        )
        self.attention = DotAttention(width) if attention else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames) as logits (B, C)."""
        states, _ = self.recurrent(self.norm(features).transpose(1, 2))
        # What has heard the whole clip: the last frame, or where each direction ends. The last states that torch
        # returns are the same, but torch.export gives those of an LSTM one dimension too many.
        pooled = states[:, -1]
        if self.recurrent.bidirectional:
            hidden = self.recurrent.hidden_size
            pooled = torch.cat((states[:, -1, :hidden], states[:, 0, hidden:]), dim=1)
        if self.attention is not None:
            pooled = self.attention(states, pooled)
        return KeywordOutput(self.head(self.dropout(pooled)))


class DotAttention(nn.Module):
    """Average of the frames, weighted by softmax(states . query): the query is a projection of a summary.

    Args:
        width: size D of a frame's state.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)

    def forward(self, states: Tensor, summary: Tensor) -> Tensor:
        """Pool states (B, frames, D) by what the summary (B, D) asks for, into (B, D)."""
        scores = states @ self.query(summary).unsqueeze(2)
        return (scores.softmax(dim=1) * states).sum(dim=1)
