"""Read texts aloud with finished runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.experiment.finished import finished_model, spoken_tokens
from kd_lightning.frontend.sentences import split_sentences
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.models.vocoder import Vocoder

# Longer sentences are cut at clauses: networks learn from shorter ones.
MOST_WORDS = 30
PAUSE_SECONDS = 0.2


class Reading(NamedTuple):
    """A text that was read aloud.

    Attributes:
        waveform: (T,) float32 in [-1, 1].
        sample_rate: in Hz.
        first_seconds: of computing until the first sentence could be heard.
        compute_seconds: of computing in all.
        unended: sentences whose decoder had to be stopped.
    """

    waveform: Tensor
    sample_rate: int
    first_seconds: float
    compute_seconds: float
    unended: list[str]

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of audio."""
        return self.compute_seconds / (len(self.waveform) / self.sample_rate)


class Reader:
    """Reads with a finished acoustic network and a vocoder, sentence by sentence.

    Args:
        acoustic: the run's folder.
        vocoder: the run's folder; ``None``: Griffin-Lim.
        speaker: a name of the acoustic network's corpus; ``None``: the first.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: a run is of another task, the two mean something else by a mel, or nobody is called so.
    """

    def __init__(self, acoustic: Path, vocoder: Path | None = None, speaker: str | None = None) -> None:
        model, config = finished_model(acoustic)
        if not isinstance(model, AcousticModel):
            raise ValueError(f"acoustic={acoustic} is of task={config['task']}: name a run of task=synthesis")
        speaks: nn.Module = GriffinLim(model.frontend)
        if vocoder is not None:
            speaks, its_config = finished_model(vocoder)
            if not isinstance(speaks, Vocoder):
                raise ValueError(
                    f"vocoder={vocoder} is of task={its_config['task']}: name a run of task=vocoding"
                )
            require_same_mel(model, speaks, "vocoder")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model, self._vocoder = model.to(self._device), speaks.to(self._device)
        self._tokens = spoken_tokens(config)
        self._speaker = _number_of(speaker, config["speakers"])

    @property
    def sample_rate(self) -> int:
        """Of the waveforms, in Hz."""
        return self._model.frontend.sample_rate

    @torch.no_grad()
    def __call__(self, text: str) -> Reading:
        """Read a text of any length.

        Raises:
            ValueError: it has no word, or characters that the tokens cannot say, which are named.
        """
        pause = torch.zeros(round(PAUSE_SECONDS * self.sample_rate))
        parts: list[Tensor] = []
        unended: list[str] = []
        sentences = split_sentences(text, MOST_WORDS)
        spelt = [self._tokens.encode(sentence) for sentence in sentences]
        start = perf_counter()
        first = 0.0
        for sentence, tokens in zip(sentences, spelt, strict=True):
            said = self._model(self._sentences(tokens))
            parts += [self._vocoder(said.mel)[0].clamp(-1, 1).cpu(), pause]
            first = first or perf_counter() - start
            if said.ended is not None and not bool(said.ended):
                unended.append(sentence)
        return Reading(torch.cat(parts[:-1]), self.sample_rate, first, perf_counter() - start, unended)

    def _sentences(self, tokens: Sequence[int]) -> Sentences:
        of_one: Any = (torch.tensor([tokens]), torch.tensor([len(tokens)]), torch.tensor([self._speaker]))
        return Sentences(*of_one).to(self._device)


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """A name and a text for each line of a file that is not empty.

    Raises:
        ValueError: there is none, or the file is not UTF-8.
    """
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason}") from error
    if not any(texts):
        raise ValueError(f"{path} has no sentence")
    for number, text in enumerate(texts, start=1):
        if text:
            yield f"{path.stem}_{number:04d}", text


def _number_of(speaker: str | None, speakers: Sequence[str]) -> int:
    """The number of a speaker.

    Raises:
        ValueError: nobody is called so.
    """
    if speaker is None:
        return 0
    if speaker not in speakers:
        shown = ", ".join(speakers[:20]) + (", …" if len(speakers) > 20 else "")
        raise ValueError(f"speaker={speaker}: this network has learnt {shown}")
    return list(speakers).index(speaker)
