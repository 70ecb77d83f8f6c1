import numpy as np
import pytest

from src.data import batches


def draw(first: int, count: int, **changes: object) -> np.ndarray:
    options = {"batch_size": 4, "images": 12, "seed": 0, "shuffle": True} | changes
    return batches.batch_indices(first, count, **options)


def test_each_epoch_is_a_permutation_in_an_order_of_its_own():
    epochs = draw(0, 9).reshape(3, 12)  # 12 images in batches of 4: 3 batches an epoch
    for order in epochs:
        np.testing.assert_array_equal(np.sort(order), np.arange(12))
    assert len({tuple(order) for order in epochs}) == 3


@pytest.mark.parametrize("shuffle", [True, False])
def test_no_image_is_left_out_where_the_batch_does_not_divide_the_set(shuffle):
    # 7 batches of 5 are 35 images: 3 epochs of 11, and 2 images of the next.
    seen = draw(0, 7, batch_size=5, images=11, shuffle=shuffle).ravel()
    for epoch in range(3):
        np.testing.assert_array_equal(np.sort(seen[11 * epoch : 11 * epoch + 11]), np.arange(11))
    np.testing.assert_array_equal(np.sort(np.bincount(seen)), [3] * 9 + [4] * 2)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("images", [3, 11, 12])  # a batch longer than the set; uneven; even
def test_any_batch_drawn_alone_is_that_of_the_whole_row(images, shuffle):
    whole = draw(0, 20, images=images, shuffle=shuffle)
    for first, count in [(0, 1), (1, 1), (2, 5), (7, 13), (19, 1)]:
        part = draw(first, count, images=images, shuffle=shuffle)
        np.testing.assert_array_equal(part, whole[first : first + count])


def test_without_shuffling_images_come_in_the_order_of_the_file_every_epoch():
    expected = [[0, 1, 2, 3], [4, 5, 6, 0], [1, 2, 3, 4], [5, 6, 0, 1]]
    np.testing.assert_array_equal(draw(0, 4, images=7, shuffle=False), expected)
    np.testing.assert_array_equal(draw(0, 4, images=7, shuffle=False, seed=9), expected)


def test_the_order_derives_from_the_seed():
    np.testing.assert_array_equal(draw(0, 3, seed=5), draw(0, 3, seed=5))
    assert not np.array_equal(draw(0, 3, seed=5), draw(0, 3, seed=6))


def test_a_batch_deep_in_a_long_training_costs_no_more_than_the_first():
    deep = draw(1_000_000, 1, batch_size=128, images=50_000)
    assert deep.shape == (1, 128)
    assert deep.min() >= 0 and deep.max() < 50_000


def test_test_batches_hold_every_row_once_and_fill_up_with_minus_one():
    np.testing.assert_array_equal(batches.test_indices(7, 3), [[0, 1, 2], [3, 4, 5], [6, -1, -1]])
    np.testing.assert_array_equal(batches.test_indices(6, 3), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(batches.test_indices(2, 3), [[0, 1, -1]])
