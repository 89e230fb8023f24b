"""LibriTTS as a data module of any task."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kd_lightning.corpora import libritts
from kd_lightning.corpora.decoded_corpus import DecodedCorpus
from kd_lightning.corpora.utterance_files import Split, UtteranceFile, fingerprint_of_files


class LibriTTSCorpus(DecodedCorpus):
    """LibriTTS (Zen et al. 2019); a task says what is in a batch.

    Args:
        parts: which published parts make the splits "train", "validation" and "test"; ``None``: train-clean-100,
            dev-clean and test-clean.
        download: whether to fetch the published archives of the parts that are missing.
        arguments: of the task and of :class:`~kd_lightning.corpora.decoded_corpus.DecodedCorpus`.
    """

    def __init__(
        self,
        *,
        parts: Mapping[str, Sequence[str]] | None = None,
        download: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self._parts = libritts.PARTS
        if parts is not None:
            none: dict[Split, Sequence[str]] = dict.fromkeys(Split, ())
            self._parts = none | {Split[key.upper()]: tuple(parts[key]) for key in parts}
        self._download = download

    def find(self) -> Path:
        if self._download:
            root = libritts.download_libritts(self._root or self._data / "published", self._parts)
        else:
            root = self._root if self._root is not None else self._written()
        return libritts.find_libritts(root, self._parts).root

    def fingerprint(self, folder: Path) -> str:
        parts = [folder / part for split in Split for part in self._parts[split]]
        return fingerprint_of_files(
            [*parts, *(chapter for part in parts for chapter in sorted(part.glob("*/*")))]
        )

    def files(self, folder: Path, skipped: dict[str, str]) -> Mapping[Split, Iterable[UtteranceFile]]:
        found = libritts.LibriTTSFolder(folder, self._parts)
        return {split: libritts.utterances(found, split, skipped) for split in Split}
