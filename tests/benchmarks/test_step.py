"""One distillation step against a PyTorch loop written for this recipe alone.

For the pair of the main job, whose step is short, for a MobileNetV2 taught by an EfficientNet-B0, and for recognisers.
"""

from typing import NamedTuple

import pytest
import torch
from in_turn import BOUND, EPOCHS, ByHand, pace, untrained_run
from torch import Tensor
from torch.nn import functional

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.utterance_batches import UtteranceBatch


class KeywordByHand(ByHand):
    """Soft targets and cross-entropy."""

    def loss(self, batch: KeywordBatch) -> Tensor:
        temperature = self.terms["soft_targets"]["loss"]["temperature"]
        features = self.student.frontend(batch.waveform, batch.masks)
        with torch.no_grad():
            taught = (self.teacher.network(features).logits / temperature).log_softmax(dim=1)
        logits = self.student.network(features).logits
        labelled = (batch.labels >= 0).sum().clamp(min=1)
        labels = functional.cross_entropy(logits, batch.labels, reduction="sum") / labelled
        said = (logits / temperature).log_softmax(dim=1)
        soft = temperature**2 * functional.kl_div(said, taught, reduction="batchmean", log_target=True)
        return self.weights["labels"] * labels + self.weights["soft_targets"] * soft


class RecognitionByHand(ByHand):
    """CTC of transcripts, all of them seen, and soft targets of each frame; both networks have the same frames."""

    def loss(self, batch: UtteranceBatch) -> Tensor:
        features = self.student.frontend(batch.waveform, batch.masks, batch.samples)
        heard = self.student.frontend.frames(batch.samples)
        with torch.no_grad():
            taught = self.teacher.network(features, heard).logits.log_softmax(dim=2)
        logits, lengths = self.student.network(features, heard)[:2]
        said = logits.log_softmax(dim=2)
        ctc = functional.ctc_loss(said.transpose(0, 1), batch.tokens, lengths, batch.token_lengths)
        valid = torch.arange(said.shape[1]) < lengths[:, None]
        frames = functional.kl_div(said[valid], taught[valid], reduction="batchmean", log_target=True)
        return self.weights["ctc"] * ctc + self.weights["frames"] * frames


class Pair(NamedTuple):
    """The words that choose a teacher, a student and a recipe, and the loop for it."""

    words: tuple[str, ...]
    by_hand: type[ByHand]


PAIRS = {
    "tc_resnet14 to tc_resnet8_tiny": Pair((), KeywordByHand),
    "efficientnet_b0 to mobilenet_v2": Pair(
        (
            "teacher=efficientnet_b0",
            "student=mobilenet_v2",
            "student.network.dropout=0",  # would draw other masks in each loop
            "corpus.limit=960",
        ),
        KeywordByHand,
    ),
    "quartznet_teacher to quartznet_small": Pair(
        (
            *("experiment=common_voice", "transfer=ctc_frames"),
            *("corpus.labelled_fraction=1.0", "corpus.limit=480", "trainer.gradient_clip_val=1.0"),
        ),
        RecognitionByHand,
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_step_costs_what_it_costs_by_hand(pair, default_config, tmp_path, say):
    chosen, by_hand = PAIRS[pair]
    teacher = untrained_run(default_config("teacher", *chosen), tmp_path / "teacher")
    words = (f"teacher.run={teacher}", f"stages.distill.trainer.max_epochs={EPOCHS}")
    folder = tmp_path / "distill"
    config = default_config("distill", *chosen, *words, f"folder={folder}")
    assert pace(pair, config, by_hand, folder, say) <= BOUND
