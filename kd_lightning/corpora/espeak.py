"""espeak-ng through ctypes: text in, waveform and phones out.

The library comes with the ``espeakng_loader`` wheel (GPL, hence an extra). It keeps state between calls:
the same text may come out a few samples longer the second time. And it seeds itself with the clock, which
some voices hear. With a fixed seed a fresh process repeats the same sequence of calls exactly, so whoever
needs reproducible speech gives every unit of work a process of its own and a fixed order.
"""

import ctypes
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kd_lightning.corpora.phone_times import Phone

_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: audio goes to the callback, in the calling thread
_DONT_EXIT = 0x8000  # without it espeak ends the process when its data is missing
_PHONEME_EVENTS, _IN_IPA = 0x1, 0x2  # the samples are the same with and without them
_UTF8 = 1
_RATE, _VOLUME, _PITCH, _RANGE = 1, 2, 3, 4  # espeak_PARAMETER
_CHARACTERS = 1  # espeak_POSITION_TYPE
_VOLUME_WITHOUT_CLIPPING = 60  # of 0..200; some voices clip at the default of 100

_END_OF_EVENTS, _PHONEME = 0, 7  # espeak_EVENT_TYPE


class _Event(ctypes.Structure):
    """espeak_EVENT. Of the union at its end only the phone is read: 8 bytes of UTF-8, which cut off a longer name."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("phone", ctypes.c_char * 8),
    )


_Samples, _Events = ctypes.POINTER(ctypes.c_short), ctypes.POINTER(_Event)
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, _Samples, ctypes.c_int, _Events)


class Spoken(NamedTuple):
    """What espeak said.

    Attributes:
        samples: (T,) float32 in [-1, 1].
        phones: from the first sample to the last, in seconds.
    """

    samples: np.ndarray
    phones: list[Phone]


class Espeak:
    """One espeak-ng library; it is process-wide, so make one a process.

    Attributes:
        sample_rate: of everything that it says, Hz (22,050).

    Raises:
        ModuleNotFoundError: the ``synthetic`` extra is not installed.
        RuntimeError: the library cannot read its data.
    """

    def __init__(self) -> None:
        import espeakng_loader  # here, because it is an extra: the settings import without it

        self._data = Path(espeakng_loader.get_data_path())
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self._library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
        self._library.espeak_Synth.argtypes = [
            ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int,
            ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p,
        ]  # fmt: skip
        path = str(self._data).encode()
        options = _DONT_EXIT | _PHONEME_EVENTS | _IN_IPA
        self.sample_rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, 200, path, options)
        if self.sample_rate <= 0:
            raise RuntimeError(
                f"espeak-ng cannot read its data in {self._data}; it takes no path of 150 characters "
                "or more: install the virtual environment nearer to the root, or reinstall espeakng_loader"
            )
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # initialising seeded it with the clock
        self._voice = ""
        self._chunks: list[np.ndarray] = []
        self._starts: list[tuple[int, str]] = []  # first sample and name of each phone
        self._callback = _Callback(self._collect)  # espeak holds the pointer only: keep it alive
        self._library.espeak_SetSynthCallback(self._callback)

    def voice(self, name: str) -> None:
        """Speak with this voice from now on.

        Args:
            name: accent and variant as in espeak's data folder, "en-us" or "en-gb-scotland+f3".

        Raises:
            ValueError: there is no such accent or variant (espeak itself ignores an unknown variant).
        """
        if name == self._voice:  # loading a voice takes as long as saying a word
            return
        variant = name.partition("+")[2]
        known = not variant or (self._data / "voices" / "!v" / variant).is_file()
        if not known or self._library.espeak_SetVoiceByName(name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {name!r} in {self._data}")
        self._voice = name

    def say(self, text: str, rate: int, pitch: int, intonation: int = 50) -> np.ndarray:
        """Speak a text.

        Args:
            text: what to say.
            rate: words per minute, 80 to 450.
            pitch: 0 to 99, relative to the voice's own range; 50 is its normal pitch.
            intonation: how far the pitch moves, 0 (flat) to 100.

        Returns:
            (T,) float32 in [-1, 1] at ``sample_rate``.

        Raises:
            RuntimeError: nothing was spoken.
        """
        return self.speak(text, rate, pitch, intonation).samples

    def speak(self, text: str, rate: int, pitch: int, intonation: int = 50) -> Spoken:
        """Speak a text and tell when each phone was said; the arguments are those of :meth:`say`.

        A stop starts with its burst; the silence of its closure belongs to the phone before it.

        Raises:
            RuntimeError: nothing was spoken.
        """
        settings = ((_RATE, rate), (_PITCH, pitch), (_RANGE, intonation), (_VOLUME, _VOLUME_WITHOUT_CLIPPING))
        for parameter, value in settings:
            self._library.espeak_SetParameter(parameter, value, 0)
        self._chunks, self._starts = [], []
        encoded = text.encode()
        status = self._library.espeak_Synth(encoded, len(encoded) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self._chunks])
        if status != 0 or not samples.any():
            raise RuntimeError(f"espeak-ng said nothing for {text!r} (status {status})")
        return Spoken(samples.astype(np.float32) / 32768, self._phones(len(samples)))

    def _phones(self, end: int) -> list[Phone]:
        """The phones of an utterance with as many samples; what follows a silence in silence is part of it."""
        phones: list[Phone] = []
        for (start, name), (stop, _) in pairwise([(0, ""), *self._starts, (end, "")]):
            if not name and phones and not phones[-1].name:
                phones[-1] = phones[-1]._replace(end=stop / self.sample_rate)
            elif name or stop > start:
                phones.append(Phone(start / self.sample_rate, stop / self.sample_rate, name))
        return phones

    def _collect(
        self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: "ctypes._Pointer[_Event]"
    ) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while (event := events[index]).type != _END_OF_EVENTS:
            if event.type == _PHONEME:
                self._starts.append((event.sample, event.phone.decode(errors="ignore")))
            index += 1
        return 0
