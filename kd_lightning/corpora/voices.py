"""Who speaks in the embedded corpora: espeak-ng's accents and variants, dealt to the splits."""

import hashlib
from typing import NamedTuple

import numpy as np

SPLITS = ("train", "validation", "test")
# What espeak calls "en" is British.
ACCENTS = (
    "en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd",
    "en-us-nyc",
)  # fmt: skip
# espeak's voices without robots, whispers and those that a network trained on the others hardly understands.
VARIANTS = (
    "Alex", "Annie", "AnxiousAndy", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky",
    "Mario", "Michael", "Mike", "Nguyen", "RicishayMax", "Storm", "Tweaky", "adam", "announcer",
    "antonio", "aunty", "belinda", "benjamin", "boris", "caleb", "croak", "david", "ed", "edward",
    "edward2", "f1", "f2", "f3", "f4", "f5", "grandma", "grandpa", "gustave", "ian", "iven", "iven3",
    "iven4", "john", "klatt", "klatt2", "klatt3", "klatt6", "linda", "m1", "m2", "m3", "m4", "m5", "m6",
    "m7", "m8", "marcelo", "max", "michel", "miguel", "mike2", "pablo", "paul", "pedro", "quincy", "rob",
    "robert", "sandro", "steph2", "steph3", "victor",
)  # fmt: skip
_FEMALE = {
    "Annie", "aunty", "belinda", "f1", "f2", "f3", "f4", "f5", "grandma", "linda", "steph2", "steph3",
}  # fmt: skip


class Speaker(NamedTuple):
    """Somebody who speaks in a corpus."""

    split: str
    name: str  # eight hexadecimal digits
    voice: str  # espeak's name for accent and variant
    rate: int  # words per minute
    pitch: int  # 0 to 99

    @property
    def female(self) -> bool:
        """Whether espeak calls the variant a woman's voice."""
        return self.voice.partition("+")[2] in _FEMALE

    @property
    def described(self) -> str:
        """The voice in a corpus's conditions file: voice/rate/pitch."""
        return f"{self.voice}/{self.rate}/{self.pitch}"


def cast(
    voices: tuple[int, ...],
    rate_wpm: tuple[float, float],
    pitch: tuple[float, float],
    seed: int,
    rng: np.random.Generator,
) -> list[Speaker]:
    """Everybody who speaks, split by split; no two splits share an espeak variant.

    Args:
        voices: how many speakers in each of SPLITS.
        rate_wpm: range of their rates, words per minute.
        pitch: range of their pitches, 0 to 99.
        seed: goes into their names.
        rng: every draw comes from it.
    """
    variants = list(rng.permutation(VARIANTS))
    everybody = []
    for split, count in zip(SPLITS, voices, strict=True):
        share = 1 + (len(VARIANTS) - len(SPLITS)) * count // sum(voices)
        dealt, variants = variants[:share], variants[share:]
        accents = rng.permuted(np.tile(ACCENTS, (share, 1)), axis=1)
        for index in range(count):
            again, variant = divmod(index, share)
            accent = accents[variant, again % len(ACCENTS)]
            name = hashlib.sha256(f"{seed} {split} {index}".encode()).hexdigest()[:8]
            speaks, sounds = round(rng.uniform(*rate_wpm)), round(rng.uniform(*pitch))
            everybody.append(Speaker(split, name, f"{accent}+{dealt[variant]}", speaks, sounds))
    return everybody
