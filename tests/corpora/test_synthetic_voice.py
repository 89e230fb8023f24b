# ruff: noqa: RUF001  (phones look like letters)
"""The embedded voice: clean sentences in LibriTTS's layout, whose phones are where their times say."""

import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_lightning.corpora import libritts, sentences
from kd_lightning.corpora.libritts import find_libritts
from kd_lightning.corpora.phone_times import SUFFIX, Phone, align, read_phones
from kd_lightning.corpora.synthetic_voice import SyntheticVoice
from kd_lightning.corpora.utterance_files import Split, UtteranceFile
from kd_lightning.frontend.phonemes import Phonemes, phonemised
from kd_lightning.frontend.sentences import MARKS

pytest.importorskip("espeakng_loader")

VOICE = SyntheticVoice(clips=(90, 10, 10))
RATE = 24_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return VOICE.write(tmp_path_factory.mktemp("data"))


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def read(root: Path) -> dict[Split, list[UtteranceFile]]:
    skipped: dict[str, str] = {}
    folder = find_libritts(root)
    found = {split: list(libritts.utterances(folder, split, skipped)) for split in Split}
    assert not skipped
    return found


def recordings(root: Path) -> list[tuple[UtteranceFile, np.ndarray, list[Phone]]]:
    """(file, samples, phones) of everything."""
    return [
        (file, soundfile.read(file.path, dtype="int16")[0], read_phones(file.path.with_suffix(SUFFIX)))
        for split in read(root).values()
        for file in split
    ]


