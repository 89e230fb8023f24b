"""What Hydra and OmegaConf say of words that they do not know, in one line, with the word that was likely meant."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException


def in_a_line(error: BaseException) -> str:
    """An error's message; of a word that no config knows, what there is instead.

    Args:
        error: of Hydra, of OmegaConf, or any other.
    """
    unknown = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, choice = error.missing_cfg_file.rpartition("/")
        return f"{group}={choice}: there is no conf/{group}/{choice}.yaml{_meant(choice, error.options)}"
    if isinstance(error, OverrideParseException):
        reason = error.message.partition("\nSee ")[0].replace("\n", ": ")
        return f"{error.override}: {reason}; type key=value, in quotation marks where it has spaces or commas"
    if isinstance(unknown, OmegaConfBaseException) and "is not in struct" in str(unknown):
        node: Any = unknown.parent_node
        said = (
            f"{unknown.full_key}: the config has no such key{_meant(str(unknown.key), map(str, node or ()))}"
        )
        return said if error is unknown else f"{said} (a new one takes a plus: +{unknown.full_key}=…)"
    return str(error)


def _meant(word: str, known: Iterable[str]) -> str:
    shown = [each for each in known if not each.startswith("_")]
    if close := get_close_matches(word, shown):
        return f"; did you mean {' or '.join(close)}?"
    return f"; there are {', '.join(shown)}"
