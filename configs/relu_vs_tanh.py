"""ReLU vs tanh: iterations to 25% training error on CIFAR-10 (Krizhevsky et al. 2012, section 3.1,
Fig. 1).

Run:     python -m src.main --config=configs/relu_vs_tanh.py
Result:  experiments/relu_vs_tanh/README.md
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.sweep.recipe = ("cuda_convnet", "modern")
    # the slower first: its trials follow one another, the others fill the rest of the machine
    config.sweep.model = ConfigDict({"activation": ("tanh", "relu")})
    config.selection_seeds = (0,)
    config.fresh_seeds = (100, 101, 102)
    return config
