"""How a student's error falls with the share of labels: a power law, and all those that the measurements allow.

The family is error(f) = a + b f^-c. Power laws fit most of the learning curves that Viering and Loog review ("The Shape
of Learning Curves: a Review", 2021), and those of deep networks, of speech too (Hestness et al., "Deep Learning Scaling
is Predictable, Empirically", 2017). ``a`` is what the network cannot learn from any number of labels, ``b f^-c`` what
it would learn from more.

Two or three fractions of some seeds do not pin three parameters down, so no single curve is drawn: every draw moves the
measured means by what seeds scatter (a parametric bootstrap, because three seeds resampled say too little) and takes
one of the exponents that then fit, the likelier the better it does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 4000
# Exponents that were found lie between 0.07 (Hestness et al. 2017) and 1, the rate of a well-posed problem.
EXPONENTS = np.geomspace(0.07, 2.0, 40)


class Curves(NamedTuple):
    """R power laws that the measurements allow.

    Attributes:
        floor: (R,) a, at least 0.
        slope: (R,) b, at least 0: labels do not hurt.
        exponent: (R,) c.
        scatter: standard deviation of a single seed's error.
    """

    floor: Floats
    slope: Floats
    exponent: Floats
    scatter: float

    def at(self, fraction: float) -> Floats:
        """(R,) errors at a labelled fraction in (0, 1]."""
        return self.floor + self.slope * fraction**-self.exponent


def fit(errors: Mapping[float, Sequence[float]], draws: int = DRAWS, seed: int = 0) -> Curves:
    """The power laws that errors allow.

    Args:
        errors: of trained students, one a seed, by labelled fraction.
        draws: R.
        seed: makes the draw repeatable.

    Raises:
        ValueError: fewer than two fractions, or nobody can say how seeds scatter.
    """
    fractions = np.array(sorted(errors))
    if len(fractions) < 2:
        raise ValueError(f"a learning curve needs two labelled fractions or more, not {fractions.tolist()}")
    samples = [np.asarray(errors[fraction], float) for fraction in fractions]
    freedom = sum(len(one) - 1 for one in samples)
    if freedom < 1:
        raise ValueError("one seed a fraction says nothing about how seeds scatter: set seeds=2 or more")
    scatter = float(np.sqrt(sum(((one - one.mean()) ** 2).sum() for one in samples) / freedom))
    rng = np.random.default_rng(seed)
    spread = scatter * np.sqrt(freedom / rng.chisquare(freedom, (draws, 1)))
    deviations = spread / np.sqrt([len(one) for one in samples])
    means = np.array([one.mean() for one in samples]) + deviations * rng.standard_normal(
        (draws, len(samples))
    )
    floors, slopes, misfits = _least_squares(fractions, means, deviations)
    # The largest of Gumbel-disturbed log-likelihoods is a draw in proportion to the likelihoods.
    chosen = (-misfits / 2 + rng.gumbel(size=misfits.shape)).argmax(axis=1)
    rows = np.arange(draws)
    return Curves(floors[rows, chosen], slopes[rows, chosen], EXPONENTS[chosen], scatter)


def _least_squares(fractions: Floats, means: Floats, deviations: Floats) -> tuple[Floats, Floats, Floats]:
    """For each draw and exponent the best floor and slope, neither negative, and the squares that are left.

    Args:
        fractions: (F,) of the labels.
        means: (R, F) errors.
        deviations: (R, F) of these means.

    Returns:
        each (R, exponents).
    """
    powers = fractions ** -EXPONENTS[:, None]  # (E, F)
    weights = 1 / np.maximum(deviations, 1e-12) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    mean_y = (weights * means).sum(axis=1)[:, None]
    mean_x = weights @ powers.T
    covariance = np.einsum("rf,rf,ef->re", weights, means, powers) - mean_x * mean_y
    variance = weights @ (powers**2).T - mean_x**2
    slopes = np.maximum(covariance / np.maximum(variance, 1e-300), 0.0)
    floors = mean_y - slopes * mean_x
    # Where the floor would lie below no error at all, the best line through the origin.
    through_origin = (covariance + mean_x * mean_y) / (variance + mean_x**2)
    slopes = np.where(floors < 0, through_origin, slopes)
    floors = np.maximum(floors, 0.0)
    fitted = floors[:, :, None] + slopes[:, :, None] * powers
    scaled = (means[:, None, :] - fitted) / np.maximum(deviations, 1e-12)[:, None, :]
    return floors, slopes, (scaled**2).sum(axis=2)
