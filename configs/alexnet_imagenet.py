"""AlexNet on ImageNet: one training as it was run for Table 2 of the paper (Krizhevsky et al.).

Run:     python -m src.main --config=configs/alexnet_imagenet.py
Result:  none yet: it has not been run.

The paper's text says less and in places something else: `alexnet_as_written.py` follows it, and
experiments/networks/README.md has both side by side. What is said here of rates and epochs is what
the author noted in `layer-params-145.cfg` (computerhistory/AlexNet-Source-Code).

`imagenet2012` prepared by TFDS as ArrayRecord is streamed from disk; `imagenette.py` is much the
same for ten of its classes.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "imagenet2012"
    config.data.stream_size = 256
    config.model.name = "alexnet_2012"
    config.recipe = "paper"
    config.recipes.paper = ConfigDict(
        {
            "input": "centered",  # section 2
            "init": "paper",  # N(0, 0.01), 0.03 in conv3 to conv5, some biases 1
            "momentum": 0.9,
            "bias_rate": 2.0,  # 0.02 beside 0.01
            # One order of the images, kept over epochs. DEVIATION: there it was the files' order,
            # which had been shuffled when they were made; TFDS sorts its files otherwise.
            "order": "permuted",
            "learning_rates": (0.01,),
        }
    )
    config.batch_size = 128
    config.weight_decay = 0.0005
    config.augment.crop = 224
    config.augment.flip = True
    config.augment.shared = 32  # four crops in a batch of 128
    config.augment.pca = 0.1
    config.augment.pca_epochs = 67.0  # DEVIATION: until then pixels were divided by 1.1 as well
    config.test_crops = 10
    config.schedule.name = "steps"
    config.schedule.boundaries = (25.0, 51.0, 79.0)
    config.schedule.bias_boundaries = (51.0,)  # one drop; of 145 itself the notes do not say when
    config.schedule.slowed = ConfigDict({"conv1": 67.0})
    config.schedule.frozen = ConfigDict({"conv1": 72.0})
    config.max_epochs = 91.0
    config.stop_at_target = False
    config.test_every_epochs = 10.0
    return config
