"""AlexNet a third as wide on CIFAR-10, three seeds: the networks behind the paper's Figs. 3 and 4.

Run:     python -m src.main --config=configs/paper_figures.py
         python -m src.paper_figures runs/paper_figures/trials/*
Result:  experiments/paper_figures/

A third of the features and six epochs are for one core. More of both: --config.model.width=1
--config.max_epochs=60 --config.schedule.boundaries="(45.0,)"

Predicted, before the first trial on the original data:
- The towers are further apart in colour than the same kernels dealt to towers at random (p at most
  0.05) in at least two of the three runs. One run on a JPEG copy had 37% and 8%.
- Of the six training images nearest in the last hidden layer 60% to 75% are of an image's class,
  nearest in pixels 25% to 31%.
- Test errors lie between 21% and 27%.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.model.name = "alexnet_cifar"
    config.model.width = 0.34  # 32 kernels in conv1, for one core
    config.model.dropout = 0.0  # Six epochs overfit little, and dropout needs more of them.
    config.learning_rates = (0.02,)
    config.fresh_seeds = (100, 101, 102)  # the paper: "during every run"
    # Four times the paper's: what the kernels began with fades within minutes, not days.
    config.weight_decay = 0.002
    config.schedule.name = "steps"
    config.schedule.boundaries = (4.5,)
    config.max_epochs = 6.0
    config.stop_at_target = False
    return config
