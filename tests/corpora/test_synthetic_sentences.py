"""The embedded sentences: what is written in the two layouts, that it is repeatable, and that it reads back."""

import csv
import dataclasses
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from full_disk import no_file_beyond

from kd_lightning.corpora import common_voice, libritts, sentences
from kd_lightning.corpora.acoustics import SAMPLE_RATE, active_level
from kd_lightning.corpora.common_voice import find_common_voice
from kd_lightning.corpora.decoding import decode
from kd_lightning.corpora.libritts import find_libritts
from kd_lightning.corpora.sentence_shard import render
from kd_lightning.corpora.synthetic_sentences import (
    SyntheticCommonVoice,
    SyntheticLibriTTS,
    SyntheticSentences,
    Utterance,
)
from kd_lightning.corpora.utterance_files import Split, UtteranceFile

pytest.importorskip("espeakng_loader")

CLIPS, VOICES = (26, 4, 8), (3, 2, 2)
COMMON_VOICE = SyntheticCommonVoice(clips=CLIPS, voices=VOICES)
LIBRITTS = SyntheticLibriTTS(clips=CLIPS, voices=VOICES)
BOTH = (COMMON_VOICE, LIBRITTS)
COLUMNS = (
    "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender",
    "accents", "variant", "locale", "segment",
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    for corpus in BOTH:
        corpus.write(data)
    return data


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def table(path: Path) -> list[dict[str, str]]:
    """As readers of Common Voice do: separated by tabs, nothing quoted."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def read(corpus: SyntheticSentences, data: Path) -> dict[Split, list[UtteranceFile]]:
    skipped: dict[str, str] = {}
    root = corpus.write(data)
    if isinstance(corpus, SyntheticCommonVoice):
        locale = find_common_voice(root)
        found = {split: list(common_voice.utterances(locale, split, skipped)) for split in Split}
    else:
        folder = find_libritts(root)
        found = {split: list(libritts.utterances(folder, split, skipped)) for split in Split}
    assert not skipped
    return found


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_what_is_read_is_what_was_planned(corpus: SyntheticSentences, data: Path) -> None:
    planned = {Path(u.path).stem: u for u in corpus.utterances()}
    found = read(corpus, data)
    assert tuple(map(len, found.values())) == CLIPS
    assert tuple(len({u.speaker for u in split}) for split in found.values()) == VOICES
    read_back = [u for split in found.values() for u in split]
    assert {u.id: u.text for u in read_back} == {id: u.text for id, u in planned.items()}
    for utterance in read_back:
        speaker = planned[utterance.id].speaker
        assert (speaker.split == "train") == (utterance in found[Split.TRAIN])


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_splits_share_no_speaker_no_espeak_variant_and_no_sentence(
    corpus: SyntheticSentences, data: Path
) -> None:
    found = read(corpus, data)
    planned = {Path(u.path).stem: u for u in corpus.utterances()}
    for trait in (
        lambda u: u.speaker,
        lambda u: planned[u.id].speaker.voice.partition("+")[2],
        lambda u: tuple(sentences.words(u.text)),
    ):
        train, validation, test = ({trait(u) for u in split} for split in found.values())
        assert not train & validation | train & test | validation & test


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_the_default_plan_is_as_large_as_said(corpus: SyntheticSentences) -> None:
    default = type(corpus)()
    utterances = default.utterances()
    by_split = Counter(u.speaker.split for u in utterances)
    assert by_split == {"train": 3000, "validation": 300, "test": 500}
    assert Counter(s.split for s in default.speakers()) == {"train": 60, "validation": 10, "test": 12}
    assert len({u.path for u in utterances}) == len({u.text for u in utterances}) == 3800
    assert [u for shard in default.shards() for u in shard] == utterances


def test_the_two_corpora_have_other_voices_and_sentences() -> None:
    one, other = SyntheticCommonVoice().utterances(), SyntheticLibriTTS().utterances()
    assert not {u.text for u in one} & {u.text for u in other}
    assert [u.speaker.voice for u in one] != [u.speaker.voice for u in other]
    assert COMMON_VOICE.fingerprint != LIBRITTS.fingerprint


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_files_decode_at_the_published_rate_to_the_length_that_is_told(
    corpus: SyntheticSentences, data: Path
) -> None:
    rate = {"cv-corpus-17.0/en": 32_000, "LibriTTS": 24_000}[corpus.folder]
    kind = {"cv-corpus-17.0/en": "MP3", "LibriTTS": "WAV"}[corpus.folder]
    lengths = []
    for split in read(corpus, data).values():
        for utterance in split:
            header = soundfile.info(utterance.path)
            assert (header.samplerate, header.channels, header.format) == (rate, 1, kind)
            samples = decode(utterance.path, utterance.id, utterance.path.stat().st_size).samples
            assert len(samples) == pytest.approx(header.frames * SAMPLE_RATE / rate, abs=1)
            if utterance.seconds is not None:
                assert utterance.seconds == pytest.approx(header.duration, abs=0.001)
            lengths.append(header.duration)
            assert 0.02 < np.abs(samples).max() / 32768 <= 1
    assert (utterance.seconds is None) == (corpus is LIBRITTS)
    assert 1.5 < np.median(lengths) < 3
    assert 0.8 < min(lengths) < max(lengths) < 5


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_no_word_is_cut_off(corpus: SyntheticSentences, data: Path) -> None:
    """The first and the last 50 ms of a clean clip are pauses, at least 25 dB below its speech."""
    clean = [u for split in read(corpus, data).values() for u in split if u.snr is None]
    assert len(clean) > 2
    for utterance in clean:
        samples = decode(utterance.path, utterance.id, utterance.path.stat().st_size).samples / 32768
        edges = np.stack([samples[:800], samples[-800:]])
        assert (
            20 * np.log10(np.sqrt(np.square(edges).mean(axis=1)).max() / active_level(samples) + 1e-9) < -25
        )


def test_the_ratio_of_a_rendered_clip_is_measured_back() -> None:
    """With a dry, untilted room the sentence is known: regress the clip on it and measure what remains."""
    settings = SyntheticCommonVoice(clean_share=0, tail_db=(-100, -100), tilt_db=0, pause_seconds=(0.2, 0.2))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        sentence = np.sin(2 * np.pi * 1700 * np.arange(20_000) / SAMPLE_RATE) * np.hanning(20_000)
        talk = rng.standard_normal(SAMPLE_RATE * 3, dtype=np.float32)
        clip, snr_db = render(sentence.astype(np.float32), settings, rng, talk)
        assert snr_db is not None
        assert len(clip) == 20_000 + 2 * 3200
        speech = np.pad(sentence, 3200)
        speech *= clip @ speech / (speech @ speech)
        rest = clip - speech
        measured = 20 * np.log10(active_level(speech.astype(np.float32)) / np.sqrt(np.mean(rest**2)))
        assert measured == pytest.approx(snr_db, abs=1.0)


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_the_same_settings_give_the_same_bytes_with_one_process_or_two(
    corpus: SyntheticSentences, data: Path, tmp_path: Path
) -> None:
    assert everything(corpus.write(tmp_path, processes=1)) == everything(corpus.write(data))


def test_common_voice_has_the_tables_of_the_published_release(data: Path) -> None:
    root = COMMON_VOICE.write(data)
    names = ("train", "dev", "test", "validated", "other", "invalidated")
    tables = {name: table(root / f"{name}.tsv") for name in names}
    for name in names:
        assert (root / f"{name}.tsv").read_text().split("\n")[0] == "\t".join(COLUMNS)
    assert tables["validated"] == tables["train"] + tables["dev"] + tables["test"]
    assert tables["other"] == tables["invalidated"] == []
    for row in tables["validated"]:
        assert re.fullmatch("[0-9a-f]{128}", row["client_id"])
        assert re.fullmatch("[0-9a-f]{64}", row["sentence_id"])
        assert (row["locale"], row["up_votes"], row["down_votes"]) == ("en", "2", "0")
        assert row["gender"] in {"male_masculine", "female_feminine"}
    clips = {path.name for path in (root / "clips").iterdir()}
    assert clips == {row["path"] for row in tables["validated"]}
    assert clips == {row["clip"] for row in table(root / "clip_durations.tsv")}


def test_libritts_has_both_texts_beside_every_file(data: Path) -> None:
    root = LIBRITTS.write(data)
    audio = sorted(root.rglob("*.wav"))
    assert len(audio) == sum(CLIPS)
    for path in audio:
        assert re.fullmatch(r"(\d+)_(\d+)_\d{6}_\d{6}", path.stem)
        assert path.stem.startswith(f"{path.parent.parent.name}_{path.parent.name}_")
        text = path.with_suffix(".normalized.txt").read_text()
        assert path.with_suffix(".original.txt").read_text() == sentences.with_numerals(text)
    speakers = table(root / "speakers.tsv")
    assert {row["READER"]: row["SUBSET"] for row in speakers} == {
        path.parent.parent.name: path.parents[2].name for path in audio
    }
    listed = [line.split("|") for line in (root / "SPEAKERS.txt").read_text().splitlines() if line[0] != ";"]
    assert [(row[0].strip(), row[1].strip()) for row in listed] == [
        (row["READER"], row["GENDER"]) for row in speakers
    ]


def test_lhotse_reads_libritts(data: Path) -> None:
    from lhotse.recipes import prepare_libritts

    parts = ("train-clean-100", "dev-clean", "test-clean")
    manifests = prepare_libritts(LIBRITTS.write(data), parts)
    for part, split in zip(parts, read(LIBRITTS, data).values(), strict=True):
        supervised = {s.id: (s.text, s.speaker) for s in manifests[part]["supervisions"]}
        assert supervised == {u.id: (u.text, u.speaker) for u in split}
        assert {s.gender for s in manifests[part]["supervisions"]} <= {"M", "F"}
        snr = {s.id: s.custom["snr"] for s in manifests[part]["supervisions"]}
        assert snr == {u.id: float("inf") if u.snr is None else u.snr for u in split}


@pytest.mark.slow
def test_lhotse_reads_common_voice(data: Path, tmp_path: Path) -> None:
    from lhotse.recipes import prepare_commonvoice

    root = COMMON_VOICE.write(data)
    manifests = prepare_commonvoice(root.parent, tmp_path, "en", ("train", "dev", "test"))["en"]
    for part, split in zip(("train", "dev", "test"), read(COMMON_VOICE, data).values(), strict=True):
        supervised = {s.id: (s.text, s.speaker) for s in manifests[part]["supervisions"]}
        assert supervised == {u.id: (u.text, u.speaker) for u in split}
        seconds = {s.id: s.duration for s in manifests[part]["supervisions"]}
        assert seconds == {u.id: pytest.approx(u.seconds, abs=0.001) for u in split}


def test_a_write_that_was_killed_leaves_nothing_finished_and_is_repaired(data: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; "
        "from kd_lightning.corpora.synthetic_sentences import SyntheticCommonVoice as S; "
        f"S(**{dataclasses.asdict(COMMON_VOICE)!r}).write(Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(tmp_path.rglob("*.mp3")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert any(tmp_path.rglob("*.mp3"))
    assert not (tmp_path / "embedded" / COMMON_VOICE.fingerprint).exists()
    assert everything(COMMON_VOICE.write(tmp_path)) == everything(COMMON_VOICE.write(data))
    folders = [path.name for path in (tmp_path / "embedded").iterdir() if path.is_dir()]
    assert folders == [COMMON_VOICE.fingerprint]


@pytest.mark.parametrize("corpus", BOTH, ids=lambda corpus: corpus.folder)
def test_a_disk_that_refuses_leaves_nothing_and_names_the_folder(
    corpus: SyntheticSentences, tmp_path: Path
) -> None:
    refused = pytest.raises(
        OSError, match=f"embedded/{corpus.fingerprint}.*make room there or set paths.data"
    )
    with no_file_beyond(4_000), refused:
        corpus.write(tmp_path)
    assert not any(path.is_dir() for path in (tmp_path / "embedded").iterdir())


def test_a_path_names_speaker_chapter_paragraph_and_sentence() -> None:
    """Nobody's 60 sentences overwrite one another, and a chapter ends after 25."""
    one = SyntheticLibriTTS(clips=(60, 1, 1), voices=(1, 1, 1)).utterances()[:60]
    assert len({u.path for u in one}) == 60
    assert Counter(Path(u.path).parent.name for u in one) == {"10000": 25, "10001": 25, "10002": 10}
    assert one[7] == Utterance(
        one[0].speaker, one[7].text, "train-clean-100/100/10000/100_10000_000001_000002.wav"
    )


def test_speaking_imports_no_torch() -> None:
    program = "import sys, kd_lightning.corpora.sentence_shard; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"clips": (20_000, 1, 1)},
        {"clips": (10, 0, 10)},
        {"voices": (1, 1)},
        {"voices": (4000, 1, 1)},
        {"snr_db": (20.0, -5.0)},
        {"pause_seconds": (0.0, 9.0)},
    ],
)
def test_settings_that_cannot_be_spoken_are_named(wrong: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match=f"synthetic.{next(iter(wrong))}"):
        SyntheticCommonVoice(**wrong)  # type: ignore[arg-type]