def high_share(samples: np.ndarray) -> float:
    """Share of the energy above 3 kHz."""
    energy = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return float(energy[len(samples) * 3000 // RATE :].sum() / energy.sum())


def assert_lasts_as_promised(root: Path) -> None:
    for _, samples, phones in recordings(root):
        assert 1 <= len(samples) / RATE <= 2.5
        assert phones[-1].end == pytest.approx(len(samples) / RATE, abs=1e-6)


def share_with_phonemizers_phones(root: Path) -> float:
    pytest.importorskip("phonemizer")
    found = recordings(root)
    written = phonemised([file.text for file, _, _ in found], "en-us")
    same = [
        [phone.name for phone in phones if phone.name] == [piece for piece in pieces if piece not in MARKS]
        for (_, _, phones), pieces in zip(found, written, strict=True)
    ]
    return sum(same) / len(same)


def test_what_is_read_is_what_was_planned_and_no_sentence_is_in_two_splits(root: Path) -> None:
    planned = {u.id: u.text for u in VOICE.utterances()}
    found = read(root)
    assert tuple(map(len, found.values())) == VOICE.clips
    assert {u.id: u.text for split in found.values() for u in split} == planned
    assert len(planned) == len({tuple(sentences.words(text)) for text in planned.values()}) == 110


def test_the_default_is_one_voice_and_seven_hundred_sentences() -> None:
    utterances = SyntheticVoice().utterances()
    assert Counter(u.speaker.split for u in utterances) == {"train": 600, "validation": 40, "test": 60}
    assert {u.speaker.voice for u in utterances} == {"en-us"}
    assert len({u.text for u in utterances}) == len({u.id for u in utterances}) == 700
    assert [u for shard in SyntheticVoice().shards() for u in shard] == utterances
    words = [{word for u in utterances if (u.speaker.split == "train") == train for word in sentences.words(u.text)}
             for train in (True, False)]  # fmt: skip
    assert len(words[1] - words[0]) <= 2  # hardly a word is first heard in validation or test


def test_speakers_are_the_same_in_all_splits_as_far_as_they_are_asked_for() -> None:
    corpus = SyntheticVoice(clips=(60, 6, 6), voices=(3, 3, 1))
    heard = {
        split: {(u.speaker.name, u.speaker.voice) for u in corpus.utterances() if u.speaker.split == split}
        for split in ("train", "validation", "test")
    }
    assert heard["train"] == heard["validation"] > heard["test"] == {("100", "en-us")}
    assert len({voice for _, voice in heard["train"]}) == len(heard["train"]) == 3
    assert all(u.path.split("/")[1] == u.speaker.name for u in corpus.utterances())
    chapters = {(u.path.split("/")[2], u.speaker.split) for u in corpus.utterances()}
    assert len({chapter for chapter, _ in chapters}) == len(chapters)


def test_recordings_last_one_to_two_and_a_half_seconds_between_silences_of_a_tenth(root: Path) -> None:
    assert_lasts_as_promised(root)
    for file, samples, phones in recordings(root):
        header = soundfile.info(file.path)
        assert (header.samplerate, header.channels, header.subtype) == (RATE, 1, "PCM_16")
        assert not samples[: RATE // 10].any()
        assert not samples[-RATE // 10 :].any()
        speech = samples[RATE // 10 : -RATE // 10] / 32768
        assert 0.01 < np.sqrt(np.mean(speech**2)) < np.abs(speech).max() < 0.98
        assert np.abs(speech[: RATE // 20]).max() > 0.001  # it begins at once
        assert phones[0] == Phone(0, 0.1, "")
        assert phones[-1].name == ""
        assert phones[-1].end - phones[-1].start == pytest.approx(0.1, abs=1.5 / RATE)


def test_the_times_of_phones_rise_and_cover_the_file(root: Path) -> None:
    for file, samples, phones in recordings(root):
        assert phones[0].start == 0, file.id
        assert phones[-1].end == pytest.approx(len(samples) / RATE, abs=1e-6)
        assert all(a.end == b.start for a, b in pairwise(phones))
        assert all(phone.start <= phone.end for phone in phones)
        assert all(phone.end - phone.start < 0.5 for phone in phones)


def test_phones_are_where_their_times_say(root: Path) -> None:
    """Hissing has most of its energy above 3 kHz and an open vowel below; half a phone off, and they would not."""
    shares: dict[str, list[float]] = {"s": [], "ˈæ": [], "ˈoʊ": []}
    for _, samples, phones in recordings(root):
        for phone in phones:
            if phone.name in shares:
                shares[phone.name].append(
                    high_share(samples[round(phone.start * RATE) : round(phone.end * RATE)])
                )
    assert min(map(len, shares.values())) > 10
    assert min(shares["s"]) > 0.5
    assert max(shares["ˈæ"] + shares["ˈoʊ"]) < 0.2


def test_phonemizer_reads_the_phones_that_were_said(root: Path) -> None:
    assert share_with_phonemizers_phones(root) >= 0.97


@pytest.mark.slow
def test_the_whole_corpus_keeps_its_promises(tmp_path: Path) -> None:
    root = SyntheticVoice().write(tmp_path)
    assert_lasts_as_promised(root)
    assert share_with_phonemizers_phones(root) >= 0.97  # all 700 are the same, stress included


def test_durations_of_tokens_add_up_to_the_recording(root: Path) -> None:
    pytest.importorskip("phonemizer")
    found = recordings(root)
    tokens = Phonemes.of([file.text for file, _, _ in found], "en-us")
    for file, samples, phones in found:
        durations = align(phones, [tokens.pieces[token] for token in tokens.encode(file.text)])
        assert durations is not None
        assert sum(durations) == pytest.approx(len(samples) / RATE, abs=1e-6)
        assert durations[0] == 0.1
        assert durations[-1] == pytest.approx(0.1, abs=1.5 / RATE)


def test_the_same_settings_give_the_same_bytes_with_one_process_or_two(root: Path, tmp_path: Path) -> None:
    assert everything(VOICE.write(tmp_path, processes=1)) == everything(root)


def test_another_seed_is_another_corpus() -> None:
    other = SyntheticVoice(clips=VOICE.clips, seed=1)
    assert other.fingerprint != VOICE.fingerprint
    assert [u.text for u in other.utterances()] != [u.text for u in VOICE.utterances()]


def test_both_texts_and_the_times_are_beside_every_recording(root: Path) -> None:
    files = {path.name for path in root.rglob("*_000000.*")}
    assert len(files) == 4 * 110
    for path in root.rglob("*.wav"):
        assert re.fullmatch(r"100_100\d\d_\d{6}_000000", path.stem)
        text = path.with_suffix(".normalized.txt").read_text()
        assert path.with_suffix(".original.txt").read_text() == sentences.with_numerals(text)
        assert path.with_suffix(SUFFIX).is_file()


def test_lhotse_reads_it(root: Path) -> None:
    from lhotse.recipes import prepare_libritts

    parts = ("train-clean-100", "dev-clean", "test-clean")
    manifests = prepare_libritts(root, parts)
    for part, split in zip(parts, read(root).values(), strict=True):
        supervised = {s.id: (s.text, s.speaker) for s in manifests[part]["supervisions"]}
        assert supervised == {u.id: (u.text, u.speaker) for u in split}
        assert {s.gender for s in manifests[part]["supervisions"]} == {"M"}


def test_speaking_imports_neither_torch_nor_phonemizer() -> None:
    program = "import sys, kd_lightning.corpora.voice_shard; sys.exit(bool({'torch', 'phonemizer'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"clips": (20_000, 1, 1)},
        {"clips": (10, 0, 10)},
        {"voices": (1, 1)},
        {"voices": (2, 2, 100)},
        {"voices": (100, 1, 1)},
        {"pause_seconds": 9.0},
        {"rate_wpm": (10.0, 20.0)},
        {"pitch": (60.0, 40.0)},
        {"intonation": 101},
    ],
)
def test_settings_that_cannot_be_spoken_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=f"synthetic.{next(iter(wrong))}"):
        SyntheticVoice(**wrong)  # type: ignore[arg-type]
