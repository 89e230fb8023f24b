"""Every network that speaks learns one real sentence by heart, at the sizes that two cores train.

    KD_SPEECH=<folder> python -m pytest tests/benchmarks/test_overfit_speech.py -m '' -s --timeout=0

The folder is in the layout of LJSpeech: ``metadata.csv`` with lines ``id|text`` and ``wavs/<id>.wav``.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pytest
import soundfile
import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.corpora.segment_batches import SegmentBatch
from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.distillers.speaking import SpeakingDistiller
from kd_lightning.distillers.speech_scores import of_mels
from kd_lightning.experiment.finished import build_model
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.pitch import fundamental_frequency
from kd_lightning.frontend.spoken_characters import SpokenCharacters
from kd_lightning.losses.monotonic_alignment import durations_of
from kd_lightning.models.acoustic_output import Sentences

SENTENCE = 1  # the second line: two seconds
LAST = 10  # steps whose mean is the last loss


def to(share: float) -> Callable[[float], float]:
    """For losses that are not negative."""
    return lambda first: share * first


def by(nats: float) -> Callable[[float], float]:
    """For the likelihood of a sample."""
    return lambda first: first - nats


class Learner(NamedTuple):
    """A network and what it has to learn.

    Attributes:
        words: a stage and what chooses its network.
        loss: the term that has to fall, or "loss", all of them.
        bound: the first loss to what the last has to stay under.
        steps: of AdamW.
        lr: its rate.
    """

    words: tuple[str, ...]
    loss: str
    bound: Callable[[float], float]
    steps: int
    lr: float


READERS = {
    "tacotron2_embedded": Learner(
        (
            *("teacher", "experiment=libritts_tts"),
            # Nobody tells it where each character is spoken: it has to find out before it knows the sentence.
            *("distiller@stages.teacher.distiller=synthesis_decoder",),
            *("stages.teacher.distiller.weights.guided_attention=30",),
        ),
        *("mel", to(0.1), 400, 0.003),
    ),
    "feed_forward_small": Learner(("baseline", "experiment=libritts_tts"), *("mel", to(0.12), 400, 0.002)),
}
VOCODERS = {
    "vocos_embedded": Learner(("teacher", "experiment=libritts_vocoder"), *("loss", to(0.4), 150, 0.004)),
    "vocos_small": Learner(("baseline", "experiment=libritts_vocoder"), *("loss", to(0.4), 250, 0.005)),
    "waveglow_small": Learner(
        ("teacher", "experiment=libritts_vocoder", "teacher=waveglow_small", "distiller=vocoding_flow"),
        *("likelihood", by(2.5), 120, 0.01),
    ),
    "squeeze_wave_small": Learner(
        ("baseline", "experiment=libritts_vocoder", "student=squeeze_wave_small", "distiller=vocoding_flow"),
        *("likelihood", by(3.5), 200, 0.005),
    ),
}


class Learnt(NamedTuple):
    """What became of a network.

    Attributes:
        losses: of all steps.
        seconds: of one processor.
        mcd: mel-cepstral distortion of what it says by itself, before and after, in dB.
    """

    losses: list[float]
    seconds: float
    mcd: tuple[float, float]

    @property
    def first(self) -> float:
        return self.losses[0]

    @property
    def last(self) -> float:
        return mean(self.losses[-LAST:])


class Recording(NamedTuple):
    """A sentence, its text, its waveform (1, T) and the sample rate of that."""

    id: str
    text: str
    waveform: Tensor
    rate: int

    @property
    def samples(self) -> Tensor:
        return torch.tensor([self.waveform.shape[1]])


def read(speech: Path) -> tuple[Recording, SpokenCharacters]:
    """The sentence, and the characters of all sentences of the folder."""
    lines = [line.split("|") for line in (speech / "metadata.csv").read_text(encoding="utf-8").splitlines()]
    id, *texts = lines[SENTENCE]
    audio, rate = soundfile.read(speech / "wavs" / f"{id}.wav", dtype="float32")
    tokens = SpokenCharacters.of([line[-1] for line in lines], "en")
    return Recording(id, texts[-1], torch.from_numpy(audio)[None], rate), tokens


def to_read(recording: Recording, tokens: SpokenCharacters) -> SpokenBatch:
    """The sentence as acoustic networks get it; nobody knows its durations."""
    spelt = torch.tensor([tokens.encode(recording.text)])
    f0 = torch.from_numpy(fundamental_frequency(recording.waveform[0], recording.rate)).float()
    return SpokenBatch(
        sentences=Sentences(spelt, torch.tensor([spelt.shape[1]]), torch.tensor([0])),
        waveform=recording.waveform,
        samples=recording.samples,
        durations=None,
        f0=f0[None],
        labelled=torch.tensor([True]),
        ids=[recording.id],
        speakers=["reader"],
        texts=[recording.text],
    )


def to_copy(recording: Recording, hop_length: int) -> SegmentBatch:
    """The sentence as vocoders get it, a whole number of hops."""
    waveform = functional.pad(recording.waveform, (0, -recording.waveform.shape[1] % hop_length))
    return SegmentBatch(
        waveform, recording.samples, torch.tensor([True]), [recording.id], ["reader"], [recording.text]
    )


def speaker(config: dict[str, Any], classes: list[str]) -> SpeakingDistiller:
    """The network and the losses of a stage without a teacher."""
    torch.manual_seed(0)
    student = build_model(config["student"], len(classes), config["task"])
    optimizer = build(config["optimizer"])
    distiller: SpeakingDistiller = build(
        config["distiller"],
        SpeakingDistiller,
        classes=classes,
        student=student,
        teacher=None,
        optimizer=optimizer,
    )
    return distiller


def learn(distiller: SpeakingDistiller, batch: Any, learner: Learner) -> Learnt:
    """Hear the sentence again and again."""
    optimizer = torch.optim.AdamW(distiller.student.parameters(), lr=learner.lr)
    losses, before = [], spoken_mcd(distiller, batch)
    begin = time.process_time()
    for _ in range(learner.steps):
        step = distiller.run_networks(batch)
        loss, means = distiller.weigh({key: term(step) for key, term in distiller.terms.items()})
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(distiller.student.parameters(), 1.0)
        optimizer.step()
        losses.append(float({"loss": loss.detach(), **means}[learner.loss]))
    return Learnt(losses, time.process_time() - begin, (before, spoken_mcd(distiller, batch)))


def spoken_mcd(distiller: SpeakingDistiller, batch: Any) -> float:
    """Of what the network says when nobody tells it how, in dB."""
    distiller.eval()
    torch.manual_seed(0)  # of the noise that a flow speaks from
    distortion = of_mels(distiller.say_mels(batch)[0])["mcd"]
    distiller.train()
    return distortion


@torch.no_grad()
def with_durations(batch: SpokenBatch, distiller: Any) -> SpokenBatch:
    """The sentence with its durations, on the best monotonic path through the attention of a decoder that knows it."""
    distiller.eval()
    recorded = distiller.student.hear(batch.waveform, batch.samples)
    said = distiller.student(batch.sentences, recorded)
    frames = durations_of(said.attention, batch.sentences.lengths, recorded.frames, said.frames_per_step)
    return batch._replace(durations=frames * distiller.student.frontend.hop_seconds)


def table(learnt: dict[str, Learnt]) -> str:
    rows = [
        "| network | loss | first | last | steps | s on one core | MCD before, dB | after |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, one in learnt.items():
        before, after = one.mcd
        rows.append(
            f"| {name} | {(READERS | VOCODERS)[name].loss} | {one.first:.2f} | {one.last:.2f} | {len(one.losses)} | "
            f"{one.seconds:.0f} | {before:.1f} | {after:.1f} |"
        )
    return "\n".join(rows)


@pytest.mark.skipif(
    "KD_SPEECH" not in os.environ,
    reason="KD_SPEECH=<folder of metadata.csv and wavs> says where real speech is",
)
def test_a_real_sentence_is_learnt_by_heart(default_config, say):
    recording, tokens = read(Path(os.environ["KD_SPEECH"]))

    def of(learner: Learner) -> SpeakingDistiller:
        stage, *words = learner.words
        return speaker(default_config(stage, *words, "frontend=mel_22k"), tokens.pieces)

    learnt = {}
    batch = to_read(recording, tokens)
    for name, learner in READERS.items():
        distiller = of(learner)
        learnt[name] = learn(distiller, batch, learner)
        if batch.durations is None:
            batch = with_durations(batch, distiller)
    for name, learner in VOCODERS.items():
        distiller = of(learner)
        segment = to_copy(recording, distiller.student.frontend.hop_length)
        learnt[name] = learn(distiller, segment, learner)
    say(f"{recording.text!r}, {recording.waveform.shape[1] / recording.rate:.1f} s\n\n{table(learnt)}")

    bounds = {name: learner.bound(learnt[name].first) for name, learner in (READERS | VOCODERS).items()}
    assert [name for name, bound in bounds.items() if learnt[name].last > bound] == []
