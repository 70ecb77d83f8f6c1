"""AlexNet on ImageNet: one training as in the paper (Krizhevsky et al. 2012, sections 4.1 and 5).

Run:     python -m src.main --config=configs/alexnet_imagenet.py
Result:  none yet: it has not been run.

`imagenet2012` prepared by TFDS as ArrayRecord is streamed from disk. Any other such data set of
larger images will do, for example --config.data.name=imagenette --config.validation_images=500.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "imagenet2012"
    config.data.stream_size = 256
    config.model.name = "alexnet"
    config.recipe = "paper"
    config.recipes.paper = ConfigDict(
        {
            "input": "centered",  # section 2
            "init": "paper",  # N(0, 0.01), some biases 1
            "momentum": 0.9,
            "bias_rate": 1.0,  # "an equal learning rate for all layers"
            "order": "shuffled",
            "learning_rates": (0.01,),
        }
    )
    config.batch_size = 128
    config.weight_decay = 0.0005
    config.augment.crop = 227  # DEVIATION: the paper says 224, see src/models/alexnet.py
    config.augment.flip = True
    config.augment.pca = 0.1
    config.test_crops = 10
    config.schedule.name = "plateau"
    config.validation_images = 10_000  # the paper does not say how many
    config.max_epochs = 90.0  # "roughly 90 cycles"
    config.stop_at_target = False
    config.test_every_epochs = 10.0
    return config
