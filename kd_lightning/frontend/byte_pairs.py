"""The tokens of Whisper: pairs of bytes that occur often, merged again and again.

Byte-level BPE (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019) spells every text, in any
script, without an unknown token.
"""

from pathlib import Path
from typing import Any

from kd_lightning.frontend.tokens import BLANK_PIECE, Tokens

# GPT-2 names a byte by a visible character: itself, or for the invisible ones those from U+0100 on, in order.
_VISIBLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTES = {chr(byte): byte for byte in _VISIBLE} | {
    chr(0x100 + place): byte for place, byte in enumerate(sorted(set(range(256)) - set(_VISIBLE)))
}


class BytePairs(Tokens):
    """The tokens of a Hugging Face folder that spell text; token n + 1 is the folder's n.

    Args:
        folder: holds tokenizer.json, or vocab.json and merges.txt.
        end: number of the token that ends a text. Those below it spell texts; those above are commands.

    Attributes:
        pieces: V names: the text of a token, or, where that is a part of a character, its bytes as ``<0xE2><0x82>``.

    Raises:
        FileNotFoundError: the folder has neither.
        ValueError: tokenizers is not installed, a file is damaged, or there are fewer tokens.
    """

    def __init__(self, folder: Path, end: int) -> None:
        self._tokenizer = _tokenizer(folder)
        names = [self._tokenizer.id_to_token(number) for number in range(end)]
        if None in names:
            raise ValueError(
                f"{folder} has no token of number {names.index(None)} and ends a text with {end}: its tokenizer and "
                "its config.json do not belong together, copy both again"
            )
        self.pieces = [BLANK_PIECE, *map(text_of, names)]

    def _spell(self, text: str) -> list[int]:
        # Every word begins with its space, the first one too.
        numbers = self._tokenizer.encode(f" {text}" if text else "", add_special_tokens=False).ids
        return [number + 1 for number in numbers]


def text_of(name: str) -> str:
    """The text of a token, or the bytes that are only a part of a character."""
    said = bytes(_BYTES[character] for character in name)
    try:
        return said.decode()
    except UnicodeDecodeError:
        return "".join(f"<0x{byte:02X}>" for byte in said)


def _tokenizer(folder: Path) -> Any:
    try:
        from tokenizers import Tokenizer, models, pre_tokenizers
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[huggingface]'") from error
    whole, vocabulary, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
    if not whole.is_file() and not (vocabulary.is_file() and merges.is_file()):
        raise FileNotFoundError(
            f"{folder} has neither tokenizer.json nor vocab.json and merges.txt: copy them from where the model was "
            "published"
        )
    try:
        if whole.is_file():
            return Tokenizer.from_file(str(whole))
        tokenizer = Tokenizer(models.BPE.from_file(str(vocabulary), str(merges)))
    except Exception as error:  # tokenizers raises nothing narrower
        path = whole if whole.is_file() else vocabulary
        raise ValueError(f"{path} is damaged ({error}): copy it again") from error
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer
