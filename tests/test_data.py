"""Data sets made here: the fallback and the built-in set, and arrays that are none."""

import numpy as np
import pytest

from src import data
from src.data.dataset import Dataset, check_dataset
from src.data.procedural import make_procedural

pytestmark = pytest.mark.usefixtures("own_cache")


def test_fallback_is_procedural_and_loud(tmp_path, capsys, monkeypatch):
    few = make_procedural(train_size=10, test_size=10)
    monkeypatch.setattr(data.procedural, "make_procedural", lambda: few)
    with pytest.raises(data.DataError, match="mnist"):
        data.load("mnist", str(tmp_path))
    assert data.load("mnist", str(tmp_path), fallback="procedural").name == "procedural"
    notice = capsys.readouterr().err.strip().splitlines()
    assert len(notice) >= 7
    assert {len(line) for line in notice} == {78}
    assert "THIS IS NOT MNIST" in notice[2]
    assert "no data set 'mnist'" in " ".join(notice)


def test_procedural_is_deterministic_and_balanced():
    first, second = (make_procedural(train_size=400, test_size=200) for _ in range(2))
    assert first.digest == second.digest != make_procedural(1, train_size=400, test_size=200).digest
    assert np.bincount(first.train.labels).tolist() == [40] * 10
    assert np.bincount(first.test.labels).tolist() == [20] * 10
    assert first.train.images.dtype == np.uint8
    assert first.train.images.shape == (400, 32, 32, 3)
    assert first.num_classes == len(first.label_names) == 10
    check_dataset(first, "procedural", (400, 200))
    # in no order of classes, and no image twice
    assert (np.diff(first.train.labels) != 0).mean() > 0.8
    both = np.concatenate([first.train.images, first.test.images])
    assert len(np.unique(both.reshape(600, -1), axis=0)) == 600


@pytest.mark.slow
def test_procedural_has_its_size_and_is_cached(monkeypatch):
    dataset = data.load("procedural")
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (20_000, 4_000)
    monkeypatch.setattr(data.procedural, "make_procedural", lambda: pytest.fail("drawn again"))
    assert data.load("procedural").digest == dataset.digest


IMAGES = np.zeros((4, 8, 8, 3), np.uint8)


LABELS = np.array([0, 1, 2, 3], np.int32)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float32), LABELS, "must be uint8"),
        (IMAGES[..., 0], LABELS, r"must be uint8 \[N, H, W, C\]"),
        (IMAGES, LABELS.astype(np.int64), "labels must be int32"),
        (IMAGES, LABELS[:3], r"int32 \(3,\) for 4 images"),
        (IMAGES, LABELS + 1, "label 4, outside 0 to 3"),
        (IMAGES, LABELS - 1, "label -1, outside 0 to 3"),
        (IMAGES[:0], LABELS[:0], "split test is empty"),
        (IMAGES[:, :4], LABELS, r"train images are \(8, 8, 3\), test images \(4, 8, 3\)"),
    ],
)
def test_wrong_arrays_are_refused(images, labels, message):
    train, test = data.Split(IMAGES, LABELS), data.Split(images, labels)
    with pytest.raises(data.DataError, match=f"a file.*{message}"):
        check_dataset(Dataset("x", train, test, 4, (), ""), "a file")
