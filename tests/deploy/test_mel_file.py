"""The mel of a vocoder as a file: that of PyTorch, of any number of hops."""

import onnxruntime
import torch

from kd_lightning.deploy.mel_file import mel_to_onnx
from kd_lightning.frontend.mel import Mel


def test_a_mel_is_that_of_pytorch():
    frontend = Mel(1600, 64, 16, 64, bins=10, high_hz=800.0)
    exported = mel_to_onnx(frontend).SerializeToString()
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    for hops in (1, 2, 33):
        waveform = 0.1 * torch.randn(1, 16 * hops, generator=torch.Generator().manual_seed(hops))
        mel = torch.from_numpy(session.run(["mel"], {"waveform": waveform.numpy()})[0])
        torch.testing.assert_close(mel, frontend(waveform), rtol=1e-4, atol=1e-4)
