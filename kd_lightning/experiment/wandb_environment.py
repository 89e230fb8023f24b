"""Who has started this process, and whether wandb may be asked: nothing here imports torch."""

import netrc
import os
from urllib.parse import urlsplit


def has_wandb_key() -> bool:
    """Whether there is a key: in the environment, or the one that ``wandb login`` has left.

    White space around the one in the environment, as files of secrets end with, is taken off: wandb stops at it.
    """
    if key := os.environ.get("WANDB_API_KEY"):
        os.environ["WANDB_API_KEY"] = key.strip()
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    if any("wandb" in host for host in hosts):
        return True
    from wandb.sdk import wandb_setup

    # A server of one's own, and that of wandb by its new name.
    return urlsplit(wandb_setup.singleton().settings.base_url).netloc in hosts


def in_wandb_sweep() -> bool:
    """Whether an agent of a wandb sweep has started this process, for the run that it names."""
    return bool(os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"))
