"""What storing does to logits."""

import functools

import numpy as np
import pytest
import torch

from kd_lightning.labels.encoding import decode, encode
from kd_lightning.losses.logits import soft_targets, standardised_logits

CLASSES = 7
LOGITS = 6 * torch.randn(50, CLASSES, generator=torch.Generator().manual_seed(0))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_float32_gives_the_logits_back() -> None:
    assert torch.equal(decode(encode(LOGITS, None, torch.float32), CLASSES), LOGITS)


def test_float16_rounds_to_eleven_bits() -> None:
    back = decode(encode(LOGITS, None, torch.float16), CLASSES)
    torch.testing.assert_close(back, LOGITS, rtol=2**-11, atol=0)


@pytest.mark.parametrize("top_k", [1, 3, CLASSES - 1])
def test_the_top_k_keep_their_probability_and_the_others_share_what_is_left(top_k: int) -> None:
    back = softmax(decode(encode(LOGITS, top_k, torch.float32), CLASSES).double().numpy())
    true = softmax(LOGITS.double().numpy())
    for ours, theirs in zip(back, true, strict=True):
        largest = np.argsort(-theirs)[:top_k]
        expected = np.full(CLASSES, (1 - theirs[largest].sum()) / (CLASSES - top_k))
        expected[largest] = theirs[largest]
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-12)


def test_a_tail_that_float16_cannot_hold_as_a_probability_survives() -> None:
    sure = torch.tensor([[30.0, 0.0, 0.0, 0.0]])
    back = decode(encode(sure, 1, torch.float16), 4)
    np.testing.assert_allclose(softmax(back.double().numpy())[0, 1], np.exp(-30), rtol=0.01)


@pytest.mark.parametrize("top_k", [None, CLASSES - 1])
@pytest.mark.parametrize("loss", [functools.partial(soft_targets, temperature=4.0), standardised_logits])
def test_losses_that_ignore_a_shift_see_the_same_teacher(loss, top_k) -> None:
    student = torch.randn(50, CLASSES, generator=torch.Generator().manual_seed(1))
    stored = decode(encode(LOGITS, top_k, torch.float32), CLASSES)
    assert float(loss(student, stored).sum) == pytest.approx(float(loss(student, LOGITS).sum), rel=1e-5)


@pytest.mark.parametrize(("top_k", "bytes_a_clip"), [(None, 2 * 35), (5, 5 * (2 + 2) + 2)])
def test_bytes_of_a_clip(top_k: int | None, bytes_a_clip: int) -> None:
    stored = encode(torch.randn(10, 35), top_k, torch.float16)
    assert sum(tensor.nbytes for tensor in stored.values()) == 10 * bytes_a_clip
