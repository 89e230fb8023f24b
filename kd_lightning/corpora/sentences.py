"""What is said in the embedded corpora for recognition: a small grammar of everyday English.

Commands, statements and questions of three to seven words out of a vocabulary of some 160. The grammar is finite and
no two of its derivations give the same words, so sentences are drawn without replacement and what one split says no
other split ever does. Each corpus has a half of the grammar to itself: a teacher of one has never heard the other's.
"""

import re
import zlib
from functools import cache
from itertools import product

import numpy as np

SHORTEST, LONGEST = 3, 7  # words

# A name in braces stands for any of its alternatives; an empty one leaves the place out. Past tense, modals and
# imperatives keep the verbs free of agreement.
_PATTERNS = (
    # commands
    "{please}turn {switch} the {device}{inside}{again}",
    "{please}turn the {device} {switch}{ahead}",
    "{please}{shut} the {which}{opening}{inside}{ahead}",
    "{please}set {timer}",
    "{please}wake me {up}at {number} {future}",
    "{please}play {music}{inside}{ahead}",
    "{please}call {person}{ahead}",
    "{please}put the {thing} {where}",
    "{please}bring me the {thing}{again}",
    "don't forget {your} {thing}{ahead}",
    "{please}send a message to {person}{ahead}",
    "{please}send {person} {note}{ahead}",
    # statements
    "{who} {went} to the {place} {past}",
    "{who} {went} home {past}",
    "{who} {found} the {thing} {somewhere}",
    "{who} will {call} {person} {future}",
    "{who} bought {number} {counted} {past}",
    "{who} had {food} and {drink} {past}",
    "there is some {meal} {where}",
    "there are {number} {counted} {where}",
    "it was {very}{weather} {at_place}{past}",
    "it will be {very}{weather} {future}",
    "the {room} was {very}{weather}{before}",
    "the {vehicle} {to_place}was {very}{late}{before}",
    "the {vehicle} will {go_by}{ahead}",
    "{pronoun} will {do} in {number} minutes",
    "I think {they} will {do}{ahead}",
    "the {which}{opening} is {ajar}{again}",
    # questions
    "where did {they} put the {thing}?",
    "when will {they} {do}{ahead}?",
    "why did {they} {go} {home}{before}?",
    "what time will {they} {call} {person}?",
    "how many {counted} do {we} {want}{ahead}?",
    "how many {counted} did {they} find{before}?",
    "do {we} {want} some {meal}{ahead}?",
    "can you {see} the {thing}{again}?",
    "is the {place} {near}?",
    "who {found} the {thing} {somewhere}?",
    "did {they} {call} {person} {past}?",
)
_ALTERNATIVES = {
    "please": ("", "please "),
    "switch": ("on", "off"),
    "device": ("light", "radio"),
    "inside": ("", " in the {room}"),
    "room": ("kitchen", "bedroom", "garden"),
    "again": ("", " now", " again"),
    "shut": ("open", "close", "lock"),
    "which": ("", "old ", "front ", "{room} "),
    "opening": ("door", "window", "gate"),
    "timer": ("a timer for {number} minutes{again}", "the timer for {number} {future}"),
    "up": ("", "up "),
    "music": ("some music", "your music", "the next song", "the last song", "the radio"),
    "note": ("a message", "the {small}"),
    "your": ("your", "the"),
    "number": ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    "colour": ("red", "green", "blue", "black"),
    "small": ("key", "book", "camera", "bag", "coat"),
    "thing": ("{small}", "{colour} {small}"),
    "where": ("on the table", "under the bed", "by the {opening}", "near the {opening}", "in the car"),
    "somewhere": ("{past}", "{where}"),
    "day": ("Monday", "Friday", "Sunday"),
    "past": ("yesterday", "this morning", "last night", "last week", "on {day}"),
    "before": ("", " {past}"),
    "future": ("today", "tomorrow", "tonight", "next week", "after lunch", "before dinner", "on {day}"),
    "ahead": ("", " {future}"),
    "relative": ("mother", "father", "sister", "brother"),
    "pronoun": ("I", "we", "they", "she", "he"),
    "who": ("{pronoun}", "my {relative}", "the doctor", "the teacher", "the children"),
    "they": ("they", "she", "he", "your {relative}", "the children"),
    "we": ("we", "you", "they"),
    "person": ("my {relative}", "the doctor", "the teacher"),
    "went": ("walked", "drove", "went"),
    "go": ("walk", "drive", "go"),
    "home": ("home", "to the {place}"),
    "place": ("station", "market", "school", "river", "office"),
    "at_place": ("", "at the {place} "),
    "to_place": ("", "to the {place} "),
    "found": ("found", "lost", "took", "left"),
    "call": ("call", "visit", "meet"),
    "counted": ("apples", "eggs", "chairs"),
    "food": ("bread", "cheese", "soup"),
    "drink": ("tea", "coffee", "milk"),
    "meal": ("{food}", "{drink}"),
    "very": ("", "very "),
    "weather": ("cold", "warm", "dark"),
    "vehicle": ("train", "bus", "boat"),
    "late": ("late", "early"),
    "go_by": ("leave", "be {late}", "leave in {number} minutes"),
    "do": ("be {state}", "come home", "leave", "call {person}"),
    "want": ("want", "need"),
    "state": ("tired", "happy"),
    "ajar": ("open", "broken"),
    "see": ("find", "see"),
    "near": ("open{ahead}", "near the {place}"),
}
_NUMERALS = dict(zip(_ALTERNATIVES["number"], map(str, range(2, 11)), strict=True))
# Nobody's mother calls her own mother, and no kitchen window is in the kitchen: other words come once a sentence.
_MAY_REPEAT = {"the", "on", "my"}


