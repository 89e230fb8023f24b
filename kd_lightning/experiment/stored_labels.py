"""Stored labels of a config: what they have to follow from, and where a run finds them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from kd_lightning.distillers.recognition_matching import AttentionMatching, TokenMatching
from kd_lightning.distillers.recognition_terms import RecognitionTerm
from kd_lightning.distillers.shared_tokens import compares_scores
from kd_lightning.distillers.synthesis_terms import SynthesisTerm
from kd_lightning.experiment.finished import fingerprints, finished_config
from kd_lightning.experiment.targets import build
from kd_lightning.labels.fingerprint import Fingerprint
from kd_lightning.labels.format import facts
from kd_lightning.labels.reader import Store, open_labels
from kd_lightning.labels.speech_reader import open_speech_labels
from kd_lightning.labels.utterance_reader import open_utterance_labels


def fingerprint_of(config: dict[str, Any], datamodule: Any) -> Fingerprint:
    """What the labels of a stage have to follow from, and which of them its terms read; no teacher is built for it.

    Args:
        config: of the stage, with its teacher.
        datamodule: prepared and set up.

    Raises:
        ValueError: there is no finished teacher, or a term reads what cannot be stored.
    """
    node = config["teacher"]
    nodes = [node] if node.get("checkpoint") else [finished_config(run)["student"] for run in _runs(node)]
    frontends = [build(each["frontend"], nn.Module).settings for each in nodes]
    terms = build((config["transfer"] or {}).get("terms") or {})
    fingerprint = Fingerprint(
        teacher=fingerprints(node),
        frontend=frontends[0] if len(frontends) == 1 else frontends,
        **datamodule.view_facts(),
        dtype=config["labels"]["dtype"],
        top_k=config["labels"]["top_k"],
        taps=sorted({path for term in terms.values() for path in term.teacher_paths}),
    )
    if config["task"] == "recognition":
        return _of_utterances(fingerprint, terms, config)
    return _of_sentences(fingerprint, terms) if config["task"] == "synthesis" else fingerprint


def open_stored(config: dict[str, Any], datamodule: Any) -> Store:
    """The labels that ``teacher.stored`` names: a folder, or with ``true`` that of the pipeline.

    Raises:
        FileNotFoundError, ValueError: there are none, they are damaged, or they are of another teacher or the like.
    """
    stored = config["teacher"]["stored"]
    folder = Path(config["folder"]).parent / "label" if stored is True else Path(stored)
    expected = fingerprint_of(config, datamodule)
    if config["task"] == "synthesis":
        return open_speech_labels(folder, expected)
    if config["task"] != "recognition":
        return open_labels(folder, expected)
    max_wer = config["labels"]["max_wer"]
    if max_wer is not None and expected.decoding is None:
        raise ValueError(
            f"labels.max_wer={max_wer} chooses among hypotheses, and no term learns from them: set it to null, or take "
            "transfer=sequence"
        )
    return open_utterance_labels(folder, expected, max_wer)


def _of_utterances(
    fingerprint: Fingerprint, terms: Mapping[str, RecognitionTerm], config: dict[str, Any]
) -> Fingerprint:
    """What the terms of a recogniser read: hypotheses, activations, and what is said of frames."""
    if decoders := [
        key for key, term in terms.items() if isinstance(term, TokenMatching | AttentionMatching)
    ]:
        raise ValueError(
            f"the terms {decoders} read what the teacher's decoder says after the student's prefix, which is not "
            "stored: set teacher.stored=false, or take transfer=attention_sequence"
        )
    asking = [term for term in terms.values() if term.needs_teacher]
    if not asking:
        raise ValueError("no term asks the teacher, so there is nothing to store: choose another transfer")
    logits = any(map(compares_scores, asking))
    decoding = dict(config["labels"]["decoding"])
    if decoding["language_model"] is not None:
        decoding["language_model"] = facts(Path(decoding["language_model"]))["digest"]
    return fingerprint._replace(
        # The text of a hypothesis can be spelt in any tokens.
        classes=fingerprint.classes if logits else [],
        top_k=fingerprint.top_k if logits else None,
        frame_dims={
            path: 1 if getattr(term, "teacher_channels", "first") == "last" else -1
            for term in asking
            for path in term.teacher_paths
        },
        logits=logits,
        decoding=decoding if any(term.needs_hypotheses for term in asking) else None,
    )


def _of_sentences(fingerprint: Fingerprint, terms: Mapping[str, SynthesisTerm]) -> Fingerprint:
    """What an acoustic network says: mels and durations, nothing of frames."""
    if forced := [key for key, term in terms.items() if term.needs_forced]:
        raise ValueError(
            f"the terms {forced} read what the teacher says after the student's target, which is not stored: set "
            "teacher.stored=false, or take transfer=taught_mels"
        )
    return fingerprint._replace(top_k=None, logits=False)


def _runs(node: dict[str, Any]) -> list[Path]:
    """The finished runs that teach.

    Raises:
        ValueError: there are none.
    """
    run = node.get("run")
    if not run:
        raise ValueError(
            "stored labels are of a finished teacher: set teacher.run=<folder of a finished run> or teacher.checkpoint"
        )
    return [Path(each) for each in (run if isinstance(run, list) else [run])]
