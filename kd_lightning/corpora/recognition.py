"""Common Voice and LibriTTS as data modules of recognition."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from kd_lightning.corpora import common_voice
from kd_lightning.corpora.libritts_corpus import LibriTTSCorpus
from kd_lightning.corpora.utterance_files import Split, UtteranceFile, fingerprint_of_files
from kd_lightning.corpora.utterances import Utterances
from kd_lightning.frontend.text import base_language

# tr, zh-CN, rm-sursilv
_LOCALE = "[a-z]{2,3}(-[A-Za-z]+)?"

_log = logging.getLogger(__name__)


class CommonVoice(Utterances):
    """One locale of Common Voice (Ardila et al. 2020); see :class:`~kd_lightning.corpora.utterances.Utterances`."""

    def find(self) -> Path:
        root = self._root if self._root is not None else self._written()
        found = common_voice.find_common_voice(root)
        named, spoken = base_language(found.locale), base_language(self.language)
        if re.fullmatch(_LOCALE, found.locale) and named != spoken:
            _log.warning(
                "%s is named as a locale, and its words are normalised and scored as those of corpus.language=%s: set "
                "corpus.language=%s, if that is what is spoken",
                found.root,
                self.language,
                found.locale,
            )
        return found.root

    def fingerprint(self, folder: Path) -> str:
        names = [*common_voice.TABLES.values(), common_voice.DURATIONS]
        tables = [folder / name for name in names if (folder / name).is_file()]
        return fingerprint_of_files([*tables, folder / common_voice.CLIPS])

    def files(self, folder: Path, skipped: dict[str, str]) -> Mapping[Split, Iterable[UtteranceFile]]:
        found = common_voice.CommonVoiceFolder(folder, folder.name)
        return {split: common_voice.utterances(found, split, skipped) for split in Split}


class LibriTTS(LibriTTSCorpus, Utterances):
    """LibriTTS (Zen et al. 2019); see :class:`~kd_lightning.corpora.libritts_corpus.LibriTTSCorpus` and
    :class:`~kd_lightning.corpora.utterances.Utterances`."""
