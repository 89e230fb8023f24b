"""A run that spells with another run's tokens reads texts as that one does, whatever its own corpus is set to."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from speakers import TACOTRON_STUDENT
from untrained import untrained_run

from kd_lightning.corpora.spelt_sentences import spell_sentences
from kd_lightning.corpora.synthetic_voice import SyntheticVoice
from kd_lightning.experiment.build import build_corpus
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.finished import build_evaluation, finished_config, spoken_tokens
from kd_lightning.frontend.phonemes import Phonemes, phonemised
from kd_lightning.frontend.spoken_characters import SpokenCharacters, spoken_form
from kd_lightning.reading import Reader
from kd_lightning.stages import build_recorded, check_same_config

# Than the corpus is set to: en-us and en.
OTHER = {"phonemes": "en-gb", "characters": "tr"}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A voice without the times of its phones, which are those of one accent."""
    folder = tmp_path_factory.mktemp("voice")
    root = SyntheticVoice(clips=(24, 3, 3), seed=1).write(folder)
    for path in root.rglob("*.phones.tsv"):
        path.unlink()
    return [
        *("experiment=libritts_tts", "logger=csv", "callbacks=none", "~callbacks.speech", "name=quick"),
        *("trainer.enable_progress_bar=false", "transfer=none", *TACOTRON_STUDENT),
        *("corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]", "corpus.pitch=false"),
        *("corpus.labelled_fraction=1.0", f"corpus.root={root}", f"paths.data={folder / 'data'}"),
    ]


@pytest.fixture(scope="module", params=["phonemes", "characters"])
def runs(request, words, tmp_path_factory) -> tuple[Path, Path]:
    """A run that reads with another accent, or in another language, and one that spells with its tokens."""
    key, kind = {"phonemes": "voice", "characters": "language"}[request.param], request.param
    folder = tmp_path_factory.mktemp(kind)
    own = (f"corpus.spelling={kind}", f"corpus.{key}={OTHER[kind]}")
    first = untrained_run(folder / "first", *words, *own)
    return first, untrained_run(folder / "second", *words, f"corpus.spelling={first}")


@pytest.fixture
def config_of(words: list[str], tmp_path: Path) -> Callable[..., dict]:
    def make(*more: str) -> dict:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = compose("config", overrides=[*words, f"paths.runs={tmp_path}", *more])
        return stage_config(Request(composed, more), "baseline")

    return make


def reader_of(tokens: Phonemes | SpokenCharacters) -> str:
    return tokens.voice if isinstance(tokens, Phonemes) else tokens.language


def test_these_readers_differ(words):
    """Or nothing below would be told apart."""
    root = Path(next(word for word in words if word.startswith("corpus.root=")).partition("=")[2])
    texts = [path.read_text() for path in root.rglob("*.normalized.txt")]
    assert phonemised(texts, "en-us") != phonemised(texts, "en-gb")
    assert (spoken_form("I see.", "en"), spoken_form("I see.", "tr")) == ("i see.", "ı see.")  # noqa: RUF001


def test_a_run_reads_as_the_run_whose_tokens_it_took(runs, config_of):
    """When it is trained, scored and heard, and when a third run takes its tokens."""
    first, second = runs
    trained = build_corpus(finished_config(second))
    wanted = spoken_tokens(finished_config(first))
    assert reader_of(wanted) in OTHER.values()
    third = build_corpus(config_of(f"corpus.spelling={second}"))
    scored = build_evaluation(second, {}).datamodule
    text = next(batch.texts[0] for batch in trained.train_dataloader())
    for datamodule in (trained, scored, third):
        assert reader_of(datamodule.tokens) == reader_of(wanted)
        assert datamodule.classes == wanted.pieces
        assert datamodule.spell(text) == wanted.encode(text)
        assert datamodule._spelt.folder == trained._spelt.folder
    assert reader_of(Reader(second, None)._tokens) == reader_of(wanted)


def test_what_tokens_read_with_is_no_change_of_the_config(runs, config_of, tmp_path):
    config = config_of(f"corpus.spelling={runs[0]}")
    folder = Path(config["folder"])
    folder.mkdir(parents=True)
    build_recorded(config)
    recorded = json.loads((folder / "config.json").read_text())
    assert recorded["corpus"] == config["corpus"]
    assert next(iter(recorded["tokens"].values())) in OTHER.values()
    check_same_config(config, folder)
    other = config | {"corpus": config["corpus"] | {"voice": "en-gb-scotland"}}
    with pytest.raises(FileExistsError, match=r"corpus\.voice: en-us -> en-gb-scotland"):
        check_same_config(other, folder)


def test_a_run_that_noted_nothing_reads_as_its_corpus(runs):
    first, _ = runs
    config = finished_config(first)
    del config["tokens"]
    assert reader_of(spoken_tokens(config)) in OTHER.values()


def test_the_same_tokens_in_another_language_are_not_opened_as_those_spelt_before(runs):
    trained = build_corpus(finished_config(runs[1]))
    letters = ["<blank>", "_", *" .abcdefghijklmnopqrstuvwxyzı"]  # noqa: RUF001
    folders = {
        spell_sentences(trained._open(), "characters", "en", "en-us", SpokenCharacters(language, letters))[
            1
        ].folder
        for language in ("en", "tr")
    }
    assert len(folders) == 2
