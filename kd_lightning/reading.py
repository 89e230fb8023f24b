"""Read texts aloud with finished runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from torch import Tensor, nn

from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.experiment.finished import finished_model, spoken_tokens
from kd_lightning.files import whole
from kd_lightning.frontend.sentences import split_sentences
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.waveform_flow import WaveformFlow

# Longer sentences are cut at clauses: networks learn from shorter ones.
MOST_WORDS = 30
PAUSE_SECONDS = 0.2
# The peak of a louder sentence; lossy formats add a little to it.
PEAK = 0.95


class Utterance(NamedTuple):
    """A sentence that was read aloud.

    Attributes:
        text: of the sentence.
        waveform: (T,) float32, within ``PEAK``.
        seconds: of computing.
        ended: whether the decoder came to an end, and was not stopped.
    """

    text: str
    waveform: Tensor
    seconds: float
    ended: bool


class Reading(NamedTuple):
    """What it took to read a text aloud; see :class:`Reader` for how that is measured.

    Attributes:
        speech_seconds: of audio, without the pauses between sentences.
        compute_seconds: of computing in all.
        first_seconds: of computing until the first sentence could be heard.
        unended: sentences whose decoder had to be stopped.
    """

    speech_seconds: float
    compute_seconds: float
    first_seconds: float
    unended: list[str]

    @property
    def real_time_factor(self) -> float:
        """Seconds of computing for a second of speech."""
        return self.compute_seconds / self.speech_seconds


class Reader:
    """Reads with a finished acoustic network and a vocoder, sentence by sentence.

    It runs on a GPU if there is one, else on the threads that torch has been given. Before the first sentence of all,
    that sentence is said once more, and nobody hears it: torch's first call takes many times as long as later ones. The
    time of a sentence is that of spelling it, of both networks, and of bringing the waveform to the CPU; loading the
    networks and writing files are not in it. The first sentence can be heard when it has been computed whole.

    Args:
        acoustic: the run's folder.
        vocoder: the run's folder; ``None``: Griffin-Lim.
        speaker: a name of the acoustic network's corpus; ``None``: the first.
        seed: of the noise that flows speak from, the same for each sentence: it is said alike wherever it stands.

    Attributes:
        sample_rate: of the waveforms, in Hz.
        place: where it is computed, "one thread" for example.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: a run is of another task, the two mean something else by a mel, or nobody is called so.
    """

    def __init__(
        self, acoustic: Path, vocoder: Path | None = None, speaker: str | None = None, seed: int = 0
    ) -> None:
        model, config = finished_model(acoustic)
        if not isinstance(model, AcousticModel):
            raise ValueError(f"acoustic={acoustic} is of task={config['task']}: name a run of task=synthesis")
        self._speaker = _number_of(speaker, config["speakers"])
        self._tokens = spoken_tokens(config)
        speaks: nn.Module = GriffinLim(model.frontend)
        if vocoder is not None:
            speaks, its_config = finished_model(vocoder)
            if not isinstance(speaks, Vocoder):
                raise ValueError(
                    f"vocoder={vocoder} is of task={its_config['task']}: name a run of task=vocoding"
                )
            require_same_mel(model, speaks, "vocoder")
            if isinstance(speaks.network, WaveformFlow):
                speaks.network.fuse()
        self._cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if self._cuda else "cpu")
        self._model, self._vocoder = model.to(self._device), speaks.to(self._device)
        self._seed = seed
        self._warm = False
        self.sample_rate = model.frontend.sample_rate
        threads = torch.get_num_threads()
        usual = "one thread" if threads == 1 else f"{threads} threads"
        self.place = torch.cuda.get_device_name() if self._cuda else usual

    def read(self, text: str) -> Iterator[Utterance]:
        """Read a text of any length; each sentence is computed when it is asked for, and kept by nobody.

        Raises:
            ValueError: the text has no word, or characters that the tokens cannot say, which are named, before any of
                it is said. Later, if the networks give something else than numbers.
        """
        sentences = split_sentences(text, MOST_WORDS)
        for sentence in sentences:
            self._tokens.encode(sentence)
        if not self._warm:
            self._say(sentences[0])
            self._warm = True
        return map(self._say, sentences)

    @torch.no_grad()
    def _say(self, sentence: str) -> Utterance:
        start = perf_counter()
        tokens = self._tokens.encode(sentence)
        with torch.random.fork_rng(devices=[self._device] if self._cuda else []):
            torch.manual_seed(self._seed)
            said = self._model(self._sentences(tokens))
            waveform = self._vocoder(said.mel)[0].float().cpu()
        peak = float(waveform.abs().max())
        if not math.isfinite(peak):
            raise ValueError(
                f"the networks said something that is no number for {sentence!r}: choose other runs, these are broken"
            )
        waveform /= max(1.0, peak / PEAK)
        ended = said.ended is None or bool(said.ended)
        return Utterance(sentence, waveform, perf_counter() - start, ended)

    def _sentences(self, tokens: Sequence[int]) -> Sentences:
        of_one: Any = (torch.tensor([tokens]), torch.tensor([len(tokens)]), torch.tensor([self._speaker]))
        return Sentences(*of_one).to(self._device)


def write_reading(path: Path, utterances: Iterable[Utterance], sample_rate: int) -> Reading:
    """Write a text as it is read, with pauses between its sentences; never more than one of them is in memory.

    Args:
        path: the audio file, whole or not at all; its ending says the format.
        utterances: at least one.
        sample_rate: in Hz.

    Raises:
        OSError: the file could not be written.
    """
    pause = np.zeros(round(PAUSE_SECONDS * sample_rate), np.float32)
    samples = 0
    seconds: list[float] = []
    unended: list[str] = []
    with whole(path) as beside:
        try:
            with soundfile.SoundFile(beside, "w", sample_rate, 1, format=path.suffix[1:].upper()) as file:
                for utterance in utterances:
                    if seconds:
                        file.write(pause)
                    file.write(utterance.waveform.numpy())
                    samples += len(utterance.waveform)
                    seconds.append(utterance.seconds)
                    if not utterance.ended:
                        unended.append(utterance.text)
        except soundfile.SoundFileError as error:
            raise OSError(str(error)) from error
    return Reading(samples / sample_rate, sum(seconds), seconds[0], unended)


def lines_of(path: Path) -> Iterator[tuple[str, str]]:
    """A name and a text for each line of a file that is not empty.

    Raises:
        ValueError: there is none, or the file is not UTF-8.
    """
    try:
        texts = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({error.reason} at byte {error.start}): save it as such"
        ) from error
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
