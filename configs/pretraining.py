"""Unsupervised pre-training, which the paper left out "even though we expect that it will help".

Run:     python -m src.main --config=configs/pretraining.py --config.study=labels_2000
Studies: labels_500, labels_2000, labels_10000, labels_50000: no pre-training, auto-encoder and RBM
         with so many labels, as many of each class; activations: the same for ReLU, tanh and
         sigmoid with 2000; controls: what of a stack matters, with 2000; speed: iterations to 25%
         training error, all labels. all, the default, runs one after another. Each has a folder.
Result:  experiments/pretraining/, drawn by python -m experiments.pretraining.figures
Source:  Krizhevsky, Sutskever & Hinton (2012), section 1; src/pretraining/ names the methods'.
Size:    for two cores of a CPU: conv3, 200 updates of each of its three convolutions on all
         50,000 training images, of which 1000 are kept to measure reconstruction. Learning rates
         of fine-tuning are chosen by the test error at the end, arm by arm, on a seed of its own;
         five fresh seeds, three for `speed`. --config.pretraining.steps=2000 is as long as Paine et
         al. (2014) train a first layer.

Predicted before the first trial (2026-11-25), of differences in test error from no pre-training:
1. labels_500: both methods are better, by 1 to 5 points.
2. labels_2000: both are better, by 0.5 to 4 points.
3. labels_10000: within 1.5 points of it. labels_50000: within 1 point: what the paper expected is
   not seen where all images have labels.
4. The gain of either method with 500 labels is larger than with 50,000.
5. activations: each method gains most with sigmoid, and more with tanh than with ReLU.
6. controls: shuffled within a kernel's layer, the weights are worse by at least 1 point, and those
   of the same norm are within 1 point of the shuffled ones; conv1 alone gains less than conv1_2,
   that less than whole; frozen is worse than whole by at least 5 points, and better than
   frozen_random.
7. speed: to 25% training error either method needs 0.7 to 1.1 times the iterations.

The grids of rates were 0.005, 0.02 and 0.08, for activations 0.32 as well. Wherever an arm chose
the edge of its grid it was extended: labels_500, which was run again, and all that follow but
labels_2000 and labels_50000 by 0.00125, before their first trials; then, after their answers were
seen, these two by 0.00125, labels_500 by 0.0003 and activations by 1.28.
"""

from ml_collections import ConfigDict

from configs import base

METHODS = ("none", "conv_autoencoder", "conv_rbm")
RATES = (0.00125, 0.005, 0.02, 0.08)
EPOCHS = {500: 60.0, 2000: 20.0, 10_000: 20.0, 50_000: 8.0}  # by the number of labels


def get_config() -> ConfigDict:
    config = base.get_config()
    config.batch_size = 64
    config.stop_at_target = False
    config.points_per_epoch = 1
    config.test_every_epochs = 20.0  # and at the end
    config.checkpoint_every_epochs = 20.0
    config.target_train_error = 0.25
    config.learning_rates = RATES
    config.pretraining.steps = 200
    config.selection_seeds = (0,)
    config.fresh_seeds = (100, 101, 102, 103, 104)
    config.compare.update(
        field="method", baseline="none", measure="test_error", further=("mean_test_error",)
    )
    config.stacks_dir = "runs/pretraining/stacks"  # The studies share it: each stack is made once.

    config.study = "all"
    config.studies = ConfigDict(sort_keys=False)  # name -> what it changes of the above
    for labels, epochs in EPOCHS.items():
        config.studies[f"labels_{labels}"] = {
            "labels": 0 if labels == 50_000 else labels,
            "max_epochs": epochs,
            "learning_rates": (0.0003, *RATES) if labels == 500 else RATES,
            "sweep": {"pretraining": {"method": METHODS}},
        }
    few = {"labels": 2000, "max_epochs": EPOCHS[2000]}
    config.studies.activations = {
        **few,
        "learning_rates": (*RATES, 0.32, 1.28),  # Sigmoid wants the largest.
        "sweep": {
            "model": {"activation": ("relu", "tanh", "sigmoid")},
            "pretraining": {"method": METHODS},
        },
    }
    stack = {"method": "conv_rbm"}
    frozen = {"layer_rates": {"conv1": 0.0, "conv2": 0.0, "conv3": 0.0}}
    config.studies.controls = {
        **few,
        "variants": {
            "none": {},
            "whole": {"pretraining": stack},
            "shuffled": {"pretraining": {**stack, "control": "shuffled"}},
            "scale": {"pretraining": {**stack, "control": "scale"}},
            "conv1": {"pretraining": {**stack, "layers": ("conv1",)}},
            "conv1_2": {"pretraining": {**stack, "layers": ("conv1", "conv2")}},
            "frozen": {"pretraining": stack, "recipes": {"modern": frozen}},
            "frozen_random": {"recipes": {"modern": frozen}},
        },
        "compare": {"field": "variant", "baseline": "whole"},
    }
    config.studies.speed = {
        "max_epochs": 30.0,
        "stop_at_target": True,
        "points_per_epoch": 10,
        "test_every_epochs": 5.0,
        "fresh_seeds": (100, 101, 102),
        "compare": {"measure": "iterations", "further": ()},
        "sweep": {"pretraining": {"method": METHODS}},
    }
    return config
