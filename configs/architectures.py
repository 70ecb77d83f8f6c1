"""LeNet, AlexNet, VGG and GoogLeNet on CIFAR-10: which is more accurate, and which sooner?

Run:     python -m src.main --config=configs/architectures.py
Result:  none yet on the original data: experiments/open.md

Made for one core of a CPU: AlexNet, VGG-11 and GoogLeNet in CIFAR size
have an eighth of their features, every training lasts two epochs, rates are chosen with one seed
and measured with two. Longer and wider, on a GPU:
    --config.max_epochs=60 --config.model_options.vgg11_cifar.width=1.0 (and so on).
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    # The baseline is LeNet with ReLU and maximum pooling: what differs is the network alone.
    names = ("lenet5_modern", "alexnet_cifar", "vgg11_cifar", "googlenet_cifar")
    config.sweep.model = ConfigDict({"name": names})
    config.compare.field = "model"
    config.compare.baseline = names[0]
    # Two epochs overfit nothing, and LeNet has no dropout: without it training losses compare.
    narrow = {"width": 0.125, "dropout": 0.0}
    config.model_options = ConfigDict({name: dict(narrow) for name in names[1:]})
    config.learning_rates = (0.003, 0.01, 0.03, 0.09)
    config.racing_slack = 1.25
    config.thresholds = (0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.4, 0.3, 0.25)
    config.fresh_seeds = (100, 101)
    config.max_epochs = 2.0
    config.stop_at_target = False
    config.points_per_epoch = 20
    config.test_every_epochs = 0.5
    return config
