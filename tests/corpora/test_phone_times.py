# ruff: noqa: RUF001  (phones look like letters)
"""When phones were said: their file, the durations they give tokens, and espeak's own account of them."""

import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import pytest

from kd_lightning.corpora.espeak import Espeak, Spoken
from kd_lightning.corpora.phone_times import Phone, align, read_phones, write_phones

# "Well, no way" with a pause at the comma and one inside "no way".
SAID = [
    Phone(0.0, 0.1, ""),
    Phone(0.1, 0.2, "w"),
    Phone(0.2, 0.3, "ˈɛ"),
    Phone(0.3, 0.45, "l"),
    Phone(0.45, 0.65, ""),
    Phone(0.65, 0.7, "n"),
    Phone(0.7, 0.9, "ˌoʊ"),
    Phone(0.9, 0.95, ""),
    Phone(0.95, 1.0, "w"),
    Phone(1.0, 1.25, "ˈeɪ"),
    Phone(1.25, 1.3, ""),
    Phone(1.3, 1.5, ""),
]
WRITTEN = ["_", "w", "ˈɛ", "l", ",", "—", "n", "ˈoʊ", "w", "ˈeɪ", ".", "_"]


def test_silences_go_to_boundaries_and_marks_or_else_to_the_phone_before() -> None:
    durations = align(SAID, WRITTEN)
    assert durations == pytest.approx([0.1, 0.1, 0.1, 0.15, 0.2, 0, 0.05, 0.25, 0.05, 0.25, 0, 0.25])
    assert sum(durations) == pytest.approx(1.5)


def test_without_a_mark_the_pause_belongs_to_the_phone_before_it() -> None:
    unmarked = [piece for piece in WRITTEN if piece not in ",—."]
    durations = align(SAID, unmarked)
    assert durations == pytest.approx([0.1, 0.1, 0.1, 0.35, 0.05, 0.25, 0.05, 0.25, 0.25])


def test_a_pause_before_the_first_phone_is_the_boundary_s_even_where_a_mark_stands() -> None:
    assert align([Phone(0, 1, ""), Phone(1, 3, "a")], ["_", "…", "a", "_"]) == [1, 0, 2, 0]


@pytest.mark.parametrize(
    "pieces",
    [
        WRITTEN[:-3] + WRITTEN[-2:],  # a phone fewer
        [*WRITTEN[:-1], "z", "_"],  # one more
        ["_", "v", *WRITTEN[2:]],  # another
        ["_", "_"],
    ],
)
def test_a_sentence_of_other_phones_is_not_aligned(pieces: list[str]) -> None:
    assert align(SAID, pieces) is None


def test_silence_is_not_aligned() -> None:
    assert align([Phone(0, 1, "")], ["_", "_"]) is None


def test_phones_come_back_from_their_file(tmp_path: Path) -> None:
    path = tmp_path / "1.phones.tsv"
    write_phones(path, SAID)
    assert path.read_text().splitlines()[:2] == ["0.000000\t0.100000\t", "0.100000\t0.200000\tw"]
    assert read_phones(path) == SAID


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ("0.0\t0.1", 1),
        ("0.0\t0.1\t\n0.1\tx\ta", 2),
        ("0.0\t0.1\t\n0.2\t0.3\ta", 2),
        ("0.1\t0.2\ta", 1),
        ("0.0\t0.2\t\n0.2\t0.1\ta", 2),
        ("0.0\tnan\ta", 1),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, lines: str, number: int) -> None:
    path = tmp_path / "1.phones.tsv"
    path.write_text(lines)
    with pytest.raises(ValueError, match=rf"1\.phones\.tsv, line {number}: "):
        read_phones(path)


def _said_twice() -> tuple[int, list[Spoken]]:
    espeak = Espeak()
    espeak.voice("en-us")
    return espeak.sample_rate, [espeak.speak("Well, the quick fox.", 150, 50) for _ in range(2)]


def test_espeak_tells_of_phones_from_the_first_sample_to_the_last() -> None:
    pytest.importorskip("espeakng_loader")
    # The library is process-wide, and here other tests may have used it.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        rate, said = fresh.submit(_said_twice).result()
    for samples, phones in said:
        assert "".join(phone.name or " " for phone in phones).split() == ["wˈɛl", "ðəkwˈɪkfˈɑːks"]
        assert (phones[0].start, phones[-1].end) == (0, len(samples) / rate)
        assert all(a.end == b.start for a, b in pairwise(phones))
        assert all(phone.name or other.name for phone, other in pairwise(phones))
        comma = phones[[phone.name for phone in phones].index("", 1)]
        assert comma.end - comma.start > 0.1
        quiet = samples[round(comma.start * rate) : round(comma.end * rate)]
        assert abs(quiet).mean() < 0.01 * abs(samples).mean()


def test_samples_are_the_same_whether_or_not_espeak_tells_of_phones() -> None:
    pytest.importorskip("espeakng_loader")
    program = (
        "import hashlib, sys\n"
        "from kd_lightning.corpora import espeak\n"
        "if sys.argv[1] == 'silent': espeak._PHONEME_EVENTS = espeak._IN_IPA = 0\n"
        "voice = espeak.Espeak(); heard = hashlib.sha256(); phones = 0\n"
        "for index in range(40):\n"
        "    voice.voice(['en-us', 'en-gb-scotland+f3', 'en+croak', 'en-029+klatt2'][index % 4])\n"
        "    said = voice.speak('Two cats, and no dog?', 110 + 5 * index, 40 + index)\n"
        "    heard.update(said.samples.tobytes()); phones += len(said.phones)\n"
        "print(heard.hexdigest(), phones > 40)\n"
    )
    heard = {
        option: subprocess.run(
            [sys.executable, "-c", program, option], check=True, capture_output=True, text=True
        ).stdout.split()
        for option in ("silent", "telling")
    }
    assert [said[1] for said in heard.values()] == ["False", "True"]
    assert heard["silent"][0] == heard["telling"][0]
