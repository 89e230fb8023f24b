"""Which swept key mattered, against closed forms and scipy's tests."""

import numpy as np
import pytest
from scipy import stats

from kd_lightning.reports.importance import importance


def grid(
    effects: dict[str, dict[str, float]], seeds: int, noise: float, seed: int = 0, interaction: float = 0.0
):
    """Values, factors and settings of a full grid whose main effects are known."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[range(len(one)) for one in effects.values()], indexing="ij"), -1)
    settings = places.reshape(-1, len(effects)).repeat(seeds, axis=0)
    factors, values = {}, rng.normal(0.8, noise, len(settings))
    for column, (key, levels) in enumerate(effects.items()):
        names = list(levels)
        factors[key] = [names[place] for place in settings[:, column]]
        values += [levels[name] for name in factors[key]]
    if interaction:
        values += interaction * (settings[:, 0] == settings[:, 1])
    _, numbers = np.unique(settings, axis=0, return_inverse=True)
    return values, factors, numbers.ravel().tolist()


def test_one_key_is_the_one_way_analysis_of_variance():
    values, factors, settings = grid({"transfer": {"none": 0.0, "logits": 0.02, "hints": 0.01}}, 4, 0.01)
    found = importance(values, factors, settings)
    arms = [values[np.array(factors["transfer"]) == name] for name in ("none", "logits", "hints")]
    assert found.keys[0].p == pytest.approx(stats.f_oneway(*arms).pvalue)
    between = sum(len(arm) * (arm.mean() - values.mean()) ** 2 for arm in arms)
    within = sum(((arm - arm.mean()) ** 2).sum() for arm in arms)
    epsilon = (between - 2 * within / 9) / (between + within)
    assert found.keys[0].share == pytest.approx(epsilon)
    assert found.keys[0].share + found.noise == pytest.approx(1)


def test_two_arms_are_the_t_test():
    values, factors, settings = grid({"transfer": {"none": 0.0, "logits": 0.01}}, 5, 0.01)
    first, second = values[:5], values[5:]
    found = importance(values, factors, settings)
    assert found.keys[0].p == pytest.approx(stats.ttest_ind(first, second).pvalue)
    assert found.keys[0].effect == pytest.approx(abs(first.mean() - second.mean()))


def test_on_a_full_grid_the_shares_add_up_to_one():
    effects = {"transfer": {"none": 0.0, "logits": 0.05, "hints": 0.02}, "lr": {"0.01": 0.0, "0.1": -0.04}}
    values, factors, settings = grid(effects, 3, 0.002, interaction=0.02)
    found = importance(values, factors, settings)
    assert {key.key for key in found.keys if key.matters} == {"transfer", "lr"}
    assert sum(key.share for key in found.keys) + found.interactions + found.noise == pytest.approx(1)
    assert found.interactions_p < 0.01


def test_without_noise_the_shares_are_the_variances_of_the_effects():
    effects = {"a": {"1": -0.03, "2": 0.03}, "b": {"1": -0.01, "2": 0.01}}
    values, factors, settings = grid(effects, 2, 0.0)
    found = importance(values, factors, settings)
    assert [key.key for key in found.keys] == ["a", "b"]
    assert found.keys[0].share == pytest.approx(0.9)
    assert found.keys[1].share == pytest.approx(0.1)
    assert (found.keys[0].worst, found.keys[0].best) == ("1", "2")
    assert found.keys[0].effect == pytest.approx(0.06)


def test_keys_that_do_nothing_are_called_noise_as_often_as_promised():
    effects = {key: dict.fromkeys("abc", 0.0) for key in ("one", "two", "three")}
    false = 0
    for seed in range(200):
        found = importance(*grid(effects, 2, 0.01, seed))
        false += any(key.matters for key in found.keys)
    # Holm: any false finding in 5 % of the sweeps.
    assert stats.binomtest(false, 200, 0.05).pvalue > 0.01


def test_noise_takes_no_share_for_its_many_values():
    effects = {"useless": dict.fromkeys("abcdef", 0.0)}
    shares = [importance(*grid(effects, 3, 0.01, seed)).keys[0].share for seed in range(100)]
    assert np.median(shares) < 0.02  # R squared would be 5 / 17


def test_missing_runs_do_not_mix_the_keys():
    """Where logits was run at the good learning rate more often, its mean is better, and it still does nothing."""
    effects = {"transfer": {"none": 0.0, "logits": 0.0}, "lr": {"0.01": 0.0, "0.1": 0.1}}
    false = 0
    for seed in range(100):
        values, factors, settings = grid(effects, 6, 0.01, seed)
        pairs = list(zip(factors["transfer"], factors["lr"], strict=True))
        rare = {("logits", "0.01"), ("none", "0.1")}
        kept = [place for place, pair in enumerate(pairs) if pair not in rare or place % 3 == 0]
        factors = {key: [levels[place] for place in kept] for key, levels in factors.items()}
        found = importance(values[kept], factors, [settings[place] for place in kept])
        means = [values[kept][np.array(factors["transfer"]) == name].mean() for name in ("none", "logits")]
        assert means[1] - means[0] > 0.02
        by_key = {key.key: key for key in found.keys}
        assert by_key["lr"].effect == pytest.approx(0.1, abs=0.025)
        false += by_key["transfer"].matters
    assert stats.binomtest(false, 100, 0.05).pvalue > 0.01


def test_keys_that_change_together_are_not_told_apart():
    values, factors, settings = grid({"student": {"small": 0.0, "large": 0.1}}, 3, 0.01)
    factors["teacher"] = [{"small": "a", "large": "b"}[name] for name in factors["student"]]
    found = importance(values, factors, settings)
    assert {key.key: key.along for key in found.keys} == {"student": ("teacher",), "teacher": ("student",)}
    assert all(key.share is None and not key.matters for key in found.keys)


def test_many_numbers_are_a_curve_over_their_logarithm():
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, -1, 40)
    values = 0.9 - 0.05 * (np.log10(rates) + 2.5) ** 2 + rng.normal(0, 0.002, 40)
    factors = {"optimizer.lr": [f"{rate:g}" for rate in rates], "width": [f"{x:g}" for x in rng.random(40)]}
    found = importance(values, factors, range(40))
    assert found.noise_from == "runs"
    assert found.freedom == 40 - 1 - 2 - 2
    assert found.keys[0].key == "optimizer.lr"
    assert found.keys[0].share > 0.95
    assert not found.keys[1].matters
    assert float(found.keys[0].best) == pytest.approx(10**-2.5, rel=0.5)


def test_fewer_errors_are_better():
    values, factors, settings = grid({"transfer": {"none": 0.1, "logits": 0.0}}, 3, 0.001)
    key = importance(values, factors, settings, lower_is_better=True).keys[0]
    assert (key.best, key.worst) == ("logits", "none")
    assert key.effect < 0


def test_one_seed_of_one_key_says_nothing_of_noise():
    found = importance([0.8, 0.9], {"transfer": ["none", "logits"]}, [0, 1])
    assert found.noise is None
    assert found.keys[0].p is None
    assert not found.keys[0].matters


def test_equal_runs_and_sweeps_of_seeds_have_nothing_to_explain():
    assert importance([0.8, 0.8], {"transfer": ["none", "logits"]}, [0, 1]) is None
    assert importance([0.8, 0.9], {"transfer": ["none", "none"]}, [0, 0]) is None


@pytest.mark.parametrize("seeds", [1, 3])
def test_where_seeds_agree_exactly_a_key_that_does_nothing_is_still_nothing(seeds):
    effects = {"a": {"1": -0.03, "2": 0.03, "3": 0.01}, "useless": dict.fromkeys("xyz", 0.0)}
    values, factors, settings = grid(effects, seeds, 0.0)
    found = importance(values, factors, settings)
    by_key = {key.key: key for key in found.keys}
    assert by_key["a"].matters
    assert (by_key["useless"].share, by_key["useless"].p) == (0.0, 1.0)
    assert found.noise == 0.0
    assert found.interactions_p in (None, 1.0)
