"""Asking a teacher that hears utterances: what comes back is what it says of each alone, whatever lies beside it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytorch_lightning as pl
import torch
from made_up import fingerprint
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.frontend.features import SpecMasks
from kd_lightning.frontend.raw_waveform import RawWaveform
from kd_lightning.labels.format import Unit
from kd_lightning.labels.hypotheses import Sentence
from kd_lightning.labels.reader import open_store
from kd_lightning.labels.utterance_labeller import UtteranceLabeller
from kd_lightning.labels.utterance_reader import (
    Heard,
    StoredUtterances,
    UtteranceLabels,
    open_utterance_labels,
    spelt,
)
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput

CLASSES = ["<blank>", " ", "a", "b", "c"]
GENERATOR = torch.Generator().manual_seed(0)
LENGTHS = torch.randint(1, 30, (40,), generator=GENERATOR).tolist()
CORPUS = [[torch.randn(length, generator=GENERATOR) for length in LENGTHS] for _ in range(2)]
HEARD: list[list[int]] = []  # samples of the utterances in each batch that a teacher was given


class Batch(NamedTuple):
    waveform: Tensor
    samples: Tensor
    masks: SpecMasks
    labelled: Tensor
    texts: list[str]
    ids: list[str]


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Random weights may happen to hear little of the padding."""
    torch.manual_seed(0)


def loader(units: Sequence[Unit], together: float) -> DataLoader[Any]:
    """The longest first, seven at once or alone."""
    batches = []
    for unit in units:
        order = sorted(range(unit.begin, unit.end), key=lambda row: -LENGTHS[row])
        size = 7 if together else 1
        for first in range(0, len(order), size):
            rows = order[first : first + size]
            none = torch.zeros(len(rows), 0, 2)
            batches.append(
                Batch(
                    nn.utils.rnn.pad_sequence([CORPUS[unit.view][row] for row in rows], batch_first=True),
                    torch.tensor([LENGTHS[row] for row in rows]),
                    SpecMasks(none, none),
                    torch.tensor([row % 2 == 0 for row in rows]),
                    [f"text {row}" for row in rows],
                    [f"cut{row}" for row in rows],
                )
            )
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


class OneFrameASample(nn.Module):
    """A network whose outputs are known: logits of a frame are multiples of a sample."""

    subsampling = 1

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(1, 3, 1)
        self.ctc = nn.Linear(3, len(CLASSES))

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        HEARD.append(lengths.tolist())
        return RecognitionOutput(self.ctc(self.hidden(features[:, None]).transpose(1, 2)), lengths)


class OverTime(OneFrameASample):
    """Takes the mean over time away, padding counted, as group norm does."""

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        return super().forward(features - features.mean(dim=1, keepdim=True), lengths)


class OverTimeAlone(OverTime):
    depends_on_padding = True


def teacher_of(network: nn.Module) -> Recogniser:
    return Recogniser(RawWaveform(16000), network).eval()


def listen(
    features: Tensor, frames: Tensor, output: RecognitionOutput, transcripts: Sequence[str | None]
) -> list[Sentence]:
    """As many letters as frames; the first transcripts were heard well."""
    return [
        Sentence("å" * length, 1 / length, length != 7, None if text is None else int(text[5:]) / 40)
        for length, text in zip(frames.tolist(), transcripts, strict=True)
    ]


def label(network: nn.Module, folder: Path, max_wer: float | None = None, **changes: Any) -> UtteranceLabels:
    fields = {"clips": len(LENGTHS), "views": 2, "dtype": "float32", "classes": CLASSES, "logits": True}
    wanted = fingerprint(**fields | changes)
    writer = LabelWriter(folder, wanted)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    listener = listen if wanted.decoding is not None else None
    labeller = UtteranceLabeller(teacher_of(network), writer, loader, cuts, listener)
    HEARD.clear()
    trainer.predict(labeller, return_predictions=False)
    writer.finish()
    return open_utterance_labels(folder, wanted, max_wer)


def cuts(unit: Unit) -> list[str]:
    return [f"cut{row}" for row in range(unit.begin, unit.end)]


@torch.no_grad()
def alone(network: nn.Module, view: int, row: int) -> Tensor:
    waveform = CORPUS[view][row][None]
    logits = teacher_of(network)(waveform).logits[0]
    assert isinstance(logits, Tensor)
    return logits


@pytest.mark.parametrize("top_k", [None, len(CLASSES) - 1])
def test_every_utterance_and_view_gets_what_the_teacher_says_of_it_alone(
    tmp_path: Path, top_k: int | None
) -> None:
    network = OneFrameASample()
    labels = label(network, tmp_path, taps=["hidden"], frame_dims={"hidden": -1}, top_k=top_k)
    rows, views = [3, 0, 39, 17, 8], [1, 0, 1, 1, 0]
    stored, sentences = labels.read(rows, views)
    assert sentences == []
    lengths = torch.tensor([LENGTHS[row] for row in rows])
    assert stored.logits is not None
    assert stored.lengths is not None
    assert torch.equal(stored.lengths, lengths)
    assert stored.logits.shape == (5, int(lengths.max()), len(CLASSES))
    for place, (row, view) in enumerate(zip(rows, views, strict=True)):
        said = stored.logits[place, : LENGTHS[row]]
        torch.testing.assert_close(said.softmax(1), alone(network, view, row).softmax(1))
        hidden = network.hidden(CORPUS[view][row][None])
        torch.testing.assert_close(stored.taps["hidden"][place, :, : LENGTHS[row]], hidden)
    beyond = ~frame_mask(lengths, stored.logits.shape[1])
    assert not stored.logits[beyond].any()
    assert not stored.taps["hidden"].transpose(1, 2)[beyond].any()


