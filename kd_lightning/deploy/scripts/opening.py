"""The network beside the script."""

import json
from pathlib import Path
from typing import Any

import onnxruntime

HERE = Path(__file__).parent
NETWORKS = [HERE / f"network_{precision}.onnx" for precision in ("fp32", "fp16", "int8")]


def opened(path: Path | None) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """A network on one thread, and what its file says of it; without a path the first one beside the script."""
    found = [each for each in ([path] if path else NETWORKS) if each.is_file()]
    if not found:
        raise SystemExit(f"{path or HERE / 'network_*.onnx'}: there is no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(found[0]), options, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    return session, {key: json.loads(value) for key, value in said.items()}
