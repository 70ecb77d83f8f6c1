"""The rows of the table of claims: each claim, its source, and the study that asks it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

Rule = Literal["effect", "overfitting", "interaction"]


@dataclass(frozen=True)
class Claim:
    """One sentence of the paper, or of the many texts on it, as a comparison of two arms.

    Attributes:
        text: The claim in a sentence.
        source: Section of Krizhevsky, Sutskever & Hinton (2012), or `article`.
        number: The claimed number, and the data that it is about.
        study: Folder in experiments/, and the command that fills it.
        baseline: Value of the compared field.
        other: The arm that is said to differ from it.
        measures: Names of measures; the first decides, by `rule`.
        direction: 1 if `other` is said to have more than the baseline, -1 if less.
        factor: The claimed ratio; 0 if there is none.
        effect: The claimed difference, as a fraction; 0 if there is none.
        where: Fields that a group must have, such as recipe: modern; for an interaction, the field
            on which the effect is said to depend, and its two values.
        rule: `effect`: the first measure decides. `overfitting`: see `findings.judge_overfitting`.
            `interaction`: whether the effect is larger under the first value of `where`.
        then: The command that looks at the networks which the study's command trains; "" if the
            study itself is looked at.
    """

    text: str
    source: str
    number: str
    study: str
    baseline: str = ""
    other: str = ""
    measures: tuple[str, ...] = ()
    direction: Literal[1, -1] = 1
    factor: float = 0.0
    effect: float = 0.0
    where: tuple[tuple[str, str], ...] = ()
    rule: Rule = "effect"
    then: str = ""


class Untested(NamedTuple):
    """A claim that no study of ours asks, and the study that would."""

    text: str
    source: str
    number: str
    command: str


class Note(NamedTuple):
    """A comparison in the author's own notes: single runs on ImageNet, top-1 / top-5 error."""

    text: str
    run: str
    number: str


TEST, END, EQUAL, TRAIN = "mean_test_error", "test_error", "equal_test_error", "train_error"
TIMES, FIGURE, FROZEN = "iterations", "iterations_as_in_figure", "iterations_frozen"
OVERFITTING = (EQUAL, TEST)
_ABLATIONS, _WHY = "ablations", "why_tanh_is_slow"
_LAYERS = ("conv2", "conv3", "conv4", "conv5")
_RECIPES = (("recipe", "cuda_convnet"), ("recipe", "modern"))
_EXPECTED = '1: "we expect that it will help"'
_PARTS = {
    "slow_conv1": "the rate of conv1 on raw pixels",
    "init": "the first weights",
    "shuffled": "the order of the images",
    "bias": "the rate of the biases",
}

