"""From the samples of a recording, however long, to its text and the time of each word."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd_lightning.decoding.alignment import WordTime, word_times
from kd_lightning.decoding.attention import search
from kd_lightning.decoding.beam import PrefixBeam
from kd_lightning.decoding.greedy import greedy
from kd_lightning.decoding.hypothesis import Hypothesis
from kd_lightning.decoding.seams import pause, quietest, windows
from kd_lightning.frontend.text import joined, words
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.models.recogniser import Recogniser

SHORTEST_CHUNK = 1.0
_PAUSE_SECONDS = 0.3  # longer than the closure of a stop consonant
_BEAM = 50  # where only a language model is asked for

Samples = npt.NDArray[np.int16]


class Segment(NamedTuple):
    """What was decoded at once.

    Attributes:
        start: in seconds.
        end: in seconds.
        text: its words.
        confidence: in [0, 1]; each decoder says what it is.
    """

    start: float
    end: float
    text: str
    confidence: float


class Transcript(NamedTuple):
    """What a recording says.

    Attributes:
        seconds: its length.
        text: all of it.
        words: each with its time, by forced alignment; ``None`` where the network has no CTC layer.
        segments: of a recording that is longer than a chunk.
    """

    seconds: float
    text: str
    words: list[WordTime] | None
    segments: list[Segment]


class Transcriber:
    """Recognises recordings of any length with the memory of one chunk.

    A long recording is heard in windows that overlap, and cut into segments at pauses in these overlaps: where both
    windows say nothing between two words, if there is a CTC layer, else where it is quietest. A segment's CTC logits
    are those of the window in whose middle it lies; an attention decoder hears the segment as an utterance. Each
    segment is decoded by itself: a language model begins anew.

    Args:
        model: in eval mode, on any device. A network with an attention decoder transcribes by it.
        pieces: V names of its tokens, the blank first.
        chunk_seconds: longest window; the network should have been trained on utterances about as long.
        beam: hypotheses that are kept; 1 is greedy. ``None``: 1, or 50 with a language model.
        language_model: see :class:`~kd_lightning.decoding.beam.PrefixBeam`.

    Attributes:
        has_ctc: whether there is a CTC layer, and so word times.

    Raises:
        FileNotFoundError: there is no such language model.
        ValueError: the chunk is too short, no beam, or a language model is asked for beside an attention decoder.
    """

    def __init__(
        self,
        model: Recogniser,
        pieces: Sequence[str],
        chunk_seconds: float = 20.0,
        beam: int | None = None,
        language_model: str | Path | None = None,
    ) -> None:
        if not SHORTEST_CHUNK <= chunk_seconds < float("inf"):
            raise ValueError(
                f"chunk_seconds={chunk_seconds}: at least {SHORTEST_CHUNK:g}, or words do not fit"
            )
        if beam is not None and beam < 1:
            raise ValueError(f"beam={beam}: at least 1, which is greedy")
        if model.writes and language_model is not None:
            raise ValueError(
                f"language_model={language_model}: {type(model.network).__name__} writes with an attention decoder, "
                "which knows the language by itself: leave it out"
            )
        self._model = model
        self._pieces = pieces
        self._read = decoder_of(pieces)
        self._device = next(model.parameters()).device
        self._rate = int(model.frontend.sample_rate)
        self._seconds = model.seconds_per_frame
        # Windows begin with a frame of the output, so that their frames are of the same moments.
        self._hop = round(self._seconds * self._rate)
        self._longest = round(chunk_seconds / self._seconds)
        self._beam = beam or (1 if language_model is None else _BEAM)
        self._beams: PrefixBeam | None = None
        if not model.writes and (self._beam > 1 or language_model is not None):
            self._beams = PrefixBeam(pieces, self._beam, language_model=language_model)
        self.has_ctc = True
        self.has_ctc = self._logits(np.zeros(self._rate, np.int16), (0, self._longest)) is not None

    def __call__(self, samples: Samples) -> Transcript:
        """Transcribe a recording.

        Args:
            samples: (T,) int16 at the frontend's sample rate, T at least 1.
        """
        duration = len(samples) / self._rate
        segments: list[Segment] = []
        times: list[WordTime] = []
        for start, end, logits in self._cut(samples):
            hypothesis = self._decode(samples[start * self._hop : end * self._hop], logits)
            begin, finish = start * self._seconds, min(end * self._seconds, duration)
            segment = Segment(begin, finish, self._read(hypothesis.tokens), hypothesis.confidence)
            if logits is not None:
                times += self._times(logits, hypothesis.tokens, segment)
            segments.append(segment)
        text = joined(" ".join(segment.text for segment in segments if segment.text))
        return Transcript(duration, text, times if self.has_ctc else None, segments)

    def _cut(self, samples: Samples) -> Iterator[tuple[int, int, Tensor | None]]:
        """First frame and end of each segment, and its CTC logits (frames, V)."""
        spans = windows(-(-len(samples) // self._hop), self._longest)
        start = 0
        logits = self._logits(samples, spans[0])
        for (begun, ended), (begin, end) in pairwise(spans):
            held, logits = logits, self._logits(samples, (begin, end))
            if held is None or logits is None:
                seam = begin + self._quietest(samples[begin * self._hop : ended * self._hop])
                yield start, seam, None
            else:
                overlap = min(len(held) - (begin - begun), len(logits))
                seam = begin + pause(held[begin - begun :][:overlap], logits[:overlap], self._pieces)
                yield start, seam, held[start - begun : seam - begun]
            start = seam
        begun, ended = spans[-1]
        yield start, ended, None if logits is None else logits[start - begun :]

    @torch.no_grad()
    def _logits(self, samples: Samples, span: tuple[int, int]) -> Tensor | None:
        """CTC logits (frames, V) of some frames of a recording; ``None`` without a CTC layer."""
        if not self.has_ctc:
            return None
        logits = self._model(self._waveform(samples[span[0] * self._hop : span[1] * self._hop])).logits
        return None if logits is None else logits[0].float().cpu()

    def _quietest(self, samples: Samples) -> int:
        """The frame of an overlap in the middle of its quietest stretch."""
        frames = samples[: len(samples) // self._hop * self._hop].reshape(-1, self._hop)
        levels = np.square(frames, dtype=np.float64).mean(axis=1)
        return quietest(levels, max(1, round(_PAUSE_SECONDS / self._seconds)))

    @torch.no_grad()
    def _decode(self, samples: Samples, logits: Tensor | None) -> Hypothesis:
        """The best sentence of a segment."""
        if self._model.writes:
            network: Any = self._model.network
            frontend = self._model.frontend
            lengths = torch.tensor([len(samples)], device=self._device)
            features = frontend(self._waveform(samples), None, lengths)
            return search(network, features, frontend.frames(lengths), self._beam)[0][0]
        assert logits is not None
        batch, lengths = logits[None], torch.tensor([len(logits)])
        return greedy(batch, lengths)[0] if self._beams is None else self._beams(batch, lengths)[0][0]

    def _times(self, logits: Tensor, tokens: list[int], segment: Segment) -> list[WordTime]:
        """When the words of a segment were said; its whole time for those of a decoder that CTC has no frames for."""
        try:
            found = word_times(logits, tokens, self._pieces, self._seconds)
        except ValueError:
            return [WordTime(word, segment.start, segment.end) for word in words(segment.text)]
        return [
            WordTime(word, segment.start + start, min(segment.start + end, segment.end))
            for word, start, end in found
        ]

    def _waveform(self, samples: Samples) -> Tensor:
        """(1, T) float32 in [-1, 1], on the network's device."""
        return torch.from_numpy(samples * np.float32(1 / 32768))[None].to(self._device)
