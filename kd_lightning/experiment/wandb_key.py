"""Whether wandb may be asked: a key in the environment, or the one that ``wandb login`` has left."""

import netrc
import os
from urllib.parse import urlsplit


def has_wandb_key() -> bool:
    """Whether there is a key for the server that wandb is set to."""
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
