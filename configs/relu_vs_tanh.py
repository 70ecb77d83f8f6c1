"""ReLU vs tanh: iterations to 25% training error on CIFAR-10 (Krizhevsky et al. 2012, section 3.1,
Fig. 1).

Run:     python -m src.main --config=configs/relu_vs_tanh.py
Result:  experiments/relu_vs_tanh/

A trial goes on until its error is at 25% in both readings: over the trailing epoch, and as in the
figure, where the first 10,000 images of an epoch count. Hours on a CPU, minutes on a GPU.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.sweep.recipe = ("cuda_convnet", "modern")
    # The slower one first: its trials follow one another, the others fill the rest of the machine.
    config.sweep.model = ConfigDict({"activation": ("tanh", "relu")})
    config.readings = ("online", "figure")
    config.layer_images = 256
    config.compare.further = ("iterations_as_in_figure", "test_error")
    config.selection_seeds = (0,)
    config.fresh_seeds = (100, 101, 102, 103, 104)
    return config
