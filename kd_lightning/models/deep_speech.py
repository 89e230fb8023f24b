"""Deep Speech: dense layers over a window of frames, one recurrent layer in both directions, CTC.

Hannun et al., "Deep Speech: Scaling up end-to-end speech recognition", 2014, in torchaudio's implementation.
"""

import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.models.padding import without_padding
from kd_lightning.models.ragged_recurrence import recurrent_states
from kd_lightning.models.recognition_output import RecognitionOutput


class DeepSpeech(nn.Module):
    """torchaudio's DeepSpeech over windows of neighbouring frames.

    Its layers are called one by one: called as a whole, its recurrent layer starts in the padding and changes what is
    said of shorter utterances. Hints can tap ``network.fc1``, ``network.fc2``, ``network.fc3`` and ``network.fc4``:
    (B, frames, hidden).

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        hidden: width of every layer (2,048 in the paper).
        context: frames on either side of one that the first layer sees with it (9 in the paper).
        stride: features' frames in one of the output (2 in the paper).
        dropout: probability that a value is dropped after each dense layer.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        hidden: int = 2048,
        context: int = 9,
        stride: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.context = context
        self.width = hidden
        self.subsampling = stride
        self.network = torchaudio.models.DeepSpeech(bins * (2 * context + 1), hidden, classes, dropout)
        self.network.bi_rnn.batch_first = True  # as recurrent_states has them

    @property
    def ctc(self) -> nn.Module:
        """Maps hidden frames (B, frames, hidden) to token scores (B, frames, V)."""
        ctc: nn.Module = self.network.out
        return ctc

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame; the arguments are those of :meth:`encode`."""
        memory, lengths = self.encode(features, lengths)
        return RecognitionOutput(self.ctc(memory), lengths)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the CTC layer, or an attention decoder, looks at.

        Args:
            features: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames.

        Returns:
            (B, ceil(frames / stride), hidden) and its valid frames (B,).
        """
        network = self.network
        windows = self.windows(without_padding(features, lengths))
        lengths = (lengths + self.subsampling - 1) // self.subsampling
        hidden = network.fc3(network.fc2(network.fc1(windows)))
        forwards, backwards = recurrent_states(network.bi_rnn, hidden, lengths).chunk(2, dim=2)
        return network.fc4(forwards + backwards), lengths

    def windows(self, features: Tensor) -> Tensor:
        """Each ``stride``-th frame of (B, bins, frames) and its neighbours: (B, frames, bins * (2 * context + 1)).

        Beyond the ends of the batch neighbours are 0.
        """
        padded = functional.pad(features, (self.context, self.context))
        return padded.unfold(2, 2 * self.context + 1, self.subsampling).transpose(1, 2).flatten(2)
