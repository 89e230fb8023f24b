"""A language model as the teacher of a decoder: it is trained and asked as other teachers are, and hears nothing."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.pipeline import stage_configs
from kd_lightning.reports.page import write_report
from kd_lightning.stages import run_stage

SMALL = (
    *("experiment=common_voice_language_model", "teacher.network.width=16"),
    *("student.network.hidden=16", "student.network.speller_hidden=16", "student.network.embedding=8"),
)


@pytest.fixture
def composed(sentence_words, tmp_path):
    """The recipe of a user who types these words, over the small corpus."""

    def make(*words: str) -> Request:
        every = [*sentence_words, f"paths.runs={tmp_path / 'runs'}", *SMALL, *words]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=every), tuple(words))

    return make


def test_all_stages_run_with_it(composed):
    # Few frames and no CTC, which needs many: untrained decoders write two tokens a frame.
    few = ("student.network.pyramids=5", "student.network.ctc=false", "distiller.terms.ctc=null")
    words = ("stages.teacher.trainer.max_epochs=4", "distiller.log_every=1", "distiller.weights.ctc=null")
    configs = stage_configs(composed(*few, *words))
    results = {stage: run_stage(config) for stage, config in configs.items()}
    tokens = 28
    assert 1 < results["teacher"]["validation"]["perplexity"] < tokens
    assert results["teacher"]["metrics"]["deletions"] == results["teacher"]["metrics"]["wer"] == 1.0
    assert results["distill"]["validation"].keys() == {"wer"}
    curves = Path(configs["distill"]["folder"], "curves.csv").read_text()
    assert "validation/perplexity" in curves
    assert "train/soft_tokens" in curves
    report = write_report(Path(configs["teacher"]["folder"]).parent)
    assert "LanguageModel" in (report / "comparison.md").read_text()


def test_the_best_weights_of_a_language_model_are_those_of_the_lowest_perplexity(composed):
    config = stage_config(composed("stages.teacher.trainer.max_epochs=3", "optimizer.lr=1.0"), "teacher")
    result = run_stage(config)  # a step so large spoils it
    lines = Path(config["folder"], "curves.csv").read_text().splitlines()
    found = [float(line.split(",")[2]) for line in lines if ",validation/perplexity," in line]
    assert result["validation"]["perplexity"] == pytest.approx(min(found))
    assert min(found) < max(found)


def test_the_students_term_is_the_divergence_from_the_language_model(composed, tmp_path):
    config = stage_config(composed(), "teacher")
    run_stage(config)
    words = (f"teacher.run={config['folder']}", "corpus.labelled_fraction=1.0")
    built = build_experiment(stage_config(composed(*words), "distill"), tmp_path)
    batch = next(iter(built.datamodule.train_dataloader()))
    step = built.distiller.run_networks(batch)
    summed = built.distiller.terms["soft_tokens"](step)
    divergence = 0.0
    for row, length in enumerate(batch.token_lengths.tolist()):
        ours, theirs = (
            said.token_logits[row, : length + 1].double().log_softmax(dim=1)
            for said in (step.student, step.teacher)
        )
        divergence += float((theirs.exp() * (theirs - ours)).sum().detach())
    assert float(summed.sum.detach()) == pytest.approx(divergence, rel=1e-4)
    assert float(summed.count) == float(batch.token_lengths.sum()) + len(batch.ids)


def test_it_has_no_sentence_to_learn_from(composed, tmp_path):
    config = stage_config(composed(), "teacher")
    run_stage(config)
    words = (f"teacher.run={config['folder']}", "transfer=attention_sequence")
    built = build_experiment(stage_config(composed(*words), "distill"), tmp_path)
    with pytest.raises(ValueError, match="a language model hears nothing"):
        built.distiller.run_networks(next(iter(built.datamodule.train_dataloader())))


def test_terms_that_a_stage_sets_to_null_are_taken_out(composed):
    request = composed()
    for stage, terms in (("teacher", {"tokens"}), ("baseline", {"ctc", "tokens"})):
        distiller = stage_config(request, stage)["distiller"]
        assert set(distiller["terms"]) == set(distiller["weights"]) == terms
