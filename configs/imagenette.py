"""AlexNet on ten classes of ImageNet: `alexnet_imagenet.py`, narrow and short, for two cores.

Run:     python -m src.main --config=configs/imagenette.py
         python -m src.evaluate runs/imagenette/trials/*
Result:  none yet.

On a GPU: --config.model.width=1 --config.max_epochs=90.
"""

from ml_collections import ConfigDict

from configs import alexnet_imagenet


def get_config() -> ConfigDict:
    config = alexnet_imagenet.get_config()
    config.data.name = "imagenette"
    config.model.width = 0.25
    # DEVIATION: from N(0, 0.01) a net whose units have few inputs is slow to begin.
    config.recipe = "modern"
    config.recipes.modern.input = "centered"  # grey levels, for which the constants of LRN are
    config.recipes.modern.learning_rates = (0.0001,)
    config.augment.shared = 1
    config.augment.pca_epochs = 24.0
    config.batch_size = 50  # of some thousands of images: enough updates
    config.schedule.boundaries = (20.0, 28.0)
    config.schedule.bias_boundaries = ()
    config.schedule.slowed = ConfigDict()
    config.schedule.frozen = ConfigDict()
    config.max_epochs = 30.0
    config.test_every_epochs = 5.0
    return config
