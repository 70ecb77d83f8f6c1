"""AlexNet a quarter as wide on ten classes of ImageNet: `alexnet_imagenet.py` for one core.

Run:     python -m src.main --config=configs/imagenette.py
         python -m src.evaluate runs/imagenette/trials/* --out=runs/imagenette/evaluation
         python -m src.paper_figures runs/imagenette/trials/*
Result:  experiments/imagenette/

A quarter of the features, 1,500 photographs and 50 epochs are for one core: 1,500 updates, so the
kernels are far from those of Fig. 3. Whole, on a GPU: --config.model.width=1 --config.max_epochs=90
--config.schedule.boundaries="(60.0, 80.0)" --config.augment.pca_epochs=70

Predicted, before the first trial:
- The test error in one view lies between 45% and 70%; chance is 90%.
- Ten views change it by less than 4 points, which 500 test images do not decide.
- What conv1 has learned is smooth: weights one pixel apart correlate at 0.3 or more.
"""

from ml_collections import ConfigDict

from configs import alexnet_imagenet


def get_config() -> ConfigDict:
    config = alexnet_imagenet.get_config()
    config.data.name = "imagenette"
    config.model.width = 0.25
    # DEVIATION: from N(0, 0.01) a net whose units have few inputs is slow to begin.
    config.recipe = "modern"
    # DEVIATION: He weights want standardized images, on which normalization is hardly more than a
    # constant factor; on grey levels the first loss is eighteen, and a rate of 0.0001 slow.
    config.recipes.modern.learning_rates = (0.01,)
    config.augment.shared = 1
    config.augment.pca_epochs = 40.0
    config.batch_size = 50  # So few images make enough updates.
    config.schedule.boundaries = (35.0, 45.0)
    config.schedule.bias_boundaries = ()
    config.schedule.slowed = ConfigDict()
    config.schedule.frozen = ConfigDict()
    config.max_epochs = 50.0
    config.test_every_epochs = 5.0
    return config
