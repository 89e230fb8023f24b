"""Recordings of any length: what is said at a seam is said once."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_lightning.decoding.transcriber import Transcriber
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput

PIECES = ["<blank>", " ", *"abcdefgh"]
RATE, FRAME = 1000, 20  # samples a second, samples a frame of the output
LOUD = 500  # a frame of so many times a token's number says that token
END = -1  # such a frame is at an end of the recording


class Levels(nn.Module):
    """The mean of each hundredth of a second."""

    sample_rate, hop_seconds, bins = RATE, 0.01, 1

    def frames(self, samples: Tensor) -> Tensor:
        return -(-samples // FRAME) * 2

    def forward(self, waveform: Tensor, masks: None, lengths: Tensor) -> Tensor:
        waveform = nn.functional.pad(waveform, (0, -waveform.shape[1] % FRAME))
        return waveform.unflatten(1, (-1, 10)).mean(dim=2)[:, None] * 32768 / LOUD


class Spikes(nn.Module):
    """Says the token of a frame up to a frame early or late, and anything near an end that is not the recording's."""

    subsampling = 2
    deaf = 12

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(10.0))

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        heard = features[0, 0].unflatten(0, (-1, 2)).mean(dim=1).round().long()
        draw = random.Random(heard.sum().item() + len(heard))
        path = torch.zeros_like(heard)
        for frame in (heard > 0).nonzero().flatten().tolist():
            path[min(max(frame + draw.choice((-1, 0, 1)), 0), len(path) - 1)] = heard[frame]
        garbled = torch.tensor([draw.randrange(len(PIECES)) for _ in path])
        if heard[0] != END:
            path[: self.deaf] = garbled[: self.deaf]
        if heard[-1] != END:
            path[-self.deaf :] = garbled[-self.deaf :]
        return RecognitionOutput(
            self.scale * nn.functional.one_hot(path, len(PIECES))[None].float(), lengths // 2
        )


class Speller(Spikes):
    """Writes what it hears with a decoder; what it hears in half, it spells in half."""

    def __init__(self, ctc: bool) -> None:
        super().__init__()
        self.ctc = ctc

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        output = super().forward(features, lengths)
        return output if self.ctc else output._replace(logits=None)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return features[:, 0].unflatten(1, (-1, 2)).mean(dim=2, keepdim=True), lengths // 2

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        said = [token for token in memory[0, :, 0].round().long().tolist() if token > 0] + [0]
        following = torch.tensor([said[prefix.shape[1]]] * len(prefix))
        return self.scale * nn.functional.one_hot(following, len(PIECES)).float()


def recording(
    words: int, seed: int, rest: tuple[int, int], filled: float = 0.0
) -> tuple[np.ndarray, list[tuple[str, float, float]]]:
    """A recording of made-up words, one token every four frames, and when each was said."""
    draw = random.Random(seed)
    frames, said = [END, 0, 0], list[tuple[str, float, float]]()
    for _ in range(words):
        word = "".join(draw.choice("abcdefgh") for _ in range(draw.randint(1, 6)))
        start = len(frames)
        for letter in word:
            frames += [PIECES.index(letter), 0, 0, 0]
        said.append((word, start * 0.02, (len(frames) - 3) * 0.02))
        pause = [0] * (draw.randint(*rest) if draw.random() < 0.9 else 150)
        first = draw.randrange(2, len(pause) - 2)
        # Some networks say nothing by saying a space all the time.
        last = len(pause) - 2 if draw.random() < filled else first + 1
        pause[first:last] = [PIECES.index(" ")] * (last - first)
        frames += pause
    frames.append(END)
    return np.repeat(np.array(frames, np.int16) * LOUD, FRAME), said


@pytest.fixture
def ctc() -> Recogniser:
    return Recogniser(Levels(), Spikes()).eval()


@pytest.mark.parametrize("beam", [1, 4])
def test_no_word_is_lost_or_doubled_at_a_seam(ctc: Recogniser, beam: int):
    transcriber = Transcriber(ctc, PIECES, chunk_seconds=4.0, beam=beam)
    for seed in range(20):
        samples, said = recording(150, seed, rest=(5, 12), filled=0.5)
        transcript = transcriber(samples)
        assert transcript.text == " ".join(word for word, *_ in said)
        assert len(transcript.segments) > 20
        assert transcript.words is not None
        for found, (word, start, end) in zip(transcript.words, said, strict=True):
            assert found.word == word
            assert found.start == pytest.approx(start, abs=0.021)
            assert found.end == pytest.approx(end, abs=0.021)


