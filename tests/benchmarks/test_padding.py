"""How much of the batches of the embedded corpus is padding: in buckets, as training hears them, and at random."""

import numpy as np

from kd_lightning.corpora.buckets import pack, padding_share
from kd_lightning.experiment.build import build_corpus

BOUND = 0.05


def test_buckets_hold_little_padding(default_config, say):
    config = default_config("teacher", "experiment=common_voice")
    loader = build_corpus(config).train_dataloader()
    seconds, most = loader.dataset.seconds, config["corpus"]["batch_seconds"]
    order = np.random.default_rng(0).permutation(len(seconds))
    at_random = [order[begin:end] for begin, end in pack(seconds[order], most, 1)]
    heard, padded = map(
        sum, zip(*((batch.samples.sum(), batch.waveform.numel()) for batch in loader), strict=True)
    )
    share = float(1 - heard / padded)
    say(
        f"padding in batches of {most:g} s, {len(seconds)} utterances of {seconds.mean():.1f} ± {seconds.std():.1f} s: "
        f"{100 * share:.1f} % in buckets, {100 * padding_share(seconds, at_random):.1f} % in {len(at_random)} random "
        "batches"
    )
    assert share < BOUND
