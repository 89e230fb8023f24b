"""The sizes of a network that are tried, from narrow to wide."""

from itertools import product
from typing import Any, NamedTuple

# Eighths of an octave, from a sixteenth of what the config says to sixteen times that.
FACTORS = [2 ** (eighth / 8) for eighth in range(-32, 33)]


class Rung(NamedTuple):
    """One size of a student.

    Attributes:
        name: such as ``tc_resnet8-x0.71-depth14``.
        arguments: those of its network that are not as in its config.
    """

    name: str
    arguments: dict[str, Any]


def ladders(student: str, network: dict[str, Any], sizes: dict[str, Any]) -> list[list[Rung]]:
    """All sizes of a student, a ladder for each choice of its listed arguments.

    Args:
        student: its name in ``conf/student``.
        network: the config of its network.
        sizes: by argument a number, the grain to which it is rounded after it was multiplied, with all such arguments,
            by one factor; or a list of values.

    Returns:
        ladders, narrow rungs first; sizes that rounding makes the same are there once.

    Raises:
        ValueError: the network has no such argument, or none that can be multiplied.
    """
    if unknown := sorted(sizes.keys() - network.keys()):
        raise ValueError(
            f"ladders.{student}: its network has no {', '.join(unknown)}; there are "
            f"{', '.join(key for key in network if not key.startswith('_'))}"
        )
    for key, grain in grains(sizes).items():
        values = network[key] if isinstance(network[key], list) else [network[key]]
        if not all(_is_number(value) for value in (grain, *values)) or grain <= 0:
            raise ValueError(
                f"ladders.{student}.{key}={grain}: a number that {network[key]} is rounded to when it is multiplied, "
                "or a list of values"
            )
    listed = {key: values for key, values in sizes.items() if isinstance(values, list)}
    choices = [dict(zip(listed, chosen, strict=True)) for chosen in product(*listed.values())]
    return [_ladder(student, network, grains(sizes), chosen) for chosen in choices]


def grains(sizes: dict[str, Any]) -> dict[str, float]:
    """The arguments that are multiplied, and what they are rounded to."""
    return {key: grain for key, grain in sizes.items() if not isinstance(grain, list)}


def _ladder(
    student: str, network: dict[str, Any], grains: dict[str, float], chosen: dict[str, Any]
) -> list[Rung]:
    rungs: dict[str, Rung] = {}
    # Of sizes that are the same, the factor nearest to 1 gives the name.
    for factor in sorted(FACTORS, key=lambda factor: max(factor, 1 / factor)):
        scaled = {key: _scaled(network[key], grain, factor) for key, grain in grains.items()}
        other = [f"{key}{value}" for key, value in chosen.items() if value != network[key]]
        name = "-".join([student, f"x{factor:.3g}", *other])
        rungs.setdefault(str(scaled), Rung(name, scaled | chosen))
    return sorted(rungs.values(), key=lambda rung: [_widths(rung.arguments[key]) for key in grains])


def _widths(value: Any) -> list[float]:
    return value if isinstance(value, list) else [value]


def _scaled(value: Any, grain: float, factor: float) -> Any:
    """A number, or each of a list, times ``factor`` in whole grains, at least one."""
    if isinstance(value, list):
        return [_scaled(each, grain, factor) for each in value]
    grains = max(1, round(value * factor / grain))
    return grains * grain if isinstance(grain, int) else round(grains * grain, 6)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
