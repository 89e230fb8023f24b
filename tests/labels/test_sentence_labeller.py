"""Asking a teacher to read sentences aloud: what comes back is what it says of each, however batches are cut."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import soundfile
import torch
from made_up import fingerprint
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from kd_lightning.distillers.reading import read_aloud
from kd_lightning.frontend.mel import SILENCE, Mel
from kd_lightning.labels.format import Unit
from kd_lightning.labels.reader import open_store
from kd_lightning.labels.sentence_labeller import SentenceLabeller
from kd_lightning.labels.speech import TaughtSpeech
from kd_lightning.labels.speech_audio import write_audio
from kd_lightning.labels.speech_reader import SpeechLabels, open_speech_labels
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.padding import frame_mask

BINS, CLASSES = 3, ["<blank>", "a", "b", "c"]
GENERATOR = torch.Generator().manual_seed(0)
SENTENCES = [
    torch.randint(1, 4, (length,), generator=GENERATOR)
    for length in torch.randint(1, 12, (40,), generator=GENERATOR).tolist()
]
SHARD = "view_000/block_0000.safetensors"


class Batch(NamedTuple):
    sentences: Sentences
    ids: list[str]


def sentences_of(rows: Sequence[int]) -> Sentences:
    tokens = [SENTENCES[row] for row in rows]
    lengths = torch.tensor(list(map(len, tokens)))
    return Sentences(pad_sequence(tokens, batch_first=True), lengths, torch.zeros_like(lengths))


def in_batches_of(size: int) -> Any:
    """The longest first, so many at once."""

    def loader(units: Sequence[Unit], together: float) -> DataLoader[Any]:
        batches = []
        for unit in units:
            order = sorted(range(unit.begin, unit.end), key=lambda row: -len(SENTENCES[row]))
            cut = [order[first : first + size] for first in range(0, len(order), size)]
            batches += [Batch(sentences_of(rows), [f"cut{row}" for row in rows]) for rows in cut]
        return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    return loader


def cuts(unit: Unit) -> list[str]:
    return [f"cut{row}" for row in range(unit.begin, unit.end)]


class Known(nn.Module):
    """Every token lasts as many frames as its number, and sounds like its number and its place."""

    def __init__(self, knows_durations: bool = True) -> None:
        super().__init__()
        self.knows_durations = knows_durations

    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        durations = sentences.tokens
        mels = []
        for tokens, length in zip(sentences.tokens, sentences.lengths.tolist(), strict=True):
            sound = tokens[:length] / 3 + torch.arange(length) / 7
            frames = sound.repeat_interleave(tokens[:length])
            mels.append(torch.stack([frames, -frames, frames**2], dim=1))
        return AcousticOutput(
            mel=pad_sequence(mels, batch_first=True, padding_value=SILENCE).transpose(1, 2),
            frames=durations.sum(dim=1),
            durations=durations if self.knows_durations else None,
            ended=sentences.lengths > 3,
        )


def teacher_of(network: nn.Module) -> AcousticModel:
    return AcousticModel(Mel(bins=BINS), network).eval()


def read_with_focus(teacher: AcousticModel, sentences: Sentences) -> TaughtSpeech:
    return read_aloud(teacher, sentences)._replace(focus=1 / sentences.lengths)


def label(network: nn.Module, folder: Path, size: int = 7, **changes: Any) -> SpeechLabels:
    fields = {"clips": len(SENTENCES), "views": 1, "dtype": "float32", "classes": CLASSES, "logits": False}
    wanted = fingerprint(**fields | changes)
    writer = LabelWriter(folder, wanted)
    labeller = SentenceLabeller(teacher_of(network), writer, in_batches_of(size), cuts, read_with_focus)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.predict(labeller, return_predictions=False)
    writer.finish()
    return open_speech_labels(folder, wanted)


@pytest.mark.parametrize(("dtype", "exact"), [("float32", 1e-7), ("float16", 2**-11)])
def test_mels_durations_and_trust_come_back(tmp_path: Path, dtype: str, exact: float) -> None:
    rows = [3, 0, 11, 17, 2]
    labels = label(Known(), tmp_path, dtype=dtype)
    taught = labels.read(rows, [0] * 5)
    said = read_with_focus(teacher_of(Known()), sentences_of(rows))
    mel, frames, durations = taught.recorded[:3]
    assert mel.dtype == taught.focus.dtype == torch.float32
    torch.testing.assert_close(mel, said.recorded.mel, rtol=exact, atol=1e-7)
    assert torch.equal(frames, said.recorded.frames)
    assert durations is not None
    assert torch.equal(durations, said.recorded.durations)
    assert torch.equal(durations.sum(dim=1), frames)
    assert torch.equal(taught.focus, said.focus)  # whether to trust does not hang on rounding
    assert torch.equal(taught.ended, said.ended)
    assert [len(SENTENCES[row]) for row in rows] == [4, 11, 5, 11, 2]
    assert taught.trusted(0.2).tolist() == [True, False, True, False, False]
    beyond = ~frame_mask(frames, mel.shape[2])
    assert beyond.any()
    assert (mel.transpose(1, 2)[beyond] == SILENCE).all()


def test_only_what_is_said_is_stored(tmp_path: Path) -> None:
    label(Known(), tmp_path, dtype="float16")
    shard = load_file(tmp_path / SHARD)
    frames = torch.tensor([int(tokens.sum()) for tokens in SENTENCES])
    assert set(shard) == {"mel", "offsets/mel", "durations", "offsets/durations", "focus", "ended"}
    assert shard["mel"].shape == (int(frames.sum()), BINS)
    assert shard["mel"].dtype == torch.float16
    assert torch.equal(shard["offsets/mel"].diff(), frames)
    assert torch.equal(shard["durations"], torch.cat(SENTENCES).int())


def test_a_teacher_without_durations_stores_none(tmp_path: Path) -> None:
    taught = label(Known(knows_durations=False), tmp_path).read([5, 2], [0, 0])
    assert taught.recorded.durations is None
    assert not [name for name in load_file(tmp_path / SHARD) if "durations" in name]


def test_batches_cut_otherwise_leave_the_same_bytes(tmp_path: Path) -> None:
    for size in (7, 40, 1):
        label(Known(), tmp_path / str(size), size)
    one, other, alone = ((tmp_path / size / SHARD).read_bytes() for size in ("7", "40", "1"))
    assert one == other == alone


class OverThePadding(Known):
    """Takes the mean over the longest sentence's frames away, as group norm does."""

    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        said = super().forward(sentences)
        return said._replace(mel=said.mel - said.mel.clamp(min=-5).mean(dim=2, keepdim=True))


