"""Why is tanh slow? Which part of the recipe of 2012 makes the six times (section 3.1, Fig. 1).

Run:     python -m src.main --config=configs/why_tanh_is_slow.py --config.study=flips
Studies: flips, one part of the recipe of 2012 changed at a time, to 35% training error;
         remove_and_put_in, the suspect taken out of the recipe of 2012 and put into the modern
         one, to 25%; remove_and_put_in_early, the same to 35%; first_look, slow_conv1 at the rates
         that the recipe of 2012 has, to 35%; lenet, the suspect taken out in another net, to 45%;
         all, the default, runs one after another.
Result:  experiments/why_tanh_is_slow/

On raw pixels, whose deviation is about 63 grey levels, the first layer learns as one would on
standardized input with 63 times its kernel at 63^2 times its rate. Here that is 64, a power of two,
so that the same net in other units is the same net bit for bit. The parts:

    slow_conv1    conv1's kernel learns at 1 / 64^2 of the rate; the start is unchanged
    init          first weights of He and Glorot, input divided by 64, conv1 at 64^2 times the rate
    shuffled      the images in a new order every epoch, batches running on
    bias          biases learn at the rate of the weights

Predicted before the first trial (2026-11-25), as shares of the logarithm of what the ratio under
the recipe of 2012 is larger than under the modern one:
1. slow_conv1 alone removes at least 70% of it. If it removes less than 50%, the explanation by the
   first layer's rate is wrong.
2. init alone removes less than 30%: conv1 saturates within a tenth of an epoch all the same.
3. shuffled and bias remove less than 10% each.
4. ReLU's iterations to 35% change by less than 20% in every cell.
5. The modern recipe with conv1 at 64^2 times the rate has a ratio above 3.
6. first_look: with conv1's kernel slowed and all else as in 2012, rates included (0.008 for tanh,
   0.002 for ReLU), tanh needs at most 1.5 times the iterations of ReLU to 35%, where under the
   recipe of 2012 it needs four to five times; conv1 is saturated by less than 30% after an epoch.
Predicted when six of the ten trials of first_look were done, and before the first trial of
remove_and_put_in_early (2026-11-25): there tanh took 2,300 iterations or so and ReLU 5,500.
7. Each at its own best rate, tanh needs 0.5 to 1.5 times the iterations of ReLU with conv1 slowed.
8. Put into the modern recipe, the fast conv1 makes tanh need more than 2.5 times those of ReLU.
Predicted before the first trial of lenet (2026-11-26), when all others were done:
9. Under the recipe of 2012 tanh needs more than 1.5 times the iterations of ReLU in lenet5_modern,
   under the modern one 0.5 to 1.0 times.
10. There too slow_conv1 removes at least 50% of the difference between the two recipes.
After all of these were answered, the grids of the arms whose chosen rate lay on an edge were
extended by two or three factors of two (not that of modern_fast_conv1 to 25%, which takes hours on
a CPU; see below). Predicted before the first of these trials (2026-11-27):
11. flips: with conv1 slowed both nets choose 0.032 or more, and need 20% fewer iterations or less,
   as in remove_and_put_in_early; the share that slow_conv1 removes stays between 75% and 95%.
12. remove_and_put_in_early: 0.064 is faster than 0.032 by 10% at most, and 0.128 is not faster.
13. remove_and_put_in: with conv1 slowed the ratio to 25% falls below 1.49, and stays above 1.2.
14. ReLU at less than 0.001, from init's weights or with the fast conv1 in the modern recipe, takes
   0.5 to 1.2 times as many iterations as at 0.001; no verdict about these cells changes.
15. lenet: under the recipe of 2012 tanh is faster at 0.032 than at 0.016, and then needs 2.2 to 2.9
   times the iterations of ReLU; slow_conv1 still removes at least 50% of the difference.
Then the grid of modern_fast_conv1 to 25% was extended too. Predicted before the first of these
trials (2026-11-27), when ReLU was known to need 2,459 iterations to 35% at 0.0005:
16. ReLU is fastest at 0.0005, and needs 4,500 to 7,500 iterations to 25%, where it needs 8,297 at
   0.001.
17. tanh then needs 2.1 to 3.5 times those of ReLU, and the interval lies above 1.5.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import base

GRID = (0.001, 0.002, 0.004, 0.008, 0.016)
LOW, HIGH = (0.00025, 0.0005), (0.032, 0.064, 0.128)
FAST_GRID = (0.001, 0.0025, 0.005, 0.01, 0.02)
FLIPS: dict[str, dict[str, Any]] = {
    "slow_conv1": {"layer_rates": {"conv1/kernel": 1 / 64**2}, "learning_rates": (*GRID, *HIGH)},
    "init": {
        "input": "scaled",
        "init": "modern",
        "layer_rates": {"conv1/kernel": float(64**2)},
        "learning_rates": (*LOW, *GRID),
    },
    "shuffled": {"order": "shuffled", "file_images": 0},
    "bias": {"bias_rate": 1.0},
}


def get_config() -> ConfigDict:
    config = base.get_config()
    for name, changes in FLIPS.items():
        config.recipes[f"without_{name}"] = ConfigDict(
            {**config.recipes.cuda_convnet.to_dict(), "learning_rates": GRID, **changes},
            type_safe=False,
        )
    config.recipes.modern_fast_conv1 = ConfigDict(
        {
            **config.recipes.modern.to_dict(),
            "input": "scaled",
            "layer_rates": {"conv1/kernel": float(64**2)},
            "learning_rates": (*LOW, *FAST_GRID),
        },
        type_safe=False,
    )
    config.layer_images = 256
    config.readings = ("online", "figure")
    config.compare.further = ("iterations_as_in_figure",)
    config.sweep.model = ConfigDict({"activation": ("tanh", "relu")})

    config.study = "all"
    config.studies = ConfigDict(sort_keys=False)
    config.studies.first_look = {
        "sweep": {"recipe": ("without_slow_conv1",)},
        "arm_learning_rates": {
            "conv3-without_slow_conv1-tanh": (0.008,),
            "conv3-without_slow_conv1-relu": (0.002,),
        },
        "target_train_error": 0.35,
        "thresholds": (0.6, 0.55, 0.5, 0.45, 0.4, 0.35),
        "max_epochs": 30.0,
        "test_every_epochs": 1.0,
        "fresh_seeds": (100, 101, 102, 103, 104),
    }
    config.studies.flips = {
        "sweep": {
            "recipe": ("cuda_convnet", "modern", *(f"without_{name}" for name in FLIPS)),
        },
        "target_train_error": 0.35,
        "thresholds": (0.5, 0.45, 0.4, 0.35),
        "max_epochs": 40.0,
        "fresh_seeds": (100, 101, 102),
    }
    config.studies.remove_and_put_in = {
        "sweep": {"recipe": ("without_slow_conv1", "modern_fast_conv1")},
        "fresh_seeds": (100, 101, 102, 103, 104),
    }
    config.studies.remove_and_put_in_early = {
        **config.studies.remove_and_put_in.to_dict(),
        "recipes": {"without_slow_conv1": {"learning_rates": (*GRID[1:], *HIGH)}},
        "target_train_error": 0.35,
        "thresholds": (0.6, 0.55, 0.5, 0.45, 0.4, 0.35),
        "max_epochs": 30.0,
        "test_every_epochs": 1.0,
        "fresh_seeds": (100, 101, 102),
    }
    config.studies.lenet = {
        "model": {"name": "lenet5_modern"},
        "recipes": {
            "cuda_convnet": {"learning_rates": (0.0005, *GRID, *HIGH)},
            "without_slow_conv1": {"learning_rates": (*GRID[1:], *HIGH)},
        },
        "sweep": {"recipe": ("cuda_convnet", "modern", "without_slow_conv1")},
        "target_train_error": 0.45,
        "thresholds": (0.7, 0.65, 0.6, 0.55, 0.5, 0.45),
        "max_epochs": 30.0,
        "test_every_epochs": 1.0,
        "fresh_seeds": (100, 101, 102, 103, 104),
    }
    return config
