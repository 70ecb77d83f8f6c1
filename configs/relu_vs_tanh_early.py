"""The first part of Fig. 1: ReLU vs tanh to 35% training error on CIFAR-10, at rates fixed before.

Run:     python -m src.main --config=configs/relu_vs_tanh_early.py
Result:  experiments/relu_vs_tanh_early/

Fewer iterations than relu_vs_tanh.py. Rates are those that an earlier run of that study chose on a
JPEG copy of the data, with another seed: 0.002 and 0.008 under the recipe of 2012, 0.01 and 0.02
under the modern one.

Predicted before the first trial (2026-11-25):
1. Under the recipe of 2012 tanh needs 4 to 5.5 times the iterations of ReLU to 35% (the paper's
   curves: 5.0 times).
2. Under the modern recipe the ratio lies between 0.7 and 1.5.
3. The ratio of these ratios is at least 3, its interval above 2.
4. After one epoch conv1 of the tanh net is saturated by more than 90% under the recipe of 2012, by
   less than 15% under the modern one.
"""

from ml_collections import ConfigDict

from configs import relu_vs_tanh


def get_config() -> ConfigDict:
    config = relu_vs_tanh.get_config()
    config.arm_learning_rates = ConfigDict(
        {
            "conv3-cuda_convnet-relu": (0.002,),
            "conv3-cuda_convnet-tanh": (0.008,),
            "conv3-modern-relu": (0.01,),
            "conv3-modern-tanh": (0.02,),
        }
    )
    config.target_train_error = 0.35
    config.thresholds = (0.6, 0.55, 0.5, 0.45, 0.4, 0.35)
    config.max_epochs = 30.0
    config.test_every_epochs = 1.0
    return config
