"""Whether plain values of a config are what a constructor's type hints ask for, before something far away fails."""

import builtins
import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

_PLAIN = (bool, int, float, str, NoneType)


def check_arguments(target: Callable[..., Any], values: Mapping[str, Any], name: str) -> None:
    """Refuse numbers for words, words for numbers, and the like.

    Args:
        target: a class or a function; hints of it that name no plain type allow anything.
        values: of its arguments by name; those that it does not have are left to the call.
        name: what a message calls it.

    Raises:
        ValueError: names the argument, what it is, and what it has to be.
    """
    function = target.__init__ if inspect.isclass(target) else target
    written = getattr(function, "__annotations__", {})
    if not written:
        return
    # What a module imports for type checkers alone may be anything.
    known = defaultdict(lambda: Any, vars(builtins) | function.__globals__)
    hints = get_type_hints(function, localns=known)
    for key in values.keys() & hints.keys():
        if not fits(values[key], hints[key]):
            said = written[key] if isinstance(written[key], str) else inspect.formatannotation(hints[key])
            raise ValueError(
                f"{name}: {key}={values[key]} is not {said}; look at its arguments in the config"
            )


def fits(value: Any, hint: Any) -> bool:
    """Whether a value can be what a hint says. Whole numbers are numbers, and lists are tuples."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if kind is Mapping and isinstance(value, dict):
        return all(fits(item, parts[1]) for item in value.values())
    if kind in (list, tuple, Sequence):
        if not isinstance(value, list | tuple):
            return not isinstance(value, _PLAIN)
        if kind is tuple and parts[-1] is not ...:
            return len(value) == len(parts) and all(map(fits, value, parts))
        return all(fits(item, parts[0]) for item in value)
    if hint is float:
        return type(value) in (int, float)
    if hint in _PLAIN:
        return type(value) is hint
    # No plain value is an object of a class, but for hints such as Any.
    return (
        kind is not None
        or not inspect.isclass(hint)
        or hint in (Any, object)
        or not isinstance(value, _PLAIN)
    )
