"""The layout of Common Voice: found at any level, read literally, and what is wrong with it counted or said."""

import logging
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from kd_lightning.corpora.common_voice import CommonVoiceFolder, find_common_voice, utterances
from kd_lightning.corpora.utterance_files import Split, UtteranceFile

COLUMNS = ("client_id", "path", "sentence_id", "sentence", "up_votes", "accents", "locale", "segment")


def line(clip: str, sentence: str, speaker: str = "anna") -> str:
    return "\t".join((speaker, clip, "0f", sentence, "2", "", "en", ""))


def write_locale(
    root: Path, train: Sequence[str] = (), dev: Sequence[str] = (), test: Sequence[str] = ()
) -> Path:
    """A locale with these lines in its tables and an (empty) file for every clip they name."""
    (root / "clips").mkdir(parents=True)
    (root / "clips" / "nobody_lists_this.mp3").touch()
    for name, lines in (("train", train), ("dev", dev), ("test", test)):
        (root / f"{name}.tsv").write_text("".join(f"{row}\n" for row in ("\t".join(COLUMNS), *lines)))
        for row in lines:
            (root / "clips" / row.split("\t")[1]).touch()
    return root


def read(root: Path, split: Split = Split.TRAIN) -> tuple[list[UtteranceFile], dict[str, str]]:
    skipped: dict[str, str] = {}
    return list(utterances(find_common_voice(root), split, skipped)), skipped


@pytest.mark.parametrize("above", [0, 1, 2, 3])
def test_a_locale_is_found_up_to_three_levels_below(tmp_path: Path, above: int) -> None:
    root = write_locale(tmp_path / "data" / "cv-corpus-17.0-2024-03-15" / "cy")
    assert find_common_voice([root, *root.parents][above]) == CommonVoiceFolder(root, "cy")


def test_two_locales_are_an_error_that_lists_them(tmp_path: Path) -> None:
    one, other = write_locale(tmp_path / "cv" / "cy"), write_locale(tmp_path / "cv" / "en")
    with pytest.raises(ValueError, match=f"holds 2 corpora; set it to one of: {one}, {other}"):
        find_common_voice(tmp_path)


def test_a_locale_without_dev_says_so(tmp_path: Path) -> None:
    root = write_locale(tmp_path / "cy")
    (root / "dev.tsv").unlink()
    with pytest.raises(ValueError, match=r"cy has no dev\.tsv: .*extract it again"):
        find_common_voice(tmp_path)


def test_a_locale_without_clips_is_half_extracted(tmp_path: Path) -> None:
    root = write_locale(tmp_path / "cy")
    (root / "clips" / "nobody_lists_this.mp3").unlink()
    with pytest.raises(ValueError, match="clips has no clips: the locale is half-extracted"):
        find_common_voice(tmp_path)
    (root / "clips").rmdir()
    with pytest.raises(ValueError, match="clips has no clips: the locale is half-extracted"):
        find_common_voice(tmp_path)


@pytest.mark.parametrize(
    ("marker", "corpus"),
    [("speech_commands/testing_list.txt", None), ("LibriTTS/SPEAKERS.txt", "LibriTTS"), ("x/readme", None)],
)
def test_a_folder_of_something_else_is_named(tmp_path: Path, marker: str, corpus: str | None) -> None:
    (tmp_path / marker).parent.mkdir()
    (tmp_path / marker).touch()
    named = f".*LibriTTS looks like {corpus}" if corpus else ".*train.tsv, dev.tsv, test.tsv and clips$"
    with pytest.raises(FileNotFoundError, match=f"no Common Voice corpus at corpus.root={tmp_path}{named}"):
        find_common_voice(tmp_path)


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        find_common_voice(tmp_path / "nowhere")


