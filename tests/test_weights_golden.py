"""Real weights give the numbers that others published for them.

The files are looked for in WEIGHTS_DIR, in shared/weights beside the project if that is not set; a
test whose files are not there is skipped, and says where they are to be had.
"""

import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from src import data
from src.data.images import decode
from src.weights.layouts import Imported, import_weights
from src.weights.read import read_weights

SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = Path(os.environ.get("WEIGHTS_DIR", SHARED / "weights"))
ORIGINAL = Path(os.environ.get("TFDS_DATA_DIR") or SHARED / "tfds")
SOURCES = {
    "cifar10_full_iter_70000.caffemodel": "github.com/everpeace/caffe, examples/cifar10",
    "cifar10_quick_iter_5000.caffemodel": "github.com/everpeace/caffe, examples/cifar10",
    "bvlc_alexnet.caffemodel": "dl.caffe.berkeleyvision.org, SHA-1 9116a64c0fbe4459",
    "grace_hopper_227.png": "github.com/opencv/opencv_extra, testdata/dnn",
    "bvlc_reference_caffenet.caffemodel": "dl.caffe.berkeleyvision.org, SHA-1 4c8d77deb20ea792",
    "cat.jpg": "github.com/BVLC/caffe, examples/images",
    "alexnet-owt-7be5be79.pth": "download.pytorch.org/models",
    "img.png": "github.com/paganpasta/eqxvision, tests/static",
    "alexnet.pred.pth": "github.com/paganpasta/eqxvision, tests/static",
}
pytestmark = pytest.mark.slow


def find(*names: str) -> list[Path]:
    """The files, or a skip that says how to get those that are missing."""
    missing = [
        f"{WEIGHTS / name} ({SOURCES[name]})" for name in names if not (WEIGHTS / name).exists()
    ]
    if missing:
        pytest.skip(f"no {', '.join(missing)}")
    return [WEIGHTS / name for name in names]


@pytest.fixture(scope="module")
def cifar10() -> data.Dataset:
    if not (ORIGINAL / "cifar10").is_dir():
        pytest.skip(f"no CIFAR-10 in {ORIGINAL}")
    return data.load("cifar10", str(ORIGINAL))


def test_the_original_is_known_by_its_published_sums(cifar10):
    assert cifar10.name == "cifar10"
    assert len(cifar10.train.labels) == 50_000
    assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10


def softmax_of(imported: Imported, pixels: np.ndarray) -> np.ndarray:
    logits = jax.jit(imported.make_model().apply)({"params": imported.params}, pixels[None])
    return np.asarray(jax.nn.softmax(logits))[0]


@pytest.mark.parametrize(
    ("name", "one_view", "two_views"),
    [  # published: 16.89% of two views; 0.7491 right in one
        ("cifar10_full_iter_70000.caffemodel", 1789, 1689),
        ("cifar10_quick_iter_5000.caffemodel", 10_000 - 7491, None),
    ],
)
def test_published_weights_give_the_published_errors(cifar10, name, one_view, two_views):
    (path,) = find(name)
    imported = import_weights(read_weights(path))
    apply_fn = jax.jit(imported.make_model().apply)
    mean = cifar10.train.images.mean(axis=0, dtype=np.float64).astype(np.float32)
    scores = []
    for mirrored in (1, -1) if two_views else (1,):
        views = (cifar10.test.images - mean)[:, :, ::mirrored]
        logits = [apply_fn({"params": imported.params}, part) for part in np.split(views, 20)]
        scores.append(np.asarray(jax.nn.softmax(np.concatenate(logits))))
    wrong = [np.sum(s.argmax(axis=1) != cifar10.test.labels) for s in (scores[0], sum(scores))]
    assert wrong[0] == one_view
    assert two_views is None or wrong[1] == two_views


def test_grace_hopper_in_caffes_alexnet():
    """OpenCV's test_model.cpp: blue, green, red, no mean; class 652, p 0.641789 within 1e-4."""
    weights, image = find("bvlc_alexnet.caffemodel", "grace_hopper_227.png")
    found = softmax_of(
        import_weights(read_weights(weights)), decode(image.read_bytes(), 0).astype(np.float32)
    )
    assert found.argmax() == 652
    assert found[652] == pytest.approx(0.641789, abs=1e-4)


def test_the_cat_in_caffenet():
    """Caffe's 00-classification.ipynb: the whole image to 227 pixels by bilinear interpolation
    between the nearest four, minus the mean colour. Decoders of JPEG differ by a grey level.
    """
    weights, image = find("bvlc_reference_caffenet.caffemodel", "cat.jpg")
    imported = import_weights(read_weights(weights))
    assert imported.layout.name == "caffenet"
    pixels = jnp.asarray(decode(image.read_bytes(), 0), jnp.float32)
    resized = jax.image.resize(pixels, (227, 227, 3), "linear", antialias=False)
    found = softmax_of(imported, np.asarray(resized) - imported.layout.input.mean)
    published = {281: 0.31243637, 282: 0.2379719, 285: 0.12387239, 277: 0.10075711}
    published |= {287: 0.070957087}
    assert np.argsort(-found)[:5].tolist() == list(published)
    np.testing.assert_allclose(found[list(published)], list(published.values()), atol=0.005)


def test_torchvisions_features():
    """eqxvision's tests/static: what `features` makes of an image resized to 224 pixels."""
    weights, image, expected = find("alexnet-owt-7be5be79.pth", "img.png", "alexnet.pred.pth")
    imported = import_weights(read_weights(weights))
    about = imported.layout.input
    pixels = decode(image.read_bytes(), about.crop).astype(np.float32)
    _, state = imported.make_model().apply(
        {"params": imported.params},
        ((pixels - about.mean) / about.deviation)[None].astype(np.float32),
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    (found,) = state["intermediates"]["pool5"]["__call__"]
    published = read_weights(expected).tensors["output"]
    np.testing.assert_allclose(found.transpose(0, 3, 1, 2), published, atol=1e-4)
