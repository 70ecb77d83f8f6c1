"""Ablations: what each part of AlexNet is good for (Krizhevsky et al. 2012, sections 3 to 7).

Run:     python -m src.main --config=configs/ablations.py --config.study=lrn
Studies: activations, lrn, dropout, pooling, augmentation, weight_decay, depth, towers, lrn_local;
         all, the default, runs one after another. Each has a folder of its own.
Result:  experiments/README.md
Size:    for one core of a CPU, not the paper's: the small AlexNet at an eighth of its
         width, one tower and, where it is not the question, no dropout; the first 5000 images of
         CIFAR-10, seen 12 times, or, where the question is overfitting, the first 2000, 24 times.
         Learning rate and five seeds are shared by a study's arms. activations is LeNet-5, each
         arm at the best of five rates, on all images, until 60% training error.
GPU:     --config.train_images=0 --config.max_epochs=60.0 --config.target_train_error=0.25
         --config.thresholds="(0.5,0.4,0.3,0.25)" and, with AlexNet, --config.model.width=1.0; the
         command line wins over a study's values.
Own:     --config.studies.lrn.sweep.model.lrn="('none','paper')" changes what a study sweeps.
"""

from ml_collections import ConfigDict

from configs import base

ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu")
OVERFITTING = {
    "train_images": 2000,
    "max_epochs": 24.0,
    "test_every_epochs": 8.0,
    "measure": "frozen",  # the gap to the test error: neither with dropout nor with augmentation
    "points_per_epoch": 1,
}


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.update(
        name="alexnet_cifar",
        width=0.125,
        towers=1,
        lrn="paper",
        pooling="overlapping",
        dropout=0.0,
        without="",
    )
    config.batch_size = 64
    config.train_images = 5000
    config.max_epochs = 12.0
    config.points_per_epoch = 3
    config.test_every_epochs = 3.0
    config.checkpoint_every_epochs = 3.0
    config.stop_at_target = False
    config.target_train_error = 0.5
    config.thresholds = (0.7, 0.6, 0.5)
    config.learning_rates = (0.01,)
    config.fresh_seeds = (100, 101, 102, 103, 104)

    config.study = "all"
    config.studies = ConfigDict(sort_keys=False)  # name -> what it changes of the above
    config.studies.activations = {
        "model": {"name": "lenet5_modern"},
        "train_images": 0,
        "max_epochs": 5.0,
        "points_per_epoch": 20,
        "stop_at_target": True,
        "target_train_error": 0.6,
        "thresholds": (0.75, 0.7, 0.65, 0.6),
        "learning_rates": (0.0025, 0.005, 0.01, 0.02, 0.04),
        "arm_learning_rates": {"lenet5_modern-modern-sigmoid": (0.05, 0.1, 0.2, 0.4, 0.8)},
        "sweep": {"model": {"activation": ACTIVATIONS}},
    }
    config.studies.lrn = {
        "sweep": {"model": {"lrn": ("none", "paper", "caffe", "within")}},
        "compare": {"field": "lrn", "baseline": "none"},
    }
    config.studies.dropout = {
        **OVERFITTING,
        "sweep": {"model": {"dropout": (0.0, 0.3, 0.5)}},
        "compare": {"field": "dropout", "baseline": 0.0},
    }
    config.studies.pooling = {
        "sweep": {"model": {"pooling": ("2x2", "overlapping")}},
        "compare": {"field": "pooling", "baseline": "2x2"},
    }
    config.studies.augmentation = {
        **OVERFITTING,
        "variants": {
            "none": {},
            "translation": {"augment": {"translation": 4}},
            "flip": {"augment": {"flip": True}},
            "both": {"augment": {"translation": 4, "flip": True}},
            "pca": {"augment": {"pca": 0.1}},
            "noise": {"augment": {"noise": 10.0}},
        },
        "compare": {"field": "variant", "baseline": "none"},
    }
    config.studies.weight_decay = {
        **OVERFITTING,
        "sweep": {"weight_decay": (0.0, 0.0005, 0.005)},
        "compare": {"field": "weight_decay", "baseline": 0.0},
    }
    config.studies.depth = {
        "variants": {
            "whole": {},
            "no_conv2": {"model": {"without": "conv2"}},
            "no_conv3": {"model": {"without": "conv3"}},
            "no_conv4": {"model": {"without": "conv4"}},
            "no_conv5": {"model": {"without": "conv5"}},
            "no_fc6": {"model": {"without": "fc6"}},
            "no_fc7": {"model": {"without": "fc7"}},
        },
        "compare": {"field": "variant", "baseline": "whole"},
    }
    config.studies.towers = {
        "sweep": {"model": {"towers": (1, 2)}},
        "compare": {"field": "towers", "baseline": 1},
    }
    # the net of the paper's 13%, and 11% with normalization, each otherwise the same
    config.studies.lrn_local = {
        "model": {"name": "conv2_local2", "lrn": "none"},
        "sweep": {"model": {"lrn": ("none", "paper", "caffe", "within")}},
        "compare": {"field": "lrn", "baseline": "none"},
    }
    return config