class LongerBesideOthers(Known):
    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        said = super().forward(sentences)
        return said._replace(frames=said.frames.max().expand(len(said.frames)))


@pytest.mark.parametrize(("network", "how"), [(OverThePadding, "change by"), (LongerBesideOthers, "are ")])
def test_a_teacher_that_hears_its_neighbours_is_refused(tmp_path: Path, network: type, how: str) -> None:
    with pytest.raises(ValueError, match=rf"of cut\d+ {how}.* with the clips beside it"):
        label(network(), tmp_path)
    assert not list(tmp_path.glob("view_*"))


class Loud(Known):
    """Beyond what float16 holds, where a sentence has eleven tokens."""

    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        said = super().forward(sentences)
        return said._replace(mel=said.mel + 1e5 * (sentences.lengths == 11)[:, None, None])


def test_what_cannot_be_stored_is_named(tmp_path: Path) -> None:
    assert any(len(tokens) == 11 for tokens in SENTENCES)
    with pytest.raises(
        ValueError, match=r"the teacher's mel of cut\d+ are not finite in float16: set labels"
    ):
        label(Loud(), tmp_path / "float16", dtype="float16")
    assert label(Loud(), tmp_path / "float32").read([0], [0]).recorded.mel.isfinite().all()


def test_a_run_does_not_read_what_was_rounded_for_another(tmp_path: Path) -> None:
    label(Known(), tmp_path, dtype="float16")
    fields = {"clips": len(SENTENCES), "views": 1, "classes": CLASSES, "logits": False}
    for change, what in (({"dtype": "float32"}, "precision"), ({"teacher": "other"}, "teacher")):
        wanted = fingerprint(**fields | change)
        with pytest.raises(ValueError, match=f"holds labels of another {what}"):
            open_store(tmp_path, wanted, SpeechLabels)


def test_what_is_stored_moves_with_its_batch(tmp_path: Path) -> None:
    taught = label(Known(), tmp_path).read([0, 1], [0, 0]).to(torch.device("meta"))
    parts = [*taught.recorded[:3], taught.focus, taught.ended]
    assert all(part is not None and part.is_meta for part in parts)


def test_audio_is_written_through_a_vocoder(tmp_path: Path) -> None:
    class Loudness(nn.Module):
        def forward(self, mel: Tensor) -> Tensor:
            return mel[:, 0].repeat_interleave(4, dim=1)

    labels = label(Known(), tmp_path)
    write_audio(tmp_path, labels, [(3, "cut3"), (7, "a/b")], Loudness(), 16000)
    assert sorted(path.name for path in (tmp_path / "audio").iterdir()) == ["a%2Fb.flac", "cut3.flac"]
    heard, rate = soundfile.read(tmp_path / "audio" / "cut3.flac")
    wanted = labels.read([3], [0]).recorded.mel[0, 0].clamp(-1, 1).repeat_interleave(4)
    assert rate == 16000
    torch.testing.assert_close(torch.from_numpy(heard).float(), wanted, atol=2**-15, rtol=0)
