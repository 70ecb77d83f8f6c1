"""AlexNet a quarter as wide on CIFAR-10: one training by the rules of the paper's section 5.

Run:     python -m src.main --config=configs/alexnet_cifar10.py
         python -m src.paper_figures runs/alexnet_cifar10/trials/*
Result:  experiments/alexnet_cifar10/

A quarter of the features and 30 epochs are for one core. Whole, on a GPU:
--config.model.width=1 --config.max_epochs=90 --config.schedule.patience=5

Predicted, before the first trial:
- The validation error stalls and the rate drops at least once, by epoch 24.
- Within two epochs of the first drop the test error is lower than at any time before it, by one
  point or more.
- The test error at the end lies between 19% and 27%, and the training error, with dropout, above
  it.
"""

from ml_collections import ConfigDict

from configs import alexnet_as_written


def get_config() -> ConfigDict:
    config = alexnet_as_written.get_config()
    config.model.name = "alexnet_cifar"
    config.model.width = 0.25  # DEVIATION: 24 kernels in conv1, for one core
    config.data.name = "cifar10"
    config.data.stream_size = 0
    # DEVIATION: from N(0, 0.01) this network, whose units have few inputs, is slow to begin.
    config.recipe = "modern"
    config.learning_rates = (0.01,)
    config.augment.crop = 0
    config.augment.translation = 4  # in place of crops: the network keeps its 32 pixels
    config.validation_images = 5000
    config.test_crops = 1
    config.test_every_epochs = 1.0
    config.schedule.patience = 2  # DEVIATION: 30 epochs, of the paper's 90, have to do
    config.max_epochs = 30.0
    return config