def test_utterances_come_in_the_order_of_the_table(tmp_path: Path) -> None:
    rows = [line("b.mp3", "Second first.", "ben"), line("a.mp3", " Spaces go. "), line("c.mp3", "Ŵy a chŵn.")]
    root = write_locale(tmp_path, train=rows, test=[line("d.mp3", "Another split.")])
    found, skipped = read(root)
    assert [(u.id, u.text, u.speaker) for u in found] == [
        ("b", "Second first.", "ben"),
        ("a", "Spaces go.", "anna"),
        ("c", "Ŵy a chŵn.", "anna"),
    ]
    assert found[0] == UtteranceFile("b", root / "clips" / "b.mp3", "Second first.", "ben", None, None)
    assert [u.id for u in read(root, Split.TEST)[0]] == ["d"]
    assert read(root, Split.VALIDATION) == ([], {})
    assert skipped == {}


def test_quotation_marks_are_read_literally(tmp_path: Path) -> None:
    """A csv reader with quotes would take everything from the first mark to the next as one field."""
    said = ['"Come here, she said.', 'He said "no".', '""', "Don't\u2028go.", 'It was 3" long']
    root = write_locale(tmp_path, train=[line(f"{i}.mp3", text) for i, text in enumerate(said)])
    found, skipped = read(root)
    assert [u.text for u in found] == said
    assert skipped == {}


def test_rows_that_cannot_be_used_are_counted_with_the_reason(tmp_path: Path) -> None:
    rows = [line("a.mp3", "Good."), line("gone.mp3", "Bad."), line("mute.mp3", "  "), "too\tshort"]
    root = write_locale(tmp_path, train=[*rows[:3]])
    (root / "clips" / "gone.mp3").unlink()
    with (root / "train.tsv").open("ab") as file:
        file.write(b"too\tshort\n" + line("x.mp3", "?").encode().replace(b"?", b"\xff") + b"\n")
        file.write(line("z.mp3", "Windows wrote this.").encode() + b"\r\n")
    (root / "clips" / "z.mp3").touch()
    found, skipped = read(root)
    assert [(u.id, u.text) for u in found] == [("a", "Good."), ("z", "Windows wrote this.")]
    assert skipped == {
        "gone.mp3": "train.tsv:3: the clip is missing",
        "mute.mp3": "train.tsv:4: the transcript is empty",
        "train.tsv:5": "2 columns, the table has 8",
        "train.tsv:6": "not UTF-8: invalid start byte",
    }


def test_a_table_with_other_columns_is_an_error(tmp_path: Path) -> None:
    root = write_locale(tmp_path)
    (root / "train.tsv").write_text("id\tpath\ttext\n")
    with pytest.raises(ValueError, match=r"train\.tsv has no column client_id and no sentence"):
        read(root)


def test_durations_are_used_where_they_are(tmp_path: Path) -> None:
    root = write_locale(tmp_path, train=[line(f"{i}.mp3", "Hello there.") for i in range(3)])
    (root / "clip_durations.tsv").write_text("clip\tduration[ms]\n2.mp3\t5004\n0.mp3\t1234\n1.mp3\t\n")
    assert [u.seconds for u in read(root)[0]] == [1.234, None, 5.004]


def test_the_ratio_comes_from_the_conditions_of_an_embedded_corpus(tmp_path: Path) -> None:
    root = write_locale(tmp_path, train=[line("a.mp3", "Noisy."), line("b.mp3", "Clean.")])
    (root / "conditions.csv").write_text("path,voice,snr_db\nclips/a.mp3,v,7.25\nclips/b.mp3,v,\n")
    assert [u.snr for u in read(root)[0]] == [7.25, None]
    (root / "conditions.csv").write_text("file,db\na,7\n")
    with pytest.raises(ValueError, match=r"conditions\.csv, line 2: expected the columns"):
        read(root)


def test_a_long_table_is_streamed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """20,000 rows and durations take less than a tenth of what a list of them would."""
    rows = [line("same.mp3", f"Sentence number {i} of a long table.", f"{i:0128d}") for i in range(20_000)]
    root = write_locale(tmp_path, train=rows)
    lengths = "".join(f"common_voice_en_{i:08d}.mp3\t{i}\n" for i in range(20_000))
    (root / "clip_durations.tsv").write_text("clip\tduration[ms]\n" + lengths)
    folder = find_common_voice(root)
    with caplog.at_level(logging.WARNING):
        tracemalloc.start()
        assert sum(1 for _ in utterances(folder, Split.TRAIN, {})) == 20_000
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 2_000_000
