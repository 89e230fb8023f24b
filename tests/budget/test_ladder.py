"""Sizes of a network: whole grains, from narrow to wide, each once."""

import pytest

from kd_lightning.budget.ladder import FACTORS, ladders

NETWORK = {
    "_target_": "…",
    "channels": [80, 80, 120],
    "head_channels": 64,
    "repeats": 1,
    "dropout": 0.1,
    "act": "relu",
}


def test_all_that_has_a_grain_grows_by_one_factor():
    (ladder,) = ladders("quartz", NETWORK, {"channels": 8, "head_channels": 16})
    sizes = {rung.name: rung.arguments for rung in ladder}
    assert sizes["quartz-x1"] == {"channels": [80, 80, 120], "head_channels": 64}
    assert sizes["quartz-x2"] == {"channels": [160, 160, 240], "head_channels": 128}
    half = {"channels": [40, 40, 64], "head_channels": 32}  # 60 is no multiple of 8
    assert half in sizes.values()
    assert all(size % 8 == 0 for rung in ladder for size in rung.arguments["channels"])


def test_a_ladder_goes_up_and_no_two_rungs_are_the_same():
    (ladder,) = ladders("quartz", NETWORK, {"channels": 8, "head_channels": 16})
    widths = [rung.arguments["channels"] for rung in ladder]
    assert widths == sorted(widths)
    arguments = [str(rung.arguments) for rung in ladder]
    assert len(arguments) == len(set(arguments)) <= len(FACTORS)
    assert len({rung.name for rung in ladder}) == len(ladder)
    assert widths[0] == [8, 8, 8]  # a sixteenth is less than a grain: one is left
    assert widths[-1] == [16 * 80, 16 * 80, 16 * 120]


def test_each_listed_value_has_a_ladder_of_its_own():
    found = ladders("quartz", NETWORK, {"head_channels": 8, "repeats": [1, 2], "dropout": [0.0, 0.1]})
    chosen = [{(rung.arguments["repeats"], rung.arguments["dropout"]) for rung in ladder} for ladder in found]
    assert chosen == [{(1, 0.0)}, {(1, 0.1)}, {(2, 0.0)}, {(2, 0.1)}]
    # The config says repeats=1, dropout=0.1.
    assert [ladder[-1].name for ladder in found] == [
        f"quartz-x16{other}" for other in ("-dropout0.0", "", "-repeats2-dropout0.0", "-repeats2")
    ]


def test_a_fraction_stays_one():
    (ladder,) = ladders("tc", {"_target_": "…", "width": 0.35}, {"width": 0.01})
    widths = [rung.arguments["width"] for rung in ladder]
    assert 0.35 in widths
    assert all(round(100 * width) == pytest.approx(100 * width, abs=1e-9) for width in widths)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"width": 8}, "its network has no width; there are channels, head_channels, repeats, dropout, act"),
        ({"act": 8}, "ladders.quartz.act=8"),
        ({"channels": 0}, "ladders.quartz.channels=0"),
        ({"channels": "wide"}, "a number that .* is rounded to"),
    ],
)
def test_sizes_that_are_none_are_refused(sizes, said):
    with pytest.raises(ValueError, match=said):
        ladders("quartz", NETWORK, sizes)