@cache
def sentences(half: int | None = None) -> tuple[tuple[str, ...], ...]:
    """Every sentence there is, with capitals and punctuation, in a fixed order, by pattern and number of words.

    Args:
        half: 0 or 1 for a half of them, both alike; None for all.
    """
    if half is not None:
        return tuple(
            tuple(text for text in group if zlib.crc32(text.encode()) % 2 == half) for group in sentences()
        )
    groups: dict[tuple[str, int], list[str]] = {}
    for pattern in _PATTERNS:
        for text in _expand(pattern if pattern.endswith("?") else f"{pattern}."):
            said = words(text)
            once = [word for word in said if word not in _MAY_REPEAT]
            if SHORTEST <= len(said) <= LONGEST and len(set(once)) == len(once):
                groups.setdefault((pattern, len(said)), []).append(text[0].upper() + text[1:])
    return tuple(map(tuple, groups.values()))


def count(half: int | None = None) -> int:
    """How many different sentences there are, or there are in a half."""
    return sum(map(len, sentences(half)))


@cache
def vocabulary() -> tuple[str, ...]:
    """The words of all sentences, lower-case and sorted."""
    return tuple(sorted({word for group in sentences() for text in group for word in words(text)}))


def words(sentence: str) -> list[str]:
    """The words of a sentence, lower-case and without punctuation."""
    return re.findall(r"[a-z']+", sentence.lower())


def with_numerals(sentence: str) -> str:
    """The sentence with its numbers in digits, as a book may print it."""
    return re.sub(r"[a-z]+", lambda word: _NUMERALS.get(word[0], word[0]), sentence)


def draw(number: int, rng: np.random.Generator, half: int | None = None) -> list[str]:
    """Draw different sentences: patterns and lengths in turn while they last, then in random order.

    Args:
        number: how many.
        rng: every draw comes from it.
        half: 0 or 1 for sentences of that half alone.

    Raises:
        ValueError: there are not so many.
    """
    if number > count(half):
        raise ValueError(f"there are {count(half)} different sentences, {number} were asked for")
    groups = [[group[index] for index in rng.permutation(len(group))] for group in sentences(half)]
    drawn: list[str] = []
    while len(drawn) < number:
        left = [group for group in groups if group]
        drawn += [left[index].pop() for index in rng.permutation(len(left))]
    return [drawn[index] for index in rng.permutation(number)]


def _expand(pattern: str) -> list[str]:
    parts = re.split(r"\{(\w+)\}", pattern)  # text, name, text, name, …, text
    choices = [
        [part] if index % 2 == 0 else [text for option in _ALTERNATIVES[part] for text in _expand(option)]
        for index, part in enumerate(parts)
    ]
    return ["".join(chosen) for chosen in product(*choices)]
