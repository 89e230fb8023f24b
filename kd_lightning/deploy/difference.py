"""How far a file is from the network that it was made of."""

import numpy as np
from torch import Tensor


def greatest(difference: float, further: Tensor) -> float:
    """The size of the largest of a difference and further ones; NaN stays, unlike in Python's own ``max``."""
    return float(np.maximum(difference, further.abs().max().item()))
