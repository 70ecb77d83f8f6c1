"""Orders of the images: whole epochs, any iteration by itself, batches file by file."""

import numpy as np
import pytest

from src.data import batches

ORDERS = ("shuffled", "file", "permuted")


def draw(first: int, count: int, **changes: object) -> np.ndarray:
    options = {"batch_size": 4, "num_images": 12, "seed": 0, "order": "shuffled"} | changes
    return batches.batch_indices(first, count, **options)


def test_each_epoch_is_a_permutation_in_an_order_of_its_own():
    epochs = draw(0, 9).reshape(3, 12)  # 12 images in batches of 4: 3 batches an epoch
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(12))
    assert len({tuple(order) for order in epochs}) == 3


@pytest.mark.parametrize("order", ORDERS)
def test_no_image_is_left_out_where_the_batch_does_not_divide_the_set(order):
    # 7 batches of 5 are 35 images: 3 epochs of 11, and 2 images of the next.
    seen = draw(0, 7, batch_size=5, num_images=11, order=order).ravel()
    for epoch in range(3):
        np.testing.assert_array_equal(np.sort(seen[11 * epoch : 11 * epoch + 11]), np.arange(11))
    np.testing.assert_array_equal(np.sort(np.bincount(seen)), [3] * 9 + [4] * 2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("images", [3, 11, 12])  # a batch longer than the set; uneven; even
@pytest.mark.parametrize("file_size", [0, 5, 20])
def test_any_batch_drawn_alone_is_that_of_the_whole_row(images, order, file_size):
    options = {"num_images": images, "order": order, "file_size": file_size}
    whole = draw(0, 20, **options)
    for first, count in [(0, 1), (1, 1), (2, 5), (7, 13), (19, 1)]:
        part = draw(first, count, **options)
        np.testing.assert_array_equal(part, whole[first : first + count])


def test_without_shuffling_images_come_in_the_order_of_the_file_every_epoch():
    expected = [[0, 1, 2, 3], [4, 5, 6, 0], [1, 2, 3, 4], [5, 6, 0, 1]]
    np.testing.assert_array_equal(draw(0, 4, num_images=7, order="file"), expected)
    np.testing.assert_array_equal(draw(0, 4, num_images=7, order="file", seed=9), expected)


def test_the_order_derives_from_the_seed():
    np.testing.assert_array_equal(draw(0, 3, seed=5), draw(0, 3, seed=5))
    assert not np.array_equal(draw(0, 3, seed=5), draw(0, 3, seed=6))


def test_a_batch_deep_in_a_long_training_costs_no_more_than_the_first(monkeypatch):
    """1,000,000 batches of 128 are 2,560 epochs of 50,000: the order of one epoch is drawn."""
    drawn, order = [], batches._order
    monkeypatch.setattr(batches, "_order", lambda *of: (drawn.append(of), order(*of))[1])
    deep = draw(1_000_000, 1, batch_size=128, num_images=50_000)
    assert drawn == [((batches.SHUFFLE_STREAM, 0, 2560), 50_000)]
    assert deep.shape == (1, 128)
    assert deep.min() >= 0 and deep.max() < 50_000


def test_test_batches_hold_every_row_once_and_fill_up_with_copies():
    np.testing.assert_array_equal(
        batches.evaluation_rows(7, 3), [[0, 1, 2], [3, 4, 5], [6, ~6, ~6]]
    )
    np.testing.assert_array_equal(batches.evaluation_rows(6, 3), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(batches.evaluation_rows(2, 3), [[0, 1, -1]])


def test_a_permuted_order_is_one_of_the_seed_and_stays():
    epochs = draw(0, 9, order="permuted").reshape(3, 12)
    np.testing.assert_array_equal(np.sort(epochs[0]), np.arange(12))
    np.testing.assert_array_equal(epochs, np.broadcast_to(epochs[0], (3, 12)))
    others = [draw(0, 3, order="permuted", seed=seed).ravel() for seed in range(5)]
    assert len({tuple(order) for order in others}) == 5


# --- Batches file by file, as the program of 2012 had them. ---


def test_files_of_ten_thousand_have_79_batches_and_the_last_holds_16():
    rows = draw(0, 395, num_images=50_000, batch_size=128, order="file", file_size=10_000)
    present = (rows >= 0).sum(axis=1)
    assert 10_000 == 78 * 128 + 16
    assert present.tolist() == ([128] * 78 + [16]) * 5
    np.testing.assert_array_equal(rows[rows >= 0], np.arange(50_000))
    assert rows[78, :16].tolist() == list(range(9984, 10_000))
    assert (~rows[78, 16:]).tolist() == 7 * list(range(9984, 10_000))
    assert batches.iterations_per_epoch(50_000, 128, 10_000) == 395
    assert batches.iterations_per_epoch(50_000, 128) == 390.625


@pytest.mark.parametrize("order", ORDERS)
def test_every_image_comes_once_an_epoch_by_files(order):
    # Files of 5, 5 and 1: batches of 4 + 1, 4 + 1 and 1.
    rows = draw(0, 10, num_images=11, order=order, file_size=5)
    assert (rows >= 0).sum(axis=1).tolist() == [4, 1, 4, 1, 1] * 2
    for batch in rows:
        assert set(~batch[batch < 0]) <= set(batch[batch >= 0])
    for epoch in (rows[:5], rows[5:]):
        np.testing.assert_array_equal(np.sort(epoch[epoch >= 0]), np.arange(11))


def test_files_that_batches_divide_are_batches_that_run_on():
    whole = draw(0, 30, num_images=24)
    np.testing.assert_array_equal(draw(0, 30, num_images=24, file_size=8), whole)
