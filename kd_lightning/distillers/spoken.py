"""What a network said of a sentence, for people to hear and to see.

A distiller whose networks speak has three attributes for :class:`~kd_lightning.callbacks.kept_speech.KeptSpeech`:

- ``most_spoken``: how many sentences are kept. 0, unless the callback has set it before the fit or the test.
- ``spoken``: a list of :class:`Spoken`, emptied when a test begins and filled in ``test_step``. It holds at most
  ``most_spoken``, those that come first in the order of their ids (:func:`first`), however large the test set is.
- ``speak_samples(batch)``: a :class:`Spoken` for each of the first ``most_spoken`` sentences of a validation batch.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class Spoken(NamedTuple):
    """A sentence as a network said it, beside its recording.

    Attributes:
        cut: id of the recording.
        waveform: (T,) what the network said, at the sample rate of its frontend; of an acoustic network through a
            vocoder or Griffin-Lim.
        mel: (bins, frames) of what the network said, natural logarithm.
        reference: (T',) the recording, at the same rate.
        reference_mel: (bins, frames') of the recording.
        attention: (S, U) of the decoder over the tokens; ``None`` without one.
        tokens: names of the attention's tokens, U of them; empty without attention.
    """

    cut: str
    waveform: Floats
    mel: Floats
    reference: Floats
    reference_mel: Floats
    attention: Floats | None
    tokens: list[str]


def first(spoken: Iterable[Spoken], most: int) -> list[Spoken]:
    """The sentences that come first in the order of their ids, at most so many."""
    return sorted(spoken, key=lambda one: one.cut)[:most]
