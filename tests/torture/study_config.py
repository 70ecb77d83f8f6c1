"""The study that is tortured: ReLU against tanh on 8 by 8 pixels, eight trials of a second."""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "tiny"
    config.sweep.model = ConfigDict({"activation": ("relu", "tanh")})
    config.batch_size = 16
    config.max_epochs = 8.0
    config.target_train_error = 0.4
    config.thresholds = (0.6, 0.5, 0.4)
    config.points_per_epoch = 4
    config.test_every_epochs = 2.0
    config.checkpoint_every_epochs = 0.5
    config.learning_rates = (0.005, 0.02)
    config.fresh_seeds = (1, 2)
    return config
