"""AlexNet on CIFAR-10: one training by the paper's recipe (Krizhevsky et al. 2012, section 5).

Run:     python -m src.main --config=configs/alexnet_cifar10.py
Result:  none yet: its 90 epochs want a GPU.

The recipe is that of alexnet_imagenet.py; random translations take the place of random crops, so
that the network keeps its 32 pixels.
"""

from ml_collections import ConfigDict

from configs import alexnet_imagenet


def get_config() -> ConfigDict:
    config = alexnet_imagenet.get_config()
    config.model.name = "alexnet_cifar"
    config.data.name = "cifar10"
    config.data.stream_size = 0
    config.augment.crop = 0
    config.augment.translation = 4
    config.validation_images = 5000
    config.test_crops = 1
    config.test_every_epochs = 1.0
    return config
