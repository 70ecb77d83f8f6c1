"""A narrow AlexNet on CIFAR-10, one training: the network behind the paper's Figs. 3 and 4.

Run:     python -m src.main --config=configs/paper_figures.py
         python -m src.paper_figures runs/paper_figures/trials/*
Result:  none yet on the original data: experiments/open.md
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.name = "alexnet_cifar"
    config.model.width = 0.34  # 32 kernels in conv1: minutes an epoch on one core
    config.model.dropout = 0.0  # seven epochs overfit little, and dropout needs more of them
    config.learning_rates = (0.02,)
    # four times the paper's: what the kernels began with fades within minutes, not days
    config.weight_decay = 0.002
    config.schedule.name = "steps"
    config.schedule.boundaries = (5.5,)
    config.max_epochs = 7.0
    config.stop_at_target = False
    return config