def test_activations_with_channels_last_come_back_so(tmp_path: Path) -> None:
    network = OneFrameASample()
    stored, _ = label(network, tmp_path, taps=["ctc"], frame_dims={"ctc": 1}).read([4, 9], [0, 1])
    assert stored.logits is not None
    torch.testing.assert_close(stored.taps["ctc"], stored.logits)


def test_only_frames_that_are_not_padding_are_stored(tmp_path: Path) -> None:
    label(OneFrameASample(), tmp_path, dtype="float16")
    shard = load_file(tmp_path / "view_000" / "block_0000.safetensors")
    assert shard["logits"].shape == (sum(LENGTHS), len(CLASSES))
    assert shard["logits"].dtype == torch.float16
    assert torch.equal(shard["offsets/logits"].diff(), torch.tensor(LENGTHS))


def test_a_teacher_that_hears_padding_is_refused_unless_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"logits of cut\d+ change by .* with the clips beside it"):
        label(OverTime(), tmp_path / "silent")
    assert list((tmp_path / "silent").glob("view_*")) == []
    network = OverTimeAlone()
    stored, _ = label(network, tmp_path / "said").read(range(40), [1] * 40)
    assert {len(batch) for batch in HEARD} == {1}
    assert stored.logits is not None
    for row, length in enumerate(LENGTHS):
        torch.testing.assert_close(stored.logits[row, :length], alone(network, 1, row))


def test_sentences_come_back_as_they_were_heard(tmp_path: Path) -> None:
    decoding = {"beam": 1}
    labels = label(OneFrameASample(), tmp_path, logits=False, classes=[], decoding=decoding)
    assert LENGTHS[5] == 7
    stored, heard = labels.read([5, 2], [0, 1])
    assert (stored.logits, stored.lengths, stored.taps) == (None, None, {})
    assert [one.text for one in heard] == ["å" * LENGTHS[5], "å" * LENGTHS[2]]
    # Of a sentence that came to no end nothing is learnt.
    assert spelt(heard, [False, True], lambda text: [1] * len(text)).lengths.tolist() == [0, LENGTHS[2]]
    shard = load_file(tmp_path / "view_000" / "block_0000.safetensors")
    assert len(shard["text"]) == 2 * sum(LENGTHS)
    assert [one.confidence for one in heard] == pytest.approx([1 / LENGTHS[5], 1 / LENGTHS[2]])
    assert heard[0].wer is None
    assert heard[1].wer == pytest.approx(2 / 40)


def test_a_sentence_is_trusted_if_it_ended_and_is_right_enough_as_far_as_that_can_be_seen(
    tmp_path: Path,
) -> None:
    labels = label(OneFrameASample(), tmp_path, 0.25, logits=False, classes=[], decoding={"beam": 1})
    trusts = labels.trusts
    assert trusts(Sentence("a", 1.0, wer=0.25), True, "cut")
    assert not trusts(Sentence("a", 1.0, wer=0.26), True, "cut")
    assert trusts(Sentence("a", 1.0, wer=0.26), False, "cut")
    assert not trusts(Sentence("a", 1.0, ended=False, wer=0.0), True, "cut")
    assert not trusts(Sentence("a", 1.0, ended=False), False, "cut")
    with pytest.raises(ValueError, match=r"labels\.max_wer=0\.25: the transcript of cut was hidden when"):
        trusts(Sentence("a", 1.0), True, "cut")


def test_a_run_of_frames_does_not_find_them_in_a_store_of_hypotheses(tmp_path: Path) -> None:
    label(OneFrameASample(), tmp_path, logits=False, classes=[], decoding={"beam": 1})
    fields = {"clips": len(LENGTHS), "views": 2, "dtype": "float32", "classes": CLASSES, "logits": True}
    with pytest.raises(ValueError, match=r"labels of another .*logits: false stored, true in this run"):
        open_store(tmp_path, fingerprint(**fields), UtteranceLabels)


def test_a_teacher_without_ctc_has_no_frames_to_store(tmp_path: Path) -> None:
    class Silent(OneFrameASample):
        def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
            return super().forward(features, lengths)._replace(logits=None)

    with pytest.raises(ValueError, match=r"reads frames of a CTC layer, and the teacher has none"):
        label(Silent(), tmp_path)


def test_what_is_stored_moves_with_its_batch() -> None:
    rows = torch.zeros(2, 3)
    stored = StoredUtterances(
        rows, rows.long(), {"hidden": rows}, Heard(rows.long(), rows, rows.bool(), rows)
    )
    moved = stored.to(torch.device("meta"))
    assert moved.heard is not None
    every = [moved.logits, moved.lengths, moved.taps["hidden"], *moved.heard]
    assert all(tensor is not None and tensor.is_meta for tensor in every)
    nothing = StoredUtterances(None, None, {})
    assert nothing.to(torch.device("meta")) == nothing