# fmt: off
CLAIMS: tuple[Claim, ...] = (
    Claim("ReLU reaches 25% training error sooner than tanh", "3.1, Fig. 1",
          "6 times; its curves: more than 6.1", "relu_vs_tanh", "relu", "tanh", (TIMES, FIGURE), 1,
          factor=6.0),
    Claim("The factor depends on the recipe: it is larger under 2012's than under a modern one",
          "3.1 does not say", "-", "relu_vs_tanh", "relu", "tanh", (TIMES,), 1,
          where=_RECIPES, rule="interaction"),
    Claim("ReLU reaches 35% training error sooner than tanh", "3.1, Fig. 1",
          "its curves: 5.0 times", "relu_vs_tanh_early", "relu", "tanh", (TIMES, FIGURE), 1,
          factor=5.0),
    Claim("At 35% the factor is larger under 2012's recipe than under a modern one",
          "3.1 does not say", "-", "relu_vs_tanh_early", "relu", "tanh", (TIMES,), 1,
          where=_RECIPES, rule="interaction"),
    Claim("With conv1's rate divided by 64², tanh is still slower than ReLU to 35%",
          "3.3: ReLUs need no input normalization", "-", f"{_WHY}/first_look", "relu", "tanh",
          (TIMES, FIGURE), 1),
    *(Claim(f"What makes tanh slow under 2012's recipe: {words}",
            "3.3: ReLUs need no input normalization" if part == "slow_conv1" else "3.1", "-",
            f"{_WHY}/flips", "relu", "tanh", (TIMES,), 1,
            where=(("recipe", "cuda_convnet"), ("recipe", f"without_{part}")), rule="interaction")
      for part, words in _PARTS.items()),
    Claim("In a modern recipe, 2012's rate of conv1 makes tanh slower than ReLU", "3.3", "-",
          f"{_WHY}/remove_and_put_in", "relu", "tanh", (TIMES, FIGURE), 1,
          where=(("recipe", "modern_fast_conv1"),)),
    Claim("With conv1's rate divided by 64² and rates chosen anew, tanh is still slower to 35%",
          "3.3: ReLUs need no input normalization", "-", f"{_WHY}/remove_and_put_in_early", "relu",
          "tanh", (TIMES, FIGURE), 1, where=(("recipe", "without_slow_conv1"),)),
    Claim("In a modern recipe, 2012's rate of conv1 makes tanh slower than ReLU to 35%", "3.3",
          "-", f"{_WHY}/remove_and_put_in_early", "relu", "tanh", (TIMES, FIGURE), 1,
          where=(("recipe", "modern_fast_conv1"),)),
    Claim("In another net, LeNet, ReLU reaches 45% training error sooner than tanh", "3.1", "-",
          f"{_WHY}/lenet", "relu", "tanh", (TIMES, FIGURE), 1),
    Claim("What makes tanh slow in LeNet under 2012's recipe: the rate of conv1 on raw pixels",
          "3.3: ReLUs need no input normalization", "-", f"{_WHY}/lenet", "relu", "tanh", (TIMES,),
          1, where=(("recipe", "cuda_convnet"), ("recipe", "without_slow_conv1")),
          rule="interaction"),
    Claim("Saturating units are slower: tanh", "3.1", "6 times, at 25%",
          f"{_ABLATIONS}/activations", "relu", "tanh", (TIMES,), 1),
    Claim("Saturating units are slower: scaled tanh", "3.1", "-",
          f"{_ABLATIONS}/activations", "relu", "scaled_tanh", (TIMES,), 1),
    Claim("Saturating units are slower: sigmoid", "3.1", "-",
          f"{_ABLATIONS}/activations", "relu", "sigmoid", (TIMES,), 1),
    Claim("Local response normalization, as in the paper's net, lowers the test error",
          "3.3; article", "-1.4 points top-1, ImageNet",
          f"{_ABLATIONS}/lrn", "none", "paper_net", (TEST, EQUAL), -1, effect=0.014),
    Claim("Local response normalization, by the paper's formula, lowers the test error",
          "3.3", "-1.4 points top-1, ImageNet",
          f"{_ABLATIONS}/lrn", "none", "paper", (TEST, EQUAL), -1, effect=0.014),
    Claim("Control: a constant factor in place of normalization lowers the test error too", "ours",
          "-", f"{_ABLATIONS}/lrn", "none", "constant", (TEST, EQUAL), -1, effect=0.014),
    Claim("Normalization lowers the test error of the paper's four-layer net", "3.3",
          "13% to 11%, CIFAR-10",
          f"{_ABLATIONS}/lrn_local", "none", "caffe", (TEST, EQUAL), -1, effect=0.02),
    Claim("Overlapping pooling lowers the test error", "3.4", "-0.4 points top-1, ImageNet",
          f"{_ABLATIONS}/pooling", "2x2", "overlapping", (TEST,), -1, effect=0.004),
    Claim("Overlapping pooling overfits slightly less", "3.4", "-",
          f"{_ABLATIONS}/pooling", "2x2", "overlapping", OVERFITTING, -1, rule="overfitting"),
    Claim("Translations and reflections reduce overfitting", "4.1; article",
          "without them substantial overfitting",
          f"{_ABLATIONS}/augmentation", "none", "both", OVERFITTING, -1, rule="overfitting"),
    Claim("Translations alone reduce overfitting", "article", "-",
          f"{_ABLATIONS}/augmentation", "none", "translation", OVERFITTING, -1, rule="overfitting"),
    Claim("Reflections alone reduce overfitting", "article", "-",
          f"{_ABLATIONS}/augmentation", "none", "flip", OVERFITTING, -1, rule="overfitting"),
    Claim("Noise on the pixels reduces overfitting", "article", "-",
          f"{_ABLATIONS}/augmentation", "none", "noise", OVERFITTING, -1, rule="overfitting"),
    Claim("Changed colours (PCA) lower the test error", "4.1", "over -1 point top-1, ImageNet",
          f"{_ABLATIONS}/augmentation", "none", "pca", (TEST,), -1, effect=0.01),
    Claim("Dropout of a half reduces overfitting", "4.2; article",
          "without it substantial overfitting",
          f"{_ABLATIONS}/dropout", "0.0", "0.5", OVERFITTING, -1, rule="overfitting"),
    Claim("Dropout of 0.3 reduces overfitting", "article", "-",
          f"{_ABLATIONS}/dropout", "0.0", "0.3", OVERFITTING, -1, rule="overfitting"),
    Claim("Dropout roughly doubles the iterations to converge", "4.2", "2 times",
          f"{_ABLATIONS}/dropout_speed", "0.0", "0.5", (FROZEN,), 1, factor=2.0),
    Claim("Weight decay of 0.0005 reduces the training error", "5", "- (1 point assumed)",
          f"{_ABLATIONS}/weight_decay", "0.0", "0.0005", (TRAIN,), -1, effect=0.01),
    *(Claim(f"Weight decay (L2) of {dose} suppresses overfitting", "article", "-",
            f"{_ABLATIONS}/weight_decay", "0.0", dose, OVERFITTING, -1, rule="overfitting")
      for dose in ("0.005", "0.02")),
    Claim("Biases of 1 accelerate the early stages of learning", "5", "-",
          f"{_ABLATIONS}/biases", "no", "yes", (TIMES,), -1),
    *(Claim(f"Without {layer} the test error is higher", "1, 7; article",
            "+2 points top-1, ImageNet",
            f"{_ABLATIONS}/depth", "whole", f"no_{layer}", (TEST,), 1, effect=0.02)
      for layer in _LAYERS),
    Claim("Two towers have a lower test error than one of half the kernels", "3.2",
          "-1.7 points top-1, ImageNet", f"{_ABLATIONS}/towers", "one", "two", (TEST,), -1,
          effect=0.017),
    *(Claim(f"Unsupervised pre-training helps, {words}: {name}", source, "-", study, "none",
            method, (END,), -1)
      for study, words, source in (
          ("pretraining/labels_50000", "with all labels", _EXPECTED),
          ("pretraining/labels_2000", "with 2,000 labels", "article"),
          ("pretraining/labels_500", "with 500 labels", "article"),
          ("pretraining_long/labels_50000", "all labels, ten times the updates", _EXPECTED),
          ("pretraining_long/labels_2000", "2,000 labels, ten times the updates", "article"))
      for method, name in (("conv_rbm", "RBM"), ("conv_autoencoder", "auto-encoder"))),
    *(Claim(f"Pre-trained networks reach 25% training error sooner: {name}", "ours", "-",
            "pretraining/speed", "none", method, (TIMES,), -1)
      for method, name in (("conv_rbm", "RBM"), ("conv_autoencoder", "auto-encoder"))),
    Claim("Pre-trained weights help by more than their size: shuffled, they are worse",
          "Erhan et al. 2010", "-", "pretraining/controls", "whole", "shuffled", (END,), 1),
    Claim("At equal training error AlexNet is more accurate than LeNet", "article", "-",
          "architectures", "lenet5_modern", "alexnet_cifar", (EQUAL,), -1),
    Claim("AlexNet gets to a training error sooner than LeNet", "article", "-", "architectures",
          "lenet5_modern", "alexnet_cifar", (TIMES,), -1),
    *(Claim(f"At equal training error a later network is more accurate than LeNet: {name}",
            "article", "-", "architectures", "lenet5_modern", net, (EQUAL,), -1)
      for net, name in (("vgg11_cifar", "VGG"), ("googlenet_cifar", "GoogLeNet"))),
)
UNTESTED: tuple[Untested, ...] = (
    *(Untested(f"The magnitude varies with the architecture: {net}", "3.1", "several times",
               f"--config=configs/relu_vs_tanh.py --config.model.name={net}"
               f" --workdir=runs/{net}") for net in ("conv3_fc64", "conv2_local2")),
    Untested("Averaging five networks, by src.evaluate, lowers the error on ImageNet (on CIFAR-10:"
             " above)", "6, Table 2",
             "40.7% to 38.1% top-1, 18.2% to 16.4% top-5",
             '--config=configs/alexnet_imagenet.py --config.fresh_seeds="(100,101,102,103,104)"'),
    Untested("The whole network on ImageNet (2012), one net", "6, Table 2; article",
             "40.7% top-1, 18.2% top-5 error (Caffe's release: 57.1% and 80.2% right)",
             "--config=configs/alexnet_imagenet.py"),
    Untested("Training on a GPU is many times faster than on a CPU (a run on each)", "article", "-",
             "python -m experiments.speed.accelerator"),
)
NOTES: tuple[Note, ...] = (
    Note("The paper's net, one of it (Table 2: 40.7 / 18.2)", "145", "40.66 / 18.21"),
    Note("The same net under nine rate schedules", "155 to 158, 160, 169 to 171, 174",
         "40.42 to 41.37, standard deviation 0.33 / 18.04 to 19.04"),
    Note("Without any normalization (the paper's -1.4 / -1.2)", "148", "42.03 / 19.36"),
    Note("Without conv2's normalization alone: no worse", "167", "40.49 / 18.12"),
    Note("Pooling 2x2 (the paper's -0.4 / -0.3): within the spread of the schedules", "147",
         "41.06 / 18.51"),
    Note("One tower of half the kernels, ILSVRC-2010 (the paper's -1.7 / -1.2)", "145-half",
         "39.17 / 18.23 against 37.47 / 17.00"),
    Note("Towers that never cross, widened to keep their size", "150", "41.83 / 19.33"),
    Note("The centre of each image alone, ILSVRC-2010 (the paper's 39.0 / 18.3)", "145-2010",
         "39.02 / 18.30 against 37.47 / 17.00"),
    Note("First trained on ImageNet 2011 (Table 2: 39.0 / 16.6)", "146-2012-2011", "38.99 / 16.62"),
)
# fmt: on