def test_segments_follow_each_other_to_the_end(ctc: Recogniser):
    samples, _ = recording(60, 1, rest=(5, 12))
    transcript = Transcriber(ctc, PIECES, chunk_seconds=4.0)(samples[:-7])
    ends = [segment.end for segment in transcript.segments]
    assert [segment.start for segment in transcript.segments] == [0.0, *ends[:-1]]
    assert ends[-1] == transcript.seconds == pytest.approx((len(samples) - 7) / RATE)
    assert max(end - start for start, end, *_ in transcript.segments) <= 4.0
    assert " ".join(segment.text for segment in transcript.segments if segment.text) == transcript.text


def test_a_recording_as_long_as_a_chunk_is_heard_at_once(ctc: Recogniser):
    samples, said = recording(20, 2, rest=(5, 6))
    transcript = Transcriber(ctc, PIECES, chunk_seconds=len(samples) / RATE)(samples)
    assert len(transcript.segments) == 1
    assert len(transcript.words or []) == len(said)


def test_a_decoder_hears_segments_without_half_words():
    for with_ctc in (True, False):
        transcriber = Transcriber(Recogniser(Levels(), Speller(with_ctc)).eval(), PIECES, chunk_seconds=4.0)
        assert transcriber.has_ctc is with_ctc
        for seed in range(5):
            samples, said = recording(100, seed, rest=(16, 20))
            transcript = transcriber(samples)
            assert transcript.text == " ".join(word for word, *_ in said)
            assert len(transcript.segments) > 10
            if with_ctc:
                assert [each.word for each in transcript.words or []] == [word for word, *_ in said]
            else:
                assert transcript.words is None


def test_words_that_ctc_has_no_frames_for_share_the_time_of_their_segment(monkeypatch: pytest.MonkeyPatch):
    model = Recogniser(Levels(), Speller(True)).eval()
    said = torch.tensor([*(PIECES.index(each) for each in "abba ca"), *[2] * 60, 0])
    monkeypatch.setattr(
        model.network,
        "score_next",
        lambda memory, lengths, prefix: nn.functional.one_hot(said[prefix.shape[1]], len(PIECES))[None] * 9.0,
    )
    transcript = Transcriber(model, PIECES)(np.zeros(800, np.int16))
    assert [word.word for word in transcript.words or []] == ["abba", "ca" + "a" * 60]
    assert {(word.start, word.end) for word in transcript.words or []} == {(0.0, 0.8)}


def test_a_language_model_has_its_say(ctc: Recogniser, tmp_path: Path):
    scores = {"<s>": -99, "</s>": -1, "<unk>": -9, "|": -1, **dict.fromkeys("bcdefgh", -1), "a": -60}
    lines = [
        *("\\data\\", f"ngram 1={len(scores)}", "ngram 2=1", "", "\\1-grams:"),
        *(f"{score}\t{word}\t0" for word, score in scores.items()),
        *("", "\\2-grams:", "-1\tb b", "", "\\end\\", ""),
    ]
    (tmp_path / "letters.arpa").write_text("\n".join(lines))
    samples, _ = recording(30, 0, rest=(5, 12))
    alone = Transcriber(ctc, PIECES, chunk_seconds=4.0)(samples).text
    told = Transcriber(ctc, PIECES, 4.0, language_model=tmp_path / "letters.arpa")(samples).text
    assert "a" in alone
    assert told.split() == alone.replace("a", "").split()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"chunk_seconds": 0.5}, "chunk_seconds=0.5: at least 1"),
        ({"chunk_seconds": float("inf")}, "chunk_seconds=inf"),
        ({"beam": 0}, "beam=0: at least 1"),
    ],
)
def test_what_cannot_be_asked_for_is_one_message(ctc: Recogniser, settings: dict, said: str):
    with pytest.raises(ValueError, match=said):
        Transcriber(ctc, PIECES, **settings)


def test_a_language_model_is_for_ctc():
    with pytest.raises(ValueError, match=r"language_model=x\.arpa: Speller writes with an attention decoder"):
        Transcriber(Recogniser(Levels(), Speller(True)), PIECES, language_model="x.arpa")
