"""AlexNet on ImageNet, one training as the paper's text has it (Krizhevsky et al. 2012, 4.1 and 5).

Run:     python -m src.main --config=configs/alexnet_as_written.py
Result:  none yet: it has not been run.
"""

from ml_collections import ConfigDict

from configs import alexnet_imagenet


def get_config() -> ConfigDict:
    config = alexnet_imagenet.get_config()
    config.model.name = "alexnet"
    config.recipes.paper.bias_rate = 1.0  # "an equal learning rate for all layers"
    config.recipes.paper.order = "shuffled"
    config.augment.crop = 227  # DEVIATION: the paper says 224, see src/models/alexnet.py
    config.augment.shared = 1
    config.augment.pca_epochs = 0.0
    config.schedule.name = "plateau"  # "when the validation error stopped improving"
    config.schedule.boundaries = ()
    config.schedule.bias_boundaries = ()
    config.schedule.slowed = ConfigDict()
    config.schedule.frozen = ConfigDict()
    config.validation_images = 10_000  # The paper does not say how many.
    config.max_epochs = 90.0  # "roughly 90 cycles"
    return config
