"""How likely a flow finds recordings.

Prenger et al., "WaveGlow: A Flow-based Generative Network for Speech Synthesis", ICASSP 2019, section 2.1.
"""

import torch
from torch import Tensor

from kd_lightning.losses.summed import Summed


def negative_log_likelihood(
    z: Tensor, log_determinant: Tensor, samples: Tensor, sigma: float = 1.0
) -> Summed:
    """sum z^2 / (2 sigma^2) - ln |det dz/dx|, for z of a normal distribution N(0, sigma^2).

    In nats, without the constant ln(2 pi sigma^2) / 2 of each sample.

    Args:
        z: (B, T), one value a sample.
        log_determinant: (B,) of the flow, over the same samples.
        samples: (B,) int64, samples that are not padding.
        sigma: standard deviation; 1/sqrt(2) in the paper.

    Returns:
        The sum over the valid samples and their number, float32.
    """
    valid = torch.arange(z.shape[1], device=z.device) < samples[:, None]
    energies = z.float().where(valid, 0.0).square().sum(dim=1)
    losses = energies / (2 * sigma**2) - log_determinant.float()
    return Summed(losses.sum(), samples.sum().float())
