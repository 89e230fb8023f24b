"""The memory that a LiteRT file takes, measured in a fresh process that imports LiteRT and NumPy alone.

``python litert_memory.py network.tflite`` prints it as JSON; :func:`memory` does so from another process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

# Of this process; writing 5 to the first sets the peak in the second back to what is held now (proc(5)).
_RESET, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def memory(path: Path) -> dict[str, int]:
    """What a file takes while it hears one clip of zeros on one thread.

    Returns:
        ``peak_memory_bytes``, the greatest resident memory of a process that loads the file and runs it as it comes
        (XNNPACK), above that of the bare imports: weights, activations, and the code of the kernels. ``arena_bytes``,
        the tensor arena that LiteRT's own kernels plan for activations, which is what a microcontroller has to have in
        RAM. Nothing where the system does not tell a process its peak (Linux does).

    Raises:
        RuntimeError: the process failed.
    """
    if not _RESET.exists():
        return {}
    # -P: the folder of this file would come before packages.
    command = [sys.executable, "-P", __file__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path} does not run in a process of its own: {done.stderr.strip()}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _measured(path: str) -> dict[str, int]:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    def run(kernels: OpResolverType) -> Interpreter:
        interpreter = Interpreter(path, num_threads=1, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
        interpreter.invoke()
        return interpreter

    _RESET.write_text("5")
    before = _peak()
    run(OpResolverType.AUTO)
    peak = _peak() - before
    return {
        "peak_memory_bytes": peak,
        "arena_bytes": _arena(path, run(OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)),
    }


def _peak() -> int:
    (line,) = [line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _arena(path: str, interpreter: Any) -> int:
    """From the first byte of an activation to the last one of any other: the planner packs them into one block."""
    from ai_edge_litert.schema_py_generated import Model

    graph = Model.GetRootAs(Path(path).read_bytes()).Subgraphs(0)
    operators = (graph.Operators(number) for number in range(graph.OperatorsLength()))
    activations = {*graph.InputsAsNumpy(), *(each for one in operators for each in one.OutputsAsNumpy())}
    spans = []
    for number in activations:
        values = interpreter.tensor(number)()
        start = values.__array_interface__["data"][0]
        spans.append((start, start + values.nbytes))
    return int(max(end for _, end in spans) - min(start for start, _ in spans))


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1])))
