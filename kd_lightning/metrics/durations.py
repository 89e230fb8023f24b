"""How well a network knows how long each token is, and the whole sentence."""

from torch import Tensor


def duration_error(said: Tensor, spoken: Tensor) -> float:
    """The mean over tokens of |said - spoken|, in milliseconds.

    Args:
        said: (U,) seconds of each token of a sentence.
        spoken: (U,) seconds of each token of the recording.
    """
    return float((said.float() - spoken.float()).abs().mean() * 1000)


def length_ratio(said: Tensor, spoken: Tensor) -> float:
    """Seconds of the whole sentence over those of the recording: above 1 for who speaks more slowly.

    Args:
        said: (U,) seconds of each token of a sentence.
        spoken: (U,) seconds of each token of the recording.
    """
    return float(said.float().sum() / spoken.float().sum())
