"""Splits of a training set: its ends, or class by class where it is sorted; what is said of it."""

import numpy as np
import pytest

from src import laboratory
from src.data import DataError, Dataset, Split, make_dataset
from src.data.splits import first_of_each, is_grouped, make_splits, remarks
from tests import tiny


def dataset(labels: np.ndarray) -> Dataset:
    """Each image's only pixel is its row."""
    labels = labels.astype(np.int32)
    images = np.arange(len(labels)).astype(np.uint8).reshape(-1, 1, 1, 1)
    train = Split(images, labels)
    return make_dataset("d", train, train, int(labels.max()) + 1, ())


def rows(split: Split) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


MIXED = np.tile(np.arange(10), 20)
SORTED = np.repeat(np.arange(10), 20)
ORDERS = {
    "by class": SORTED,
    "by class, from the last": SORTED[::-1],
    "class after class in runs": np.tile(np.repeat(np.arange(10), 5), 4),
}


@pytest.mark.parametrize("order", ORDERS)
def test_of_sorted_images_each_class_gives_as_many(order):
    labels = ORDERS[order]
    assert is_grouped(labels)
    splits = make_splits(dataset(labels), validation_images=40, train_images=50)
    assert np.bincount(splits["validation"].labels).tolist() == [4] * 10
    assert np.bincount(splits["train"].labels).tolist() == [5] * 10
    assert set(rows(splits["train"])).isdisjoint(rows(splits["validation"]))
    assert rows(splits["train"]) == sorted(rows(splits["train"]))


@pytest.mark.parametrize(
    "labels",
    [MIXED, np.random.default_rng(0).integers(0, 10, 200), np.arange(200) % 2, np.zeros(200)],
    ids=["in turn", "at random", "two in turn", "one class"],
)
def test_of_mixed_images_the_two_ends_are_taken(labels):
    assert not is_grouped(labels.astype(np.int64))
    splits = make_splits(dataset(labels), validation_images=40, train_images=50)
    assert rows(splits["train"]) == list(range(50))
    assert rows(splits["validation"]) == list(range(160, 200))


def test_first_of_each_class_by_hand():
    labels = np.array([1, 1, 1, 0, 2, 0, 0, 1])
    assert first_of_each(labels, 3).tolist() == [0, 3, 4]
    assert first_of_each(labels, 4).tolist() == [0, 1, 3, 4]  # the next is class 1's, at row 1
    assert first_of_each(labels, 6).tolist() == [0, 1, 2, 3, 4, 5]  # class 2 has one alone
    assert first_of_each(labels, 99).tolist() == list(range(8))


def test_without_a_wish_all_are_trained_on():
    splits = make_splits(dataset(SORTED), 0)
    assert rows(splits["train"]) == list(range(200))
    assert set(splits) == {"train", "test"}


@pytest.mark.parametrize(("validation", "train"), [(200, 0), (100, 101), (0, 201)])
def test_more_images_than_there_are_is_refused(validation, train):
    with pytest.raises(DataError, match="d has 200 training images"):
        make_splits(dataset(MIXED), validation, train)


def test_what_is_missing_is_said():
    (line,) = remarks(dataset(MIXED), 0, 7, in_file_order=False)
    assert "of its 10 classes, 3 have no image among the 7 that are trained on: 7, 8, 9" in line
    assert remarks(dataset(MIXED), 20, 100, in_file_order=True) == []


def test_what_is_missing_where_few_images_have_labels_is_said():
    (line,) = remarks(dataset(MIXED), 0, 0, 5, in_file_order=False)
    assert "of its 10 classes, 5 have no image among the 5 that are trained on: 5, 6, 7" in line
    assert remarks(dataset(MIXED), 0, 0, 10, in_file_order=False) == []


@pytest.mark.parametrize("order", ORDERS)
def test_file_order_of_sorted_images_is_said(order):
    (line,) = remarks(dataset(ORDERS[order]), 0, 0, in_file_order=True)
    assert "sorted by class" in line and "'permuted'" in line
    assert remarks(dataset(ORDERS[order]), 0, 0, in_file_order=False) == []


def test_what_is_said_of_the_images_holds_for_the_arms_each_line_once():
    """The base recipe shuffles, as one arm does; the other two take the images as they are."""
    config = tiny.make_config(
        variants={
            "shuffled": {},
            "filed": {"recipes": {"modern": {"order": "file"}}},
            "few": {"recipes": {"modern": {"order": "file"}}, "train_images": 7},
            "labelled": {"labels": 5},
        },
        compare={"field": "variant", "baseline": "shuffled"},
    )
    lines = laboratory._remarks(config, dataset(SORTED))
    assert ["sorted by class" in line for line in lines] == [True, False, False]
    assert "among the 7 that are trained on" in lines[1]
    assert "among the 5 that are trained on" in lines[2]


def test_epochs_too_few_for_a_training_error_are_told():
    few, enough = (
        {"max_epochs": 0.5},
        {"max_epochs": 1.0},
    )
    told = [
        laboratory._remarks(tiny.make_config(**each), tiny.make_dataset()) for each in (few, enough)
    ]
    assert told == [
        [
            "config.max_epochs = 0.5 is over before the window of config.window_epochs = 1 is full:"
            " no training error of the window is recorded"
        ],
        [],
    ]
