"""Decoding a corpus once: every kind of file, the index, the manifests, and what is left when it fails."""

import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from full_disk import no_file_beyond

from kd_lightning.corpora import prepare as module
from kd_lightning.corpora.decoding import clip_start, decode, one_second
from kd_lightning.corpora.layout import SILENCE, Split, find_corpus
from kd_lightning.corpora.prepare import prepare, prepared_folder
from kd_lightning.corpora.prepared import Prepared

RATE = 16000
Tone = Callable[..., np.ndarray]


def read(path: Path) -> np.ndarray:
    """(T,) int16, as the corpus would hold it."""
    return decode(path, path.name, path.stat().st_size).samples


def write(path: Path, samples: np.ndarray, rate: int = RATE, subtype: str | None = None) -> Path:
    soundfile.write(path, samples, rate, subtype)
    return path


def clip(prepared: Prepared, id: str) -> np.ndarray:
    record = prepared.clips[prepared.clips["id"] == id.encode()]
    assert len(record) == 1
    return prepared.audio[record["start"][0] : record["start"][0] + RATE]


def test_sixteen_bit_audio_is_kept_bit_for_bit(tmp_path: Path) -> None:
    samples = np.array([0, 1, -1, 32767, -32768, 12345], np.int16)
    np.testing.assert_array_equal(read(write(tmp_path / "a.wav", samples)), samples)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_another_sample_rate_is_resampled(tmp_path: Path, make_tone: Tone, rate: int) -> None:
    heard = read(write(tmp_path / "a.wav", make_tone(440, rate=rate), rate))
    assert len(heard) == RATE
    # Away from the edges, where the filter rings, it is the tone at the new rate.
    inside = slice(RATE // 10, -RATE // 10)
    np.testing.assert_allclose(heard[inside] / 32768, make_tone(440)[inside], atol=2e-3)


def test_stereo_is_mixed_down(tmp_path: Path, make_tone: Tone) -> None:
    left, right = make_tone(440), make_tone(880)
    heard = read(write(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    np.testing.assert_allclose(heard / 32768, (left + right) / 2, atol=1e-4)


def test_a_short_clip_is_followed_by_zeros(make_tone: Tone) -> None:
    samples = (make_tone(440, 0.3) * 32767).astype(np.int16)
    second = one_second(samples)
    np.testing.assert_array_equal(second[: len(samples)], samples)
    assert len(second) == RATE
    assert not second[len(samples) :].any()


def test_of_a_long_clip_the_loudest_second_is_kept() -> None:
    samples = np.full(3 * RATE, 10, np.int16)
    samples[20000:36000] = 32767
    assert clip_start(samples) == 20000
    assert (one_second(samples) == 32767).all()


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_compressed_audio_is_read(tmp_path: Path, make_tone: Tone, suffix: str) -> None:
    heard = read(write(tmp_path / f"a.{suffix}", make_tone(440)))
    spectrum = np.abs(np.fft.rfft(heard, 10 * RATE))
    assert np.argmax(spectrum) / 10 == pytest.approx(440, abs=1)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _without_samples(path: Path) -> None:
    write(path, np.zeros(0, np.int16))


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20000])


def _truncated_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def _text(path: Path) -> None:
    path.write_text("<html>404 Not Found</html>")


def _not_finite(path: Path) -> None:
    write(path, np.full(RATE, np.nan, np.float32), subtype="FLOAT")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_empty, "the file is empty"),
        (_without_samples, "no samples"),
        (_truncated, "truncated: 20000 of 32044 bytes"),
        (_truncated_header, "truncated"),
        (_text, "not readable as audio"),
        (_not_finite, "not a finite number"),
    ],
)
def test_an_unreadable_file_is_skipped_counted_and_named(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, spoil: Callable[[Path], None], reason: str
) -> None:
    spoil(corpus / "yes" / "a0000003_nohash_0.wav")
    with caplog.at_level(logging.WARNING):
        prepared = prepare(find_corpus(corpus), tmp_path / "data")
    assert list(prepared.skipped) == ["yes/a0000003_nohash_0.wav"]
    assert reason in prepared.skipped["yes/a0000003_nohash_0.wav"]
    assert "skipped 1 unreadable files" in caplog.text
    assert "yes/a0000003_nohash_0.wav" in caplog.text
    assert b"yes/a0000003_nohash_0.wav" not in prepared.clips["id"]
    assert b"yes/a0000002_nohash_0.wav" in prepared.clips["id"]


def test_a_truncated_flac_is_unreadable(tmp_path: Path, make_tone: Tone) -> None:
    path = write(tmp_path / "a.flac", make_tone(440))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"truncated|not readable"):
        read(path)


def test_a_wav_written_to_a_stream_has_no_length_and_is_read(tmp_path: Path, make_tone: Tone) -> None:
    path = write(tmp_path / "a.wav", make_tone(440))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(read(path)) == RATE


