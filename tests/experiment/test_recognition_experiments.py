"""Recognition on a small corpus of sentences: experiments build, stages run, every recipe and student takes a step."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from tasks import RECOGNITION_EXPERIMENTS, RECOGNITION_RECIPES, RECOGNITION_STUDENTS

from kd_lightning.distillers.recognition import decode
from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.pipeline import stage_configs
from kd_lightning.stages import run_stage
from kd_lightning.teachers.ensemble import Features

QUARTZNETS = ("student.network.channels=[16,16,16]", "teacher.network.channels=[16,16,16,16]")


@pytest.fixture
def composed(sentence_words, tmp_path):
    """The config of a user who types these words, over the small corpus."""

    def make(*words: str) -> Request:
        every = [*sentence_words, f"paths.runs={tmp_path / 'runs'}", *words]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=every), tuple(words))

    return make


@pytest.fixture
def stages(composed):
    """The pipeline of a small teacher and a small student, trained for an epoch each."""

    def run(*words: str):
        request = composed("experiment=common_voice", *QUARTZNETS, *words)
        configs = stage_configs(request)
        return {stage: run_stage(config) for stage, config in configs.items()}, configs

    return run


@pytest.mark.parametrize("experiment", RECOGNITION_EXPERIMENTS)
def test_every_stage_of_every_experiment_builds(experiment, composed, libritts_root, tmp_path):
    elsewhere = [f"corpus.root={libritts_root}"] if experiment == "libritts_asr" else []
    configs = stage_configs(composed(f"experiment={experiment}", "transfer=none", *elsewhere))
    for stage in ("teacher", "baseline"):
        built = build_experiment(configs[stage], tmp_path / stage)
        assert built.datamodule.classes[0] == "<blank>"
        assert set("abdeinost ") < set(built.datamodule.classes)


def test_all_stages_run_and_write_their_files(stages, tmp_path):
    metrics, configs = stages("transfer=sequence_frames")
    for stage, result in metrics.items():
        assert set(result["metrics"]) >= {"wer", "cer", "substitutions", "deletions", "insertions"}
        low, high = result["intervals"]["wer"]
        assert low <= result["metrics"]["wer"] <= high
        predictions = Path(configs[stage]["folder"], "predictions.jsonl").read_text()
        lines = [json.loads(line) for line in predictions.splitlines()]
        assert len(lines) == 8
        assert all(line["reference"] for line in lines)
    assert metrics["teacher"]["validation"].keys() == {"wer"}


CTC_PAIR = ("teacher=quartznet_teacher", "student=quartznet_small", *QUARTZNETS)
DECODERS = (
    *("teacher=las_small", "student=las_small", "distiller=recognition_attention"),
    *(
        f"{role}.network.{size}=16"
        for role in ("teacher", "student")
        for size in ("hidden", "speller_hidden")
    ),
)


def untrained_run(config, folder):
    """A teacher's folder, as a stage leaves it, with the weights that it started from."""
    built = build_experiment(config, folder)
    state = built.distiller.student.state_dict()
    if "network.ctc.bias" in state:
        state["network.ctc.bias"][0] -= 1.0  # it says more than blank
    save_file(state, folder / "network.safetensors")
    classes = built.datamodule.classes
    (folder / "config.json").write_text(json.dumps(config | {"classes": classes}))
    return folder


@pytest.mark.parametrize("recipe", RECOGNITION_RECIPES)
def test_every_recipe_takes_a_step(recipe, composed, tmp_path):
    pair = DECODERS if recipe.startswith("attention_") else CTC_PAIR
    lower = ("student.network.intermediate_layers=[1]",) if recipe == "ctc_intermediate" else ()
    words = ("experiment=common_voice", *pair, *lower, f"transfer={recipe}")
    teacher = untrained_run(stage_config(composed(*words), "teacher"), tmp_path / "teacher")
    config = stage_config(composed(*words, f"teacher.run={teacher}"), "distill")
    distiller, datamodule = (
        (built := build_experiment(config, tmp_path / "distill")).distiller,
        built.datamodule,
    )
    batch = next(iter(datamodule.train_dataloader()))
    assert 0 < batch.labelled.sum() < len(batch.ids)
    step = distiller.run_networks(batch)
    loss, means = distiller.weigh({key: term(step) for key, term in distiller.terms.items()})
    loss.backward()
    assert set(means) == set(distiller.terms)
    assert all(mean.isfinite() and mean > 0 for mean in means.values())
    assert all(p.grad is None for p in distiller.teacher.parameters())
    silent = {name for name, p in distiller.student.named_parameters() if p.grad is None}
    assert not silent


@pytest.mark.parametrize("distiller", ["recognition_consistency", "recognition_intermediate"])
def test_every_way_to_learn_without_a_teacher_takes_a_step(distiller, composed, tmp_path):
    words = ("experiment=common_voice", *CTC_PAIR, "student.network.intermediate_layers=[1]")
    config = stage_config(composed(*words, f"distiller={distiller}"), "baseline")
    built = build_experiment(config, tmp_path)
    step = built.distiller.run_networks(next(iter(built.datamodule.train_dataloader())))
    loss, means = built.distiller.weigh({key: term(step) for key, term in built.distiller.terms.items()})
    loss.backward()
    assert len(means) == 2
    assert all(mean > 0 for mean in means.values())


# Too large for a quick test, or made from a folder; their own tests build them.
ELSEWHERE = {
    *("conformer_m", "conformer_s", "transformer_ctc", "transformer_joint", "las", "citrinet_256"),
    *("quartznet_5x5", "whisper"),
}


@pytest.mark.parametrize("student", [name for name in RECOGNITION_STUDENTS if name not in ELSEWHERE])
def test_every_student_recognises(student, composed, tmp_path):
    config = stage_config(composed("experiment=common_voice", f"student={student}"), "baseline")
    built = build_experiment(config, tmp_path)
    batch = next(iter(built.datamodule.val_dataloader()))
    heard = decode(built.distiller.student.eval(), Features(batch.waveform, None, batch.samples))
    assert len(heard) == len(batch.ids)
