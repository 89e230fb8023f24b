"""The raw waveform as features."""

import torch

from kd_lightning.frontend.features import LogMel, SpecMasks
from kd_lightning.frontend.raw_waveform import RawWaveform


def test_it_hands_on_the_waveform_unmasked_and_in_single_precision() -> None:
    waveform = torch.randn(2, 800)
    everything = SpecMasks(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.0, 1.0]]]))
    assert torch.equal(RawWaveform()(waveform, everything), waveform)
    assert RawWaveform()(waveform.double()).dtype == torch.float32


def test_it_has_the_interface_of_the_other_frontends() -> None:
    frontend = RawWaveform(8000)
    assert (frontend.sample_rate, frontend.bins, frontend.frames(8000)) == (8000, 1, 8000)
    assert frontend.settings == {"frontend": "RawWaveform", "sample_rate": 8000}
    assert frontend.settings.keys() <= LogMel().settings.keys()
    assert frontend.state_dict() == {}
