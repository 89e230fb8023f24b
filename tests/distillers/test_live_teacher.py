"""A live teacher is run once a step, and is understood through text, as one whose words are stored."""

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from torch import nn
from untrained import untrained_run

from kd_lightning.distillers.frame_hints import FrameHint
from kd_lightning.distillers.recognition import decode
from kd_lightning.distillers.recognition_matching import AttentionMatching, FrameMatching, TokenMatching
from kd_lightning.distillers.recognition_terms import CTC, SequenceCTC
from kd_lightning.distillers.shared_tokens import require_shared_tokens
from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.losses.logits import soft_targets
from kd_lightning.teachers.ensemble import Features

QUARTZNETS = (
    "student=quartznet_small",
    "student.network.channels=[16,16,16]",
    "student.network.head_channels=32",
)
SPELLERS = (
    *("student=las_small", "distiller=recognition_attention"),
    *(f"student.network.{size}=16" for size in ("hidden", "speller_hidden", "embedding")),
)


@pytest.fixture
def built(sentence_words: list[str], tmp_path: Path) -> Any:
    """A distill stage whose teacher is another network like the student."""

    def make(*words: str) -> Any:
        words = ("experiment=common_voice", *sentence_words, *words)
        run = untrained_run(tmp_path / "teacher", "transfer=none", *words)
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = compose("config", overrides=[*words, f"teacher.run={run}", f"paths.runs={tmp_path}"])
        return build_experiment(stage_config(Request(composed), "distill"), tmp_path / "distill")

    return make


def counted(module: nn.Module) -> list[None]:
    """Grows with every call of a module."""
    calls: list[None] = []
    module.register_forward_hook(lambda *_: calls.append(None))
    return calls


@pytest.mark.parametrize("recipe", ["sequence", "ctc_frames", "sequence_frames"])
def test_a_ctc_teacher_is_run_once_a_step(recipe: str, built: Any) -> None:
    experiment = built(*QUARTZNETS, f"transfer={recipe}")
    calls = counted(experiment.distiller.teacher.network)
    experiment.distiller.run_networks(next(iter(experiment.datamodule.train_dataloader())))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("recipe", "heard", "answers"),
    [("attention_tokens", 1, 1), ("attention_sequence", 1, 0), ("attention_sequence_tokens", 2, 1)],
)
def test_a_decoder_is_searched_first_and_answers_once(
    recipe: str, heard: int, answers: int, built: Any
) -> None:
    experiment = built(*SPELLERS, f"transfer={recipe}")
    teacher = experiment.distiller.teacher.network
    calls, layers = counted(teacher), counted(teacher.encoder.layers[0])
    step = experiment.distiller.run_networks(next(iter(experiment.datamodule.train_dataloader())))
    assert (len(layers), len(calls)) == (heard, answers)
    assert (step.teacher is not None) == bool(answers)


def test_sentences_are_spelt_as_the_corpus_spells(built: Any) -> None:
    """Spaces at the ends or next to one another say nothing, and no student is to learn them."""
    experiment = built(*QUARTZNETS, "transfer=sequence")
    distiller, datamodule = experiment.distiller, experiment.datamodule
    space = datamodule.classes.index(" ")
    # Mostly spaces, before and after everything.
    distiller.teacher.network.ctc.bias.data[space] += 0.5
    batch = next(iter(datamodule.train_dataloader()))
    said = [
        one.tokens for one in decode(distiller.teacher, Features(batch.waveform, batch.masks, batch.samples))
    ]
    assert any(tokens and space in (tokens[0], tokens[-1]) for tokens in said)
    heard = distiller.run_networks(batch).hypotheses
    assert heard.labelled.all()
    for tokens, length in zip(heard.tokens.tolist(), heard.lengths.tolist(), strict=True):
        spelt = tokens[:length]
        assert spelt == datamodule.spell(distiller.read(spelt))
        assert not spelt or space not in (spelt[0], spelt[-1])


LETTERS = ["<blank>", " ", "a", "b"]


@pytest.mark.parametrize("term", [FrameMatching, TokenMatching, AttentionMatching])
def test_scores_of_other_tokens_are_not_compared(term: Any) -> None:
    terms = [CTC(), term(soft_targets)]
    require_shared_tokens(terms, LETTERS, list(LETTERS))
    with pytest.raises(ValueError, match=r"it lacks \['b'\] and has \['ä'\] besides; take transfer=sequence"):
        require_shared_tokens(terms, LETTERS, [*LETTERS[:3], "ä"])
    with pytest.raises(ValueError, match="another order"):
        require_shared_tokens(terms, LETTERS, ["<blank>", " ", "b", "a"])
    many = ["<blank>", *(f"piece{number}" for number in range(50000))]
    with pytest.raises(ValueError, match=r"has \['piece0', .*\] and 49992 more besides") as refused:
        require_shared_tokens(terms, LETTERS, many)
    assert len(str(refused.value)) < 600


def test_text_and_hidden_frames_are_of_no_tokens() -> None:
    hint = FrameHint(student="blocks.1", teacher="blocks.3", loss=soft_targets)
    require_shared_tokens([CTC(), SequenceCTC(), hint], LETTERS, ["<blank>", " ", "ä"])
