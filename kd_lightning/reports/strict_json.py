"""JSON that every parser takes."""

import json
import math


def to_json(value: object) -> str:
    """Strict JSON (RFC 8259): what is not a finite number becomes null, half a surrogate pair a question mark."""
    written = json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    return written.encode(errors="replace").decode()


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
