"""The tables of the streaming benchmark, and what it times."""

from experiments.streaming import bench, tables

FACTS = {"device": "1 x cpu", "jax_version": "0.10.2", "commit": "0123456789"}


def test_rates_are_images_by_seconds():
    assert tables.rates(256, [2.0, 1.0, 4.0]) == "128 (64 to 256)"


def test_the_share_waited_is_of_the_same_round():
    steps = {"width": 0.125, "steps": 4, "seconds": [2.0, 4.0, 1.0], "waited": [1.0, 0.4, 0.2]}
    loader = {"workers": 2, "seconds": [1.0] * 3, "core_seconds": [2.0] * 3}
    record = {"cores": 2, "images": 256, "batch": 32, "loader": [loader], "steps": [steps]}
    text = tables.render(record | {"provenance": FACTS})
    assert "| 2 | 256 (256 to 256) | 128 (128 to 128) |" in text
    assert "| 0.125 | 64 (32 to 128) | 20.0% (10.0% to 50.0%) |" in text  # 128 images in a round
    assert "n = 3 rounds" in text


def test_every_image_of_an_epoch_comes_once():
    epoch = [row for number in range(bench.IMAGES // bench.BATCH) for row in bench.rows(number)]
    assert sorted(epoch) == list(range(bench.IMAGES))
    assert list(bench.rows(bench.IMAGES // bench.BATCH)) == list(bench.rows(0))


def test_batches_pass_unchanged_and_each_wait_is_noted():
    waits: list[float] = []
    found = bench.timed(iter("abc"), waits)
    assert [next(found), next(found)] == ["a", "b"]
    assert len(waits) == 2
