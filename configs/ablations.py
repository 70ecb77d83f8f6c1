"""Ablations: what each part of AlexNet is good for (Krizhevsky et al. 2012, sections 3 to 7).

Run:     python -m src.main --config=configs/ablations.py --config.study=lrn
Studies: activations, lrn, dropout, dropout_speed, pooling, augmentation, weight_decay, depth,
         towers, biases, lrn_local; all, the default, runs one after another. Each has a folder of
         its own.
Result:  experiments/ablations/README.md
Size:    for one core of a CPU, not the paper's: the small AlexNet at an eighth of its width, one
         tower and, where it is not the question, no dropout; the first 5000 images of CIFAR-10,
         seen 12 times, or, where the question is overfitting, the first 2000, 24 times. Below, the
         studies of activations, normalization, biases and dropout_speed say what they change.
Rates:   each arm has the best of four to six by the study's own measure, mostly the mean test
         error of the last quarter; it is measured with seeds that were fixed before the first
         trial. All grids but that of lrn were extended after answers with rates on their edges:
         experiments/ablations/predictions.md.
Seeds:   pooling, depth, towers and augmentation have five to eleven by the deviations that an
         earlier run of these studies showed (on a JPEG copy of the data): enough, at 80%, for the
         paper's effect.
GPU:     --config.train_images=0 --config.max_epochs=60.0 and, for the studies of alexnet_cifar
         (dropout, dropout_speed, pooling, augmentation, weight_decay, depth, towers, biases),
         --config.model.width=1.0; the command line wins over a study's values.
Own:     --config.studies.lrn.sweep.model.lrn="('none','paper')" changes what a study sweeps.
"""

from ml_collections import ConfigDict

from configs import base

ACTIVATIONS = ("relu", "tanh", "scaled_tanh", "sigmoid", "leaky_relu", "elu", "gelu", "silu")
OVERFITTING = {"train_images": 2000, "max_epochs": 24.0}
CONVENTIONS = ("none", "constant", "paper", "paper_net", "caffe", "within")
# On grey levels, for which the nets of that time chose the constants of the normalization.
GREY = {"recipe": "cuda_convnet", "learning_rates": (0.0005, 0.001, 0.002, 0.004)}


def seeds(count: int) -> tuple[int, ...]:
    return tuple(range(100, 100 + count))


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model = ConfigDict(
        {
            "name": "alexnet_cifar",
            "activation": "relu",
            "width": 0.125,
            "towers": 1,
            "lrn": "constant",
            "pooling": "overlapping",
            "dropout": 0.0,
            "without": "",
        },
        type_safe=False,
    )
    config.batch_size = 64
    config.train_images = 5000
    config.max_epochs = 12.0
    config.points_per_epoch = 3
    config.test_every_epochs = 1.0
    config.checkpoint_every_epochs = 3.0
    config.stop_at_target = False
    config.target_train_error = 0.4
    config.thresholds = (0.6, 0.5, 0.4)
    config.learning_rates = (0.00125, 0.0025, 0.005, 0.01, 0.02)
    config.fresh_seeds = seeds(5)
    config.compare.measure = "mean_test_error"
    config.compare.further = ("test_error", "equal_test_error", "train_error", "iterations")

    config.study = "all"
    config.studies = ConfigDict(sort_keys=False)  # name -> what it changes of the above
    config.studies.activations = {
        "model": {"name": "lenet5_modern"},
        "train_images": 0,
        "max_epochs": 5.0,
        "points_per_epoch": 20,
        "window_epochs": 0.1,
        "stop_at_target": True,
        "target_train_error": 0.6,
        "thresholds": (0.75, 0.7, 0.65, 0.6),
        "learning_rates": (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08),
        "arm_learning_rates": {"lenet5_modern-modern-sigmoid": (0.05, 0.1, 0.2, 0.4, 0.8)},
        "sweep": {"model": {"activation": ACTIVATIONS}},
        "compare": {"measure": "iterations", "further": ("test_error",)},
    }
    config.studies.lrn = {
        **GREY,
        "model": {"name": "conv3", "lrn": "none"},
        "sweep": {"model": {"lrn": CONVENTIONS}},
        "compare": {"field": "lrn", "baseline": "none"},
    }
    config.studies.dropout = {
        **OVERFITTING,
        "sweep": {"model": {"dropout": (0.0, 0.3, 0.5)}},
        "compare": {"field": "dropout", "baseline": 0.0},
    }
    config.studies.dropout_speed = {
        **OVERFITTING,
        "max_epochs": 72.0,
        "learning_rates": (0.0025, 0.005, 0.01, 0.02, 0.04, 0.08),
        "stop_at_target": True,
        "target_train_error": 0.5,
        "thresholds": (0.7, 0.6, 0.5),
        "readings": ("frozen",),
        "sweep": {"model": {"dropout": (0.0, 0.5)}},
        "compare": {
            "field": "dropout",
            "baseline": 0.0,
            "measure": "iterations_frozen",
            "further": (),
        },
    }
    config.studies.pooling = {
        "sweep": {"model": {"pooling": ("2x2", "overlapping")}},
        "compare": {"field": "pooling", "baseline": "2x2"},
    }
    config.studies.augmentation = {
        **OVERFITTING,
        "fresh_seeds": seeds(11),
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
        "sweep": {"weight_decay": (0.0, 0.0005, 0.005, 0.02)},
        "compare": {"field": "weight_decay", "baseline": 0.0},
    }
    config.studies.depth = {
        "learning_rates": (0.0025, 0.005, 0.01, 0.02, 0.04),
        "fresh_seeds": seeds(8),
        "variants": {
            "whole": {},
            "no_conv2": {"model": {"without": "conv2"}},
            "no_conv3": {"model": {"without": "conv3"}},
            "no_conv4": {"model": {"without": "conv4"}},
            "no_conv5": {"model": {"without": "conv5"}},
        },
        "compare": {"field": "variant", "baseline": "whole"},
    }
    config.studies.towers = {
        "fresh_seeds": seeds(8),
        "variants": {
            "two": {"model": {"towers": 2}},
            "one": {"model": {"towers": 1, "one_gpu": True}},
        },
        "compare": {"field": "variant", "baseline": "one"},
    }
    config.studies.biases = {
        "stop_at_target": True,
        "max_epochs": 24.0,
        "target_train_error": 0.5,
        "thresholds": (0.8, 0.7, 0.6, 0.5),
        "sweep": {"model": {"ones": ("no", "yes")}},
        "compare": {"field": "ones", "baseline": "no", "measure": "iterations", "further": ()},
    }
    # The net of the paper's 13%, and 11% with normalization, each otherwise the same.
    config.studies.lrn_local = {
        **GREY,
        "learning_rates": (0.000125, 0.00025, 0.0005, 0.001, 0.002, 0.004),
        "model": {"name": "conv2_local2", "lrn": "none"},
        "sweep": {"model": {"lrn": CONVENTIONS}},
        "compare": {"field": "lrn", "baseline": "none"},
    }
    return config
