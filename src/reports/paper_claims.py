"""What the paper claims, and which of our studies asks it: the rows of the table of claims."""

from typing import Literal, NamedTuple


class Claim(NamedTuple):
    """One sentence of Krizhevsky, Sutskever & Hinton (2012), as a comparison of two arms."""

    text: str
    section: str
    number: str  # the paper's, on its data
    study: str  # folder in experiments/
    baseline: str  # value of the compared field
    other: str
    measure: Literal["iterations", "test error", "training error", "gap"]
    direction: Literal["larger", "smaller"]  # of `other`, beside the baseline
    factor: float = 0.0  # the paper's ratio of iterations, where it gives one


class Untested(NamedTuple):
    """A claim that no study of ours can ask, and why."""

    text: str
    section: str
    number: str
    reason: str


_ABLATIONS = "ablations"
_LAYERS = ("conv2", "conv3", "conv4", "conv5")
# fmt: off
CLAIMS: tuple[Claim, ...] = (
    Claim("ReLU reaches a training error faster than tanh", "3.1, Fig. 1", "6 times, at 25%",
          "relu_vs_tanh", "relu", "tanh", "iterations", "larger", 6.0),
    Claim("Saturating units are slower: tanh", "3.1", "6 times, at 25%",
          f"{_ABLATIONS}/activations", "relu", "tanh", "iterations", "larger", 6.0),
    Claim("Saturating units are slower: scaled tanh", "3.1", "-",
          f"{_ABLATIONS}/activations", "relu", "scaled_tanh", "iterations", "larger"),
    Claim("Saturating units are slower: sigmoid", "3.1", "-",
          f"{_ABLATIONS}/activations", "relu", "sigmoid", "iterations", "larger"),
    Claim("Local response normalization lowers the test error", "3.3", "13% to 11%, CIFAR-10",
          f"{_ABLATIONS}/lrn", "none", "paper", "test error", "smaller"),
    Claim("The same, in the net of those 13%", "3.3", "13% to 11%, CIFAR-10",
          f"{_ABLATIONS}/lrn_local", "none", "paper", "test error", "smaller"),
    Claim("Overlapping pooling lowers the test error", "3.4", "-0.4 points top-1, ImageNet",
          f"{_ABLATIONS}/pooling", "2x2", "overlapping", "test error", "smaller"),
    Claim("Overlapping pooling overfits slightly less", "3.4", "-",
          f"{_ABLATIONS}/pooling", "2x2", "overlapping", "gap", "smaller"),
    Claim("Translations and reflections reduce overfitting", "4.1", "-",
          f"{_ABLATIONS}/augmentation", "none", "both", "gap", "smaller"),
    Claim("Changed colours (PCA) lower the test error", "4.1", "over -1 point top-1, ImageNet",
          f"{_ABLATIONS}/augmentation", "none", "pca", "test error", "smaller"),
    Claim("Dropout reduces overfitting", "4.2", "-",
          f"{_ABLATIONS}/dropout", "0.0", "0.5", "gap", "smaller"),
    Claim("Dropout roughly doubles the iterations to converge", "4.2", "2 times",
          f"{_ABLATIONS}/dropout", "0.0", "0.5", "iterations", "larger", 2.0),
    Claim("Weight decay of 0.0005 reduces the training error", "5", "-",
          f"{_ABLATIONS}/weight_decay", "0.0", "0.0005", "training error", "smaller"),
    *(Claim(f"Without {layer} the test error is higher", "1, 7", "+2 points top-1, ImageNet",
            f"{_ABLATIONS}/depth", "whole", f"no_{layer}", "test error", "larger")
      for layer in _LAYERS),
    Claim("Two towers have a lower test error than one", "3.2",
          "-1.7 points top-1, ImageNet; the one had half as many kernels, ours is of equal size",
          f"{_ABLATIONS}/towers", "1", "2", "test error", "smaller"),
)
UNTESTED: tuple[Untested, ...] = (
    Untested("The whole network on ImageNet (2012), one net", "6, Table 2",
             "40.7% top-1, 18.2% top-5 error (Caffe's release: 57.1% and 80.2% right)",
             "needs ImageNet and a GPU: `python -m src.main --config=configs/alexnet_imagenet.py`"),
)
# fmt: on
