"""Build the objects that a config names, and nothing else.

A config may come from somebody else's run. Looking at the text of ``_target_`` is not enough (``torchaudio.os.getcwd``
has an honest prefix), so the named object itself is looked at: where it was defined, and what it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

PACKAGES = ("kd_lightning", "torch", "torchaudio", "torchmetrics", "pytorch_lightning")

# Where a config may also name plain functions (pure ones: losses, schedules, ways to copy weights) and plain classes.
FUNCTIONS = (
    "kd_lightning.losses.",
    "kd_lightning.distillers.schedules",
    "kd_lightning.models.copying",
)
CLASSES = ("kd_lightning.corpora.", "kd_lightning.distillers.weights")


def resolve(target: str) -> Callable[..., Any]:
    """The class or function that a ``_target_`` names.

    Raises:
        ValueError: it does not exist, or a config may not name it.
    """
    package = target.partition(".")[0]
    if package not in PACKAGES:
        raise ValueError(f"_target_: {target} is not allowed; name a class of {', '.join(PACKAGES)}")
    from hydra.utils import get_object

    try:
        found = get_object(target)
    except Exception as error:
        raise ValueError(f"_target_: {target} does not exist ({error})") from error
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

    module = getattr(found, "__module__", "") or ""
    if module.partition(".")[0] not in PACKAGES:
        return False
    if inspect.isclass(found) and issubclass(
        found, (nn.Module, pl.LightningDataModule, pl.Callback, Logger, Optimizer, LRScheduler)
    ):
        return True
    if inspect.isfunction(found):
        return module.startswith(FUNCTIONS)
    return inspect.isclass(found) and module.startswith(CLASSES)


def build(config: Any, **arguments: Any) -> Any:
    """Build what a plain config describes, depth first.

    Args:
        config: nested plain values; a dict with ``_target_`` becomes the object, or with ``_partial_: true`` a partial.
        arguments: further keyword arguments of the outermost object; they win over the config's.

    Raises:
        ValueError: a ``_target_`` that is not allowed, or arguments that it does not take.
    """
    if isinstance(config, list):
        return [build(item) for item in config]
    if not isinstance(config, dict):
        return config
    built = {key: build(value) for key, value in config.items() if key not in ("_target_", "_partial_")}
    if "_target_" not in config:
        return built | arguments
    target = resolve(config["_target_"])
    call = functools.partial(target, **(built | arguments))
    if config.get("_partial_"):
        return call
    try:
        inspect.signature(target).bind(**call.keywords)
    except TypeError as error:
        raise ValueError(f"{config['_target_']}: {error}; look at its arguments in the config") from error
    return call()
