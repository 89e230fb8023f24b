"""The most memory that a stretch of work holds."""

from contextlib import suppress
from pathlib import Path

import torch

_PROCESS = Path("/proc/self")


class Peak:
    """The highest use of memory from now on: of the accelerator if there is one, else of this process.

    Linux counts anew when it is told to; elsewhere the peak is that of the whole process so far.
    """

    def __init__(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
            return
        with suppress(OSError):
            (_PROCESS / "clear_refs").write_text("5")  # proc(5): resets the peak resident set size

    def bytes(self) -> int:
        """So far."""
        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
        try:
            lines = (_PROCESS / "status").read_text().splitlines()
            return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
        except (OSError, StopIteration):
            import resource

            return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
