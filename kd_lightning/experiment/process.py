"""What a training process asks of the machine and of the libraries in it."""

import ctypes
import functools
import logging
import os
import platform
import threading
import time
import warnings
from typing import Any

import torch

# From glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def prepare_process(trainer: dict[str, Any]) -> None:
    """Share the cores between ranks, keep freed memory, and keep Lightning to what matters.

    Args:
        trainer: the Trainer's arguments.
    """
    _quieten_lightning()
    if trainer["accelerator"] == "cpu":
        _share_cores(trainer["devices"])
        _keep_freed_memory()


@functools.cache
def end_with_parent(patience: float = 1.0) -> None:
    """End this process soon after the one that started it: a killed sweep leaves no job behind that holds its folder.

    Args:
        patience: seconds between two looks.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(patience)
        os._exit(1)

    threading.Thread(target=watch, name="ends with its parent", daemon=True).start()


def _share_cores(devices: object) -> None:
    """Two processes that each take all cores slow each other down a hundred times."""
    if isinstance(devices, int) and devices > 1:
        torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // devices))


def _keep_freed_memory() -> None:
    """Let glibc reuse large blocks instead of handing them back to the kernel.

    A batch's spectra are some 10 MB, which malloc maps anew at every step, and the kernel clears page by page: with
    this, a small student trains 1.5 times as many clips a second.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(M_MMAP_THRESHOLD, 1 << 30)
    mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(M_TOP_PAD, 64 << 20)


def _quieten_lightning() -> None:
    """Keep what Lightning says of a run that is as it should be off the terminal."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for expected in (
        "does not have many workers",  # none is the fastest on a CPU
        "dataloader is not resumable",  # the sampler asks the trainer where it is
        "in eval mode at the start of training",  # the teacher
        "isinstance.treespec, LeafSpec",
        "recommended to use .self.log.*sync_dist=True",  # torchmetrics has summed over ranks
    ):
        warnings.filterwarnings("ignore", message=f".*{expected}.*")
