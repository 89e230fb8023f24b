"""Steps of made-up recognisers: four ragged utterances, a teacher at twice the student's frame rate."""

import torch
from torch import Tensor

from kd_lightning.distillers.recognition_terms import RecognitionStep, Targets
from kd_lightning.models.recognition_output import RecognitionOutput

GENERATOR = torch.Generator().manual_seed(0)
FRAMES, TOKENS = 6, 5
LENGTHS = torch.tensor([6, 4, 5, 3])
# Two transcripts are hidden; of the hypotheses one is longer than all transcripts and one was refused.
TRANSCRIPTS = Targets(
    torch.tensor([[1, 2], [3, 0], [0, 0], [0, 0]]),
    torch.tensor([2, 1, 0, 0]),
    torch.tensor([True, True, False, False]),
)
HYPOTHESES = Targets(
    torch.tensor([[1, 2, 0], [4, 3, 0], [2, 1, 4], [3, 0, 0]]),
    torch.tensor([2, 2, 3, 1]),
    torch.tensor([True, True, True, False]),
    torch.tensor([0.9, 0.4, 0.7, 0.8]),
)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR)


STUDENT = RecognitionOutput(
    random(4, FRAMES, TOKENS),
    LENGTHS,
    random(4, 4, TOKENS),
    random(4, 4, FRAMES).softmax(dim=-1),
    (random(4, FRAMES, TOKENS), random(4, FRAMES, TOKENS)),
)
SECOND_VIEW = RecognitionOutput(
    random(4, FRAMES, TOKENS), LENGTHS, intermediate=(random(4, FRAMES, TOKENS),) * 2
)
TEACHER = RecognitionOutput(
    2 * random(4, 2 * FRAMES, TOKENS),
    2 * LENGTHS,
    2 * random(4, 4, TOKENS),
    random(4, 4, 2 * FRAMES).softmax(dim=-1),
)
# A teacher of the student's frame rate.
EVEN_TEACHER = TEACHER._replace(logits=2 * random(4, FRAMES, TOKENS), lengths=LENGTHS)


def step(
    student: RecognitionOutput = STUDENT,
    teacher: RecognitionOutput | None = TEACHER,
    hypotheses: Targets | None = HYPOTHESES,
    second_view: RecognitionOutput | None = None,
    targets: Targets = TRANSCRIPTS,
) -> RecognitionStep:
    return RecognitionStep(targets, student, teacher, {}, {}, hypotheses, second_view)
