"""Listen, Attend and Spell: a listener that hears ever fewer frames, and a speller that looks back at them.

Chan, Jaitly, Le & Vinyals, "Listen, Attend and Spell: A Neural Network for Large Vocabulary Conversational Speech
Recognition", ICASSP 2016.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from kd_lightning.models.attention_recogniser import AttentionDecoder, EncoderDecoder
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput


class Listener(nn.Module):
    """A pyramid of bidirectional LSTMs: each layer above the first hears pairs of frames of the one below.

    Args:
        bins: number of feature bins.
        classes: number of tokens V of the CTC layer, the blank included.
        hidden: size of a layer's state, in each direction.
        pyramids: layers that halve the frames. CTC needs a frame for each token: at a hop of 10 ms three leave 12.5 a
            second, which suits words and word pieces, while characters want two.
        dropout: probability that a value between two layers is dropped.
        ctc: whether there is a CTC layer.

    Attributes:
        width: size D of a frame, twice the hidden size.
        subsampling: frames of the features for one of the output, 2^pyramids.
        ctc: maps hidden frames (B, frames, D) to token scores (B, frames, V); ``None`` without CTC.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        hidden: int = 256,
        pyramids: int = 3,
        dropout: float = 0.0,
        ctc: bool = True,
    ) -> None:
        super().__init__()
        self.width = 2 * hidden
        self.subsampling = 2**pyramids
        sizes = [bins] + [2 * self.width] * pyramids
        self.layers = nn.ModuleList(
            nn.LSTM(size, hidden, batch_first=True, bidirectional=True) for size in sizes
        )
        self.dropout = nn.Dropout(dropout)
        self.ctc = nn.Linear(self.width, classes) if ctc else None

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden frames.

        Args:
            features: (B, bins, frames).
            lengths: (B,) int64, valid frames.

        Returns:
            (B, frames / 2^pyramids, D), halved and rounded up at each layer, and its valid frames (B,) int64.
        """
        bottom, *pyramid = self.layers
        hidden = _heard(bottom, features.transpose(1, 2), lengths)
        for layer in pyramid:
            hidden, lengths = pairs(self.dropout(hidden)), (lengths + 1) // 2
            hidden = _heard(layer, hidden, lengths)
        return self.dropout(hidden), lengths

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame; the arguments are those of :meth:`encode`."""
        hidden, lengths = self.encode(features, lengths)
        return RecognitionOutput(None if self.ctc is None else self.ctc(hidden), lengths)


class Speller(AttentionDecoder):
    """LSTM cells that are fed the last token and what was looked at, and say the next from where they look now.

    s_u = LSTM(s_{u-1}, y_{u-1}, c_{u-1}); the weights of c_u are softmax(<phi(s_u), psi(h)>) over the frames h; and a
    perceptron of (s_u, c_u) scores the tokens (eq. 6 to 11).

    Args:
        memory: size of the encoder's frames.
        classes: number of tokens V.
        hidden: size of a cell's state.
        layers: number of cells, one above the other.
        embedding: size of a token.
        attention: size of the space in which states and frames are compared.
        dropout: probability that a value of a token, or of what a cell gives to the next, is dropped.
    """

    def __init__(
        self,
        memory: int,
        classes: int,
        hidden: int = 512,
        layers: int = 2,
        embedding: int = 128,
        attention: int = 512,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, embedding)
        inputs = [embedding + memory] + [hidden] * (layers - 1)
        self.cells = nn.ModuleList(nn.LSTMCell(size, hidden) for size in inputs)
        self.query = nn.Linear(hidden, attention)
        self.key = nn.Linear(memory, attention)
        self.head = nn.Sequential(
            nn.Linear(hidden + memory, hidden), nn.Tanh(), nn.Dropout(dropout), nn.Linear(hidden, classes)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> tuple[Tensor, Tensor]:
        """Token logits (B, U + 1, V) and attention weights (B, U + 1, frames): see :class:`AttentionDecoder`."""
        tokens = torch.cat((prefix.new_zeros(len(prefix), 1), prefix), dim=1)
        embedded = self.dropout(self.embedding(tokens))
        keys, padding = self.key(memory), ~frame_mask(lengths, memory.shape[1])
        states: list[tuple[Tensor, Tensor] | None] = [None] * len(self.cells)  # zeros
        context = memory.new_zeros(memory.shape[0], memory.shape[2])
        said, weights = [], []
        for token in embedded.unbind(dim=1):
            heard = torch.cat((token, context), dim=1)
            for index, cell in enumerate(self.cells):
                states[index] = state = cell(heard, states[index])
                heard = self.dropout(state[0])
            scores = torch.einsum("ba,bta->bt", self.query(heard), keys)
            looked = scores.masked_fill(padding, -torch.inf).softmax(dim=1)
            context = torch.einsum("bt,btd->bd", looked, memory)
            said.append(torch.cat((heard, context), dim=1))
            weights.append(looked)
        return self.head(torch.stack(said, dim=1)), torch.stack(weights, dim=1)


class ListenAttendSpell(EncoderDecoder):
    """The listener, and the speller on top of it.

    Args:
        bins: number of feature bins.
        classes: number of tokens V.
        hidden: size of a listener's state, in each direction.
        pyramids: layers of the listener that halve the frames.
        speller_hidden: size of a speller's state, and of the space in which it compares.
        speller_layers: number of the speller's cells.
        embedding: size of a token.
        dropout: probability that a value is dropped.
        ctc: whether the listener has a CTC layer, for joint CTC (Kim, Hori & Watanabe 2017).
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        hidden: int = 256,
        pyramids: int = 3,
        speller_hidden: int = 512,
        speller_layers: int = 2,
        embedding: int = 128,
        dropout: float = 0.0,
        ctc: bool = True,
    ) -> None:
        listener = Listener(bins, classes, hidden, pyramids, dropout, ctc)
        speller = Speller(
            listener.width, classes, speller_hidden, speller_layers, embedding, speller_hidden, dropout
        )
        super().__init__(listener, speller)


def pairs(hidden: Tensor) -> Tensor:
    """Neighbours side by side: (B, frames, D) to (B, ceil(frames / 2), 2 D), the last beside zeros if it is alone."""
    if hidden.shape[1] % 2:
        hidden = nn.functional.pad(hidden, (0, 0, 0, 1))
    return hidden.unflatten(1, (-1, 2)).flatten(2)


def _heard(layer: nn.Module, frames: Tensor, lengths: Tensor) -> Tensor:
    """What a recurrent layer says of (B, frames, D), each utterance from its own end; zero beyond it."""
    packed = pack_padded_sequence(frames, lengths.cpu(), batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(layer(packed)[0], batch_first=True, total_length=frames.shape[1])
    return states
