"""Build the objects that a config names, and nothing else.

A config may come from somebody else's run. Looking at the text of ``_target_`` is not enough (``torchaudio.os.getcwd``
has an honest prefix), so the named object itself is looked at: where it was defined, and what it is.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import Any

from kd_lightning.experiment.arguments import check_arguments

PACKAGES = ("kd_lightning", "torch", "torchaudio", "pytorch_lightning")

# Where networks may be defined: not everything that is a Module is one (torch.jit, torch.distributed).
NETWORKS = (
    "kd_lightning.models.",
    "kd_lightning.frontend.",
    "kd_lightning.distillers.",
    "kd_lightning.teachers.",
    "torch.nn.modules.",
    "torchaudio.models.",
    "torchaudio.transforms.",
)
# Pure functions: losses, gates, schedules, ways to copy weights.
FUNCTIONS = (
    "kd_lightning.losses.",
    "kd_lightning.distillers.gates.",
    "kd_lightning.distillers.schedules",
    "kd_lightning.models.copying",
)
_RESERVED = ("_target_", "_partial_", "_args_")
# Plain settings.
SETTINGS = (
    "kd_lightning.corpora.augment.Augment",
    "kd_lightning.corpora.synthetic.SyntheticSpeechCommands",
    "kd_lightning.corpora.synthetic_sentences.",
    "kd_lightning.corpora.synthetic_voice.",
    "kd_lightning.distillers.weights.",
)


def resolve(target: object) -> Callable[..., Any]:
    """The class or function that a ``_target_`` names.

    Raises:
        ValueError: it does not exist, or a config may not name it.
    """
    if not isinstance(target, str) or target.partition(".")[0] not in PACKAGES:
        raise ValueError(f"_target_: {target} is not allowed; name a class of {', '.join(PACKAGES)}")
    from hydra.utils import get_object

    hydra_log = logging.getLogger("hydra._internal.utils")
    hydra_log.disabled = True  # it would say at length what the error below says in a line
    try:
        found = get_object(target)
    except Exception as error:
        raise ValueError(f"_target_: {target} does not exist ({error})") from error
    finally:
        hydra_log.disabled = False
    if not _allowed(found):
        raise ValueError(
            f"_target_: {target} is not allowed; a config may name networks, data modules, callbacks, loggers, "
            "optimizers and schedulers, and the losses and schedules of kd_lightning"
        )
    assert callable(found)
    return found


def _allowed(found: Any) -> bool:
    import pytorch_lightning as pl
    from pytorch_lightning.loggers import Logger
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    place = f"{getattr(found, '__module__', '')}.{getattr(found, '__name__', '')}"
    if place.partition(".")[0] not in PACKAGES or getattr(found, "__name__", "_").startswith("_"):
        return False
    if inspect.isfunction(found):
        return place.startswith(FUNCTIONS)
    if not inspect.isclass(found):
        return False
    if issubclass(found, nn.Module) and not issubclass(found, pl.LightningModule):
        return place.startswith(NETWORKS)
    if issubclass(found, pl.LightningModule):
        return place.startswith("kd_lightning.distillers.")
    kinds = (pl.LightningDataModule, pl.Callback, Logger, Optimizer, LRScheduler)
    return issubclass(found, kinds) or place.startswith(SETTINGS)


def build(config: Any, kind: type | None = None, **arguments: Any) -> Any:
    """Build what a plain config describes, depth first.

    Args:
        config: nested plain values; a dict with ``_target_`` becomes the object, or with ``_partial_: true`` a partial;
            ``_args_`` lists what comes before the keyword arguments.
        kind: what the object has to be an instance of.
        arguments: further keyword arguments of the outermost object; they win over the config's.

    Raises:
        ValueError: a ``_target_`` that is not allowed here, or arguments that it does not take, or of another type.
    """
    if isinstance(config, list):
        return [build(item) for item in config]
    if not isinstance(config, dict):
        return config
    if kind is not None:
        _require_kind(config, kind)
    built = {key: build(value) for key, value in config.items() if key not in _RESERVED}
    if "_target_" not in config:
        return built | arguments
    target = resolve(config["_target_"])
    check_arguments(target, built, config["_target_"])
    call = functools.partial(target, *build(config.get("_args_", [])), **(built | arguments))
    if config.get("_partial_"):
        return call
    try:
        return call()
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{config['_target_']}: {error}; look at its arguments in the config") from error


def check(config: Any) -> None:
    """Look at what a plain config describes as :func:`build` would, and build nothing.

    Raises:
        ValueError: a ``_target_`` that is not allowed, or an argument of another type.
    """
    if isinstance(config, dict) and "_target_" in config:
        check_arguments(resolve(config["_target_"]), config, config["_target_"])
    for node in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        check(node)


def _require_kind(config: dict[str, Any], kind: type) -> None:
    target = resolve(config.get("_target_"))
    if not inspect.isclass(target) or not issubclass(target, kind):
        raise ValueError(f"_target_: {config['_target_']} is not allowed here: a {kind.__name__} is wanted")
