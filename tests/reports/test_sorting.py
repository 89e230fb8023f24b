"""By what tables are sorted: a written number by its value, a stage or a noise level by its place in their order."""

import numpy as np
import pytest

from kd_lightning.reports import formats
from kd_lightning.reports.aligned import LEVELS
from kd_lightning.reports.runs import STAGES
from kd_lightning.reports.sorting import sort_values, value
from kd_lightning.reports.table import Table

# Over all magnitudes that reports show.
NUMBERS = np.random.default_rng(0).uniform(0, 9, 200)


def column(*cells: str) -> list[float | None]:
    """What the cells of a column are sorted by."""
    return [row[1] for row in sort_values(Table("", ["name", "value"], [["", cell] for cell in cells]))]


@pytest.mark.parametrize(
    ("form", "error"),
    [
        (formats.magnitude, {"rel": 5.1e-3}),
        (formats.size, {"rel": 5.1e-3}),
        (formats.ratio, {"rel": 5.1e-2}),
        (formats.count, {"rel": 0, "abs": 0.5}),
    ],
)
def test_what_is_written_is_read_back_to_the_digits_written(form, error):
    for number in 10.0**NUMBERS:
        assert value(form(number)) == pytest.approx(number, **error)


@pytest.mark.parametrize("unit", [formats.SHARE, formats.DECIBELS, formats.HERTZ, formats.PLAIN])
def test_a_value_with_its_interval_is_sorted_by_the_value(unit):
    for number in NUMBERS - 4.5:
        written = unit.written(number, (number - 0.1, number + 0.2))
        assert value(written) == pytest.approx(unit.scale * number, abs=0.51 * 10**-unit.digits)
        assert value(unit.signed(number, (-0.1, 0.2))) == value(written)


def test_durations_are_in_seconds():
    written = [formats.seconds(number) for number in (0, 48, 192, 7500, 360_000)]
    assert written == ["0 s", "48 s", "3 min 12 s", "2 h 5 min", "100 h 0 min"]
    assert [value(cell) for cell in written] == [0, 48, 192, 7500, 360_000]


def test_of_two_numbers_the_first_counts():
    assert value(formats.milliseconds(0.52, 0.71)) == 0.52
    assert value("2.1 to 2.3 s") == 2.1
    assert value("6.5e-01") == 0.65


def test_ranges_are_in_the_order_of_their_lengths():
    cells = ["up to 2 s", "2.1 to 2.3 s", "2.4 to 2.5 s", "over 2.5 s"]
    assert np.all(np.diff(column(*cells)) > 0)
    assert np.all(np.diff(column("up to 1 words", "2 words", "3 words", "over 3 words")) > 0)


@pytest.mark.parametrize(
    "cell", ["", "yes", "0c7f6a9f", "7 seas", "1,2,3 go", "1e999", "nan", "-", "TC-ResNet8"]
)
def test_words_are_no_numbers(cell):
    assert value(cell) is None


@pytest.mark.parametrize("names", [STAGES, LEVELS])
def test_stages_and_noise_levels_have_an_order_of_their_own(names):
    shuffled = sorted(names)
    ranks = column(*shuffled)
    assert [name for _, name in sorted(zip(ranks, shuffled, strict=True))] == list(names)


def test_what_is_unknown_has_no_value_and_a_word_makes_a_column_of_words():
    unknown = formats.milliseconds(None, None)
    assert column("3", formats.UNKNOWN, unknown, "", "1 k") == [3, None, None, None, 1000]
    assert column("3", "three") == [None, None]
    assert column(formats.UNKNOWN) == [None]
    assert sort_values(Table("", ["name"], [])) == []
