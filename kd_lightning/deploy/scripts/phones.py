"""Texts as phones of espeak-ng, where phonemizer is installed."""

import re

MARKS = ",;:.!?…—"
STRESS = "ˈˌ"


def phonemised(text: str, voice: str) -> list[str]:
    """The phones of a text, and its marks, each clause read by itself."""
    try:
        from phonemizer.backend import EspeakBackend
        from phonemizer.separator import Separator
    except ImportError:
        raise SystemExit(
            "this network is told phones: install phonemizer-fork and espeakng-loader, or give phones with spaces "
            "between them: --phones 'h ə l ˈoʊ'"  # noqa: RUF001
        ) from None
    use_loaded_espeak()
    backend = EspeakBackend(
        voice, punctuation_marks=re.compile("(?!)"), with_stress=True, language_switch="remove-flags"
    )
    pieces: list[str] = []
    for words, marks in re.findall(rf"([^{MARKS}]+)([{MARKS}\s]*)", text):
        said = backend.phonemize([words], Separator(phone="|", word=" "), strip=True)[0]
        pieces += filter(None, re.split("[| ]", said))
        pieces += dict.fromkeys(marks.replace(" ", ""))
    return pieces


def use_loaded_espeak() -> None:
    """Use the library of espeakng-loader, if it is installed, and else the system's."""
    try:
        import espeakng_loader
        from phonemizer.backend.espeak.wrapper import EspeakWrapper
    except ImportError:
        return
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())


def known(pieces: list[str], names: list[str]) -> list[str]:
    """Phones as the network has learnt them: with another stress, if need be; marks that it does not know are dropped.

    Raises:
        SystemExit: a phone that it never learnt.
    """
    plain = {name.lstrip(STRESS): name for name in reversed(names)} | {name: name for name in names}
    kept = [
        piece for piece in pieces if piece in plain or piece.lstrip(STRESS) in plain or piece not in MARKS
    ]
    if wrong := [piece for piece in kept if piece not in plain and piece.lstrip(STRESS) not in plain]:
        raise SystemExit(f"this network has never heard {' '.join(wrong)}; it knows {' '.join(names[1:])}")
    return [plain.get(piece, plain.get(piece.lstrip(STRESS), "")) for piece in kept]