def test_the_index_and_the_audio_hold_every_clip(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(find_corpus(corpus), tmp_path)
    spoken = prepared.clips[prepared.clips["word"] != prepared.words.index(SILENCE)]
    assert prepared.words == ["down", "no", "up", "yes", SILENCE]
    assert len(spoken) == 4 * 16
    for record in spoken:
        path = corpus / record["id"].decode()
        assert prepared.words[record["word"]] == path.parent.name
        assert record["speaker"].decode() == path.name.split("_")[0]
        np.testing.assert_array_equal(
            clip(prepared, record["id"].decode()), soundfile.read(path, dtype="int16")[0]
        )
    assert np.isnan(spoken["snr"]).all()


def test_splits_follow_the_lists(corpus: Path, tmp_path: Path) -> None:
    clips = prepare(find_corpus(corpus), tmp_path).clips
    for split, letter in ((Split.TRAIN, b"a"), (Split.VALIDATION, b"b"), (Split.TESTING, b"c")):
        speakers = clips["speaker"][(clips["split"] == split) & (clips["speaker"] != b"pink")]
        assert {speaker[:1] for speaker in speakers.tolist()} == {letter}


def test_noise_for_training_shares_no_sample_with_the_silence_of_other_splits(
    corpus: Path, tmp_path: Path
) -> None:
    prepared = prepare(find_corpus(corpus), tmp_path)
    silence = prepared.clips[prepared.clips["word"] == prepared.words.index(SILENCE)]
    ranges = {
        split: (
            silence["start"][silence["split"] == split].min(),
            silence["start"][silence["split"] == split].max() + RATE,
        )
        for split in (Split.TRAIN, Split.VALIDATION, Split.TESTING)
    }
    ((start, length),) = prepared.noise
    assert ranges[Split.TRAIN][0] >= start
    assert ranges[Split.TRAIN][1] <= start + length <= ranges[Split.VALIDATION][0]
    assert ranges[Split.VALIDATION][1] <= ranges[Split.TESTING][0]
    assert ranges[Split.TESTING][1] <= len(prepared.audio)
    assert silence["id"][0] == b"_background_noise_/pink.wav@0.00s"


def test_manifests_describe_the_files_and_open_lazily(corpus: Path, tmp_path: Path, make_tone: Tone) -> None:
    write(corpus / "yes" / "a0000003_nohash_0.wav", np.stack([make_tone(300, 1.5, 44100)] * 2, axis=1), 44100)
    cuts = prepare(find_corpus(corpus), tmp_path).cuts(Split.TRAIN)
    assert cuts.is_lazy
    by_id = {cut.id: cut for cut in cuts}
    assert len(by_id) == 40
    cut = by_id["yes/a0000002_nohash_0.wav"]
    assert (cut.supervisions[0].text, cut.supervisions[0].speaker, cut.duration) == ("yes", "a0000002", 1.0)
    heard = soundfile.read(corpus / cut.id, dtype="float32")[0]
    np.testing.assert_array_equal(cut.load_audio()[0], heard)
    stereo = by_id["yes/a0000003_nohash_0.wav"]
    assert (stereo.num_channels, stereo.sampling_rate, stereo.duration) == (2, 44100, 1.0)
    assert stereo.load_audio().shape == (2, 44100)


def test_conditions_give_the_snr(corpus: Path, tmp_path: Path) -> None:
    rows = "path,voice,snr_db\nyes/a0000003_nohash_0.wav,en+m1,-2.5\nyes/a0000004_nohash_0.wav,en+m1,\n"
    (corpus / "conditions.csv").write_text(rows)
    prepared = prepare(find_corpus(corpus), tmp_path)
    known = prepared.clips[~np.isnan(prepared.clips["snr"])]
    assert known[["id", "snr"]].tolist() == [(b"yes/a0000003_nohash_0.wav", -2.5)]
    cuts = {cut.id: cut for cut in prepared.cuts(Split.TRAIN)}
    assert cuts["yes/a0000003_nohash_0.wav"].supervisions[0].custom == {"snr_db": -2.5}


@pytest.mark.parametrize("rows", ["path,voice,snr_db\nyes/a.wav,en,loud\n", "file,level\nyes/a.wav,3\n"])
def test_malformed_conditions_name_the_line(corpus: Path, tmp_path: Path, rows: str) -> None:
    (corpus / "conditions.csv").write_text(rows)
    with pytest.raises(ValueError, match=r"conditions\.csv, line 2: expected the columns path,voice,snr_db"):
        prepare(find_corpus(corpus), tmp_path)


def test_a_prepared_corpus_is_opened_again_and_a_changed_one_is_prepared_anew(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepare(find_corpus(corpus), tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(module, "decode", None)
        assert prepare(find_corpus(corpus), tmp_path).folder == first.folder
    path = corpus / "yes" / "a0000003_nohash_0.wav"
    for change in (lambda: os.utime(path, (1, 1)), lambda: path.unlink(), lambda: write(path, np.zeros(9))):
        before = prepared_folder(find_corpus(corpus), tmp_path)
        change()
        assert prepared_folder(find_corpus(corpus), tmp_path) != before


def test_preparing_is_deterministic(corpus: Path, tmp_path: Path) -> None:
    one, two = (prepare(find_corpus(corpus), tmp_path / name) for name in ("one", "two"))
    for name in ("audio.npy", "clips.npy", "corpus.json"):
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()


def test_a_full_disk_names_the_folder_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    refused = pytest.raises(OSError, match=f"cannot prepare {corpus} in {tmp_path}")
    with no_file_beyond(100_000), refused:
        prepare(find_corpus(corpus), tmp_path)
    assert list((tmp_path / "prepared").iterdir()) == []


def test_what_a_killed_preparation_left_is_cleared_away(corpus: Path, tmp_path: Path) -> None:
    folder = prepared_folder(find_corpus(corpus), tmp_path)
    aside = folder.with_name(folder.name + ".partial")
    aside.mkdir(parents=True)
    (aside / "audio.npy").write_bytes(b"half")
    assert prepare(find_corpus(corpus), tmp_path).folder == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_pickled_corpus_carries_no_audio(corpus: Path, tmp_path: Path) -> None:
    prepared = prepare(find_corpus(corpus), tmp_path)
    pickled = pickle.dumps(prepared)
    assert len(pickled) < 10_000
    np.testing.assert_array_equal(pickle.loads(pickled).audio, prepared.audio)
