"""Two processes against one with the same global batch, on a network without BatchNorm."""

from test_ddp import on_ranks


def test_the_loss_curves_of_one_and_two_processes(corpus_root, tmp_path, say):
    curves = []
    for ranks, batch_size in ((1, 16), (2, 8)):
        _, lines = on_ranks(ranks, batch_size, corpus_root, tmp_path / str(ranks))
        rows = [line.split(",") for line in lines[1:]]
        curves.append({(int(step), key): float(value) for step, key, value in rows if key == "train/loss"})
    one, two = curves
    assert one.keys() == two.keys()
    largest = max(abs(two[place] / one[place] - 1) for place in one)
    say(
        f"two processes against one: losses of {len(one)} steps differ by at most {largest:.1e} of themselves"
    )
    assert largest < 1e-4
