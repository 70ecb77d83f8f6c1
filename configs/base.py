"""Every field a study can set, with its default: one training of `conv3` on CIFAR-10, nothing
swept.

A study imports this, changes values and names what it sweeps. Fields, types, ranges and sentences
are declared in `src/`, beside the code that uses them; this command lists them all:

    python -m src.main --config=configs/base.py --help

Any field can be changed from the command line, for example `--config.max_epochs=5
--config.model.activation=gelu`.
"""

from ml_collections import ConfigDict

from src.config.schema import default_tree


def get_config() -> ConfigDict:
    config = ConfigDict(default_tree(), type_safe=False)

    # cuda-convnet's layer files of 2011, from whose code the paper's grew
    config.recipes.cuda_convnet = ConfigDict(type_safe=False)
    config.recipes.cuda_convnet.input = "centered"  # pixels 0 to 255 minus the mean image
    config.recipes.cuda_convnet.init = "paper"  # normal, with the layer files' deviations
    config.recipes.cuda_convnet.momentum = 0.9
    config.recipes.cuda_convnet.bias_rate = 2.0  # Biases learn at twice the rate.
    config.recipes.cuda_convnet.order = "permuted"  # one order, every epoch; a seed draws it
    config.recipes.cuda_convnet.file_images = 10_000  # 79 batches a file, 395 an epoch
    config.recipes.cuda_convnet.learning_rates = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)

    config.recipes.modern = ConfigDict(type_safe=False)
    config.recipes.modern.input = "standardized"  # per channel, zero mean and unit variance
    config.recipes.modern.init = "modern"  # He for ReLU and its kin, Glorot for tanh and sigmoid
    config.recipes.modern.momentum = 0.9
    config.recipes.modern.bias_rate = 1.0
    config.recipes.modern.order = "shuffled"
    config.recipes.modern.file_images = 0
    config.recipes.modern.learning_rates = (0.005, 0.01, 0.02, 0.04, 0.08)
    return config
