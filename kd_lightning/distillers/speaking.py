"""What the distillers of synthesis and vocoding share: how what a student says is scored, kept and heard."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.round_trip import RoundTrip
from kd_lightning.distillers.speech_scores import MelPair, means, of_mels, read_back
from kd_lightning.distillers.spoken import Spoken, first
from kd_lightning.metrics.scores import mean_intervals


class Said(NamedTuple):
    """One utterance of a test.

    Attributes:
        spoken: what the student said, beside the recording.
        scores: those that only the task knows, by key.
    """

    spoken: Spoken
    scores: dict[str, float]


class SpeakingDistiller(Distiller):
    """Distils a network that speaks.

    Args:
        round_trip: what listens to the test; ``None``: nobody.
        arguments: see :class:`~kd_lightning.distillers.distiller.Distiller`.

    Attributes:
        most_spoken: how many utterances of a test are kept.
        spoken: those, after a test.
    """

    def __init__(self, round_trip: RoundTrip | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.round_trip = round_trip
        self.most_spoken = 0
        self.spoken: list[Spoken] = []
        self._validation: list[dict[str, float]] = []

    def say(self, batch: Any) -> list[Said]:
        """What the student says of a batch, to be heard; each task writes its own."""
        raise NotImplementedError

    def say_mels(self, batch: Any) -> list[MelPair]:
        """The mels of a batch alone, beside those of the recordings; each task writes its own."""
        raise NotImplementedError

    def is_fixed(self, key: str) -> bool:
        return super().is_fixed(key) or key.startswith("round_trip.")

    def judge(self, one: Spoken) -> dict[str, float]:
        """The scores of an utterance that every network of a task has; each task writes its own."""
        raise NotImplementedError

    @torch.no_grad()
    def speak_samples(self, batch: Any) -> list[Spoken]:
        """What the student says of a batch, beside the recordings."""
        with self._drawing_alike():
            return [said.spoken for said in self.say(batch)]

    @contextmanager
    def _drawing_alike(self) -> Iterator[None]:
        """What a network draws to speak, such as a flow's noise, is the same whenever it is heard."""
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(0)
            yield

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        with self._drawing_alike():
            self._validation += [of_mels(pair) for pair in self.say_mels(batch)]

    def on_validation_epoch_end(self) -> None:
        values = means(self._of_all_ranks(self._validation))
        self._validation = []
        self.log_dict({f"validation/{key}": value for key, value in values.items()})
        self.log("mcd", values["mcd"], prog_bar=True, logger=False)

    def on_test_start(self) -> None:
        self.predictions, self.spoken = [], []

    def test_step(self, batch: Any, batch_idx: int) -> None:
        with self._drawing_alike():
            everything = self.say(batch)
        rate = self.student.frontend.sample_rate
        heard = [""] * len(everything)
        if self.round_trip is not None:
            heard = self.round_trip([torch.from_numpy(said.spoken.waveform) for said in everything], rate)
        columns = (everything, heard, batch.texts, batch.speakers)
        for said, output, text, speaker in zip(*columns, strict=True):
            one = said.spoken
            scores = said.scores | self.judge(one)
            if self.round_trip is not None:
                scores |= read_back(text, output, self.round_trip.language)
            self.predictions.append(
                {
                    "cut": one.cut,
                    "reference": text,
                    "output": output,
                    "score": scores["mcd"],
                    "speaker": speaker,
                    "snr": None,
                    "seconds": len(one.reference) / rate,
                    "metrics": scores,
                }
            )
            self.spoken = first([*self.spoken, one], self.most_spoken)

    def on_test_epoch_end(self) -> None:
        self.predictions = self.gathered(self.predictions)
        self.log_dict(means([line["metrics"] for line in self.predictions]))

    def intervals(self) -> dict[str, list[float]]:
        return mean_intervals(self.predictions)

    def _of_all_ranks(self, scores: list[dict[str, float]]) -> list[dict[str, float]]:
        if self.trainer.world_size == 1:
            return scores
        of_ranks: list[Any] = [None] * self.trainer.world_size
        torch.distributed.all_gather_object(of_ranks, scores)
        return [one for of_rank in of_ranks for one in of_rank]
