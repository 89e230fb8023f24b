"""Deployed folders without the package: their script, where torch cannot be imported, says what the network says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from spoken_runs import speaking_run, write_voice
from untrained import untrained_run

from kd_lightning.decoding.greedy import greedy
from kd_lightning.experiment.finished import finished_model
from kd_lightning.export import export
from kd_lightning.frontend.tokens import decode
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.teachers.finished_run import WEIGHTS

pytestmark = pytest.mark.slow

# Runs a script as Python does, where nothing of training can be imported.
ALONE = """
import runpy, sys
for name in ("torch", "torchaudio", "lightning", "pytorch_lightning", "scipy", "onnx", "kd_lightning"):
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_alone(run: Path, *words: object, cwd: Path) -> str:
    """What the script beside an exported network prints."""
    command = [sys.executable, "-I", "-c", ALONE, str(run / "deploy" / "run.py"), *map(str, words)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def read(path: Path) -> tuple[torch.Tensor, int]:
    samples, rate = soundfile.read(path, dtype="float32")
    return torch.from_numpy(samples)[None], rate


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture
def vocoder(voice: Path, tmp_path: Path) -> Path:
    run = speaking_run(tmp_path / "vocoder", voice, "libritts_vocoder")
    export({"run": str(run)})
    return run


def test_a_keyword_spotter_names_the_words_of_clips(teacher_run: Path, corpus_root: Path, tmp_path: Path):
    run = Path(shutil.copytree(teacher_run, tmp_path / "teacher"))
    export({"run": str(run)})
    clips = sorted(corpus_root.rglob("stop/*.wav"))[:4]
    model, config = finished_model(run)
    with torch.no_grad():
        scores = [model(read(clip)[0]).logits.softmax(dim=1)[0] for clip in clips]
    assert run_alone(run, *clips, cwd=tmp_path).splitlines() == [
        f"{clip}: {config['classes'][int(score.argmax())]} ({score.max():.2f})"
        for clip, score in zip(clips, scores, strict=True)
    ]


def test_a_recogniser_writes_what_it_hears(
    sentence_words: list[str], common_voice_root: Path, tmp_path: Path
):
    run = untrained_run(tmp_path, "experiment=common_voice", "transfer=none", *sentence_words)
    samples = 0.1 * torch.randn(1, 30000, generator=torch.Generator().manual_seed(0))
    model, config = finished_model(run)
    weights = load_file(run / WEIGHTS)
    with torch.no_grad():  # so that it does not say one letter all the time
        weights["network.ctc.bias"] -= model(samples).logits.mean(dim=(0, 1))
    weights["network.ctc.bias"] *= 100
    weights["network.ctc.weight"] *= 100
    save_file(weights, run / WEIGHTS)
    export({"run": str(run)})
    soundfile.write(tmp_path / "noise.wav", samples[0].numpy(), model.frontend.sample_rate, subtype="FLOAT")
    with torch.no_grad():
        logits = finished_model(run)[0](samples).logits
    (heard,) = greedy(logits.log_softmax(dim=2), torch.tensor([logits.shape[1]]))
    expected = decode(config["classes"], heard.tokens)
    assert len(expected) > 3
    assert run_alone(run, "noise.wav", cwd=tmp_path) == f"noise.wav: {expected}\n"


def test_a_vocoder_says_a_recording_again(vocoder: Path, voice: Path, tmp_path: Path):
    recording = min(voice.rglob("*.wav"))
    samples, rate = read(recording)
    model, _ = finished_model(vocoder)
    assert rate == 24000 != model.frontend.sample_rate  # so it is resampled, too
    run_alone(vocoder, recording, "said.wav", cwd=tmp_path)
    said, its_rate = read(tmp_path / "said.wav")
    assert its_rate == model.frontend.sample_rate
    assert abs(said.shape[1] / its_rate - samples.shape[1] / rate) < 0.02

    mel = 2 * torch.randn(1, 80, 50, generator=torch.Generator().manual_seed(0)) - 5
    np.save(tmp_path / "mel.npy", mel[0].numpy())
    run_alone(vocoder, "mel.npy", "said.wav", cwd=tmp_path)
    with torch.no_grad():
        expected = model(mel)
    said = read(tmp_path / "said.wav")[0]
    torch.testing.assert_close(said, expected / max(1.0, float(expected.abs().max())), rtol=0, atol=1e-3)


def test_an_acoustic_network_speaks_through_its_vocoder_or_griffin_lim(
    voice: Path, vocoder: Path, tmp_path: Path
):
    run = speaking_run(tmp_path / "acoustic", voice, "libritts_tts")
    export({"run": str(run), "vocoder": str(vocoder)})
    assert (run / "deploy" / "vocoder.onnx").read_bytes() == (
        vocoder / "deploy" / "network_fp32.onnx"
    ).read_bytes()
    model, config = finished_model(run)
    line = config["classes"][2:12]
    tokens = torch.tensor([[1, *range(2, 12), 1]])
    with torch.no_grad():
        mel = model(Sentences(tokens, torch.tensor([12]), torch.tensor([0]))).mel
        expected = finished_model(vocoder)[0](mel)
    said = run_alone(run, " ".join(line), "said.wav", "--phones", cwd=tmp_path)
    assert said == f"said.wav: {expected.shape[1] / 16000:.2f} s\n"
    torch.testing.assert_close(read(tmp_path / "said.wav")[0], expected.clamp(-1, 1), rtol=0, atol=1e-3)

    (run / "deploy" / "vocoder.onnx").unlink()
    run_alone(run, " ".join(line), "said.wav", "--phones", cwd=tmp_path)
    reached, aimed = (
        model.frontend(each) for each in (read(tmp_path / "said.wav")[0], GriffinLim(model.frontend)(mel))
    )
    assert (reached - aimed).abs().mean() < 0.2


def test_the_card_lies_beside_and_the_sums_are_true(vocoder: Path):
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"],
        cwd=vocoder / "deploy", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout
    assert "mel.onnx: OK" in checked.stdout
    told = json.loads((vocoder / "deploy" / "onnx_fp32.json").read_text())
    assert f"{told['latency_ms']['p50']:.2f} /" in (vocoder / "deploy" / "README.md").read_text()
