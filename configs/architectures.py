"""LeNet, AlexNet, VGG and GoogLeNet on CIFAR-10: which learns sooner, which is more accurate?

Run:     python -m src.main --config=configs/architectures.py
Result:  experiments/architectures/README.md

For one core of a CPU: AlexNet, VGG-11 and GoogLeNet in CIFAR size have an eighth of their features.
Every trial goes on to 40% training error, where test errors are compared: of nets that have learned
equally much. Longer and wider, on a GPU:
    --config.target_train_error=0.05 --config.max_epochs=60
    --config.model_options.vgg11_cifar.width=1.0 (and so on).

Predicted, before the first trial:
- To 40% training error AlexNet needs 0.6 to 1.0 times LeNet's iterations, VGG-11 and GoogLeNet 0.4
  to 0.8 times.
- Test errors at 40% training error differ by less than 2 points: at such an error nothing is
  overfitted yet, and who is more accurate in the end is not decided by it.
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
    # LeNet has no dropout, which raises training errors: without it they compare.
    narrow = {"width": 0.125, "dropout": 0.0}
    config.model_options = ConfigDict({name: dict(narrow) for name in names[1:]})
    config.learning_rates = (0.003, 0.01, 0.03, 0.09)
    config.racing_slack = 1.25
    config.target_train_error = 0.4
    config.thresholds = (0.7, 0.6, 0.5, 0.45, 0.4)
    config.compare.further = ("equal_test_error",)
    config.fresh_seeds = (100, 101, 102)
    config.max_epochs = 15.0
    config.test_every_epochs = 0.5
    return config
