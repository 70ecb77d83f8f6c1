"""Every field a study can set, with its default: one training of `conv3` on CIFAR-10, nothing
swept.

A study imports this, changes values and names what it sweeps; `src/config/checks.py` checks the
result. Any field can be changed from the command line, for example `--config.max_epochs=5
--config.model.activation=gelu`.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.data = ConfigDict()
    config.data.name = "cifar10"  # or "procedural", or any prepared TFDS image data set
    config.data.dir = ""  # TFDS data directory; empty: $TFDS_DATA_DIR, else ~/tensorflow_datasets
    config.data.stream_size = (
        0  # side of large images that are streamed from disk, 256 in the paper
    )
    config.data.fallback = (
        "none"  # "procedural": where the data cannot be had, say so and use the built-in set
    )

    # the name, the activation and any option of that model
    config.model = ConfigDict({"name": "conv3", "activation": "relu"})
    config.model_options = ConfigDict()  # name of a network: its options, where names are swept

    config.recipe = "modern"
    config.recipes = ConfigDict()
    # cuda-convnet's layer files of 2011, from whose code the paper's grew
    config.recipes.cuda_convnet = ConfigDict()
    config.recipes.cuda_convnet.input = "centered"  # pixels 0 to 255 minus the mean image
    config.recipes.cuda_convnet.init = "paper"  # normal, with the layer files' deviations
    config.recipes.cuda_convnet.momentum = 0.9
    config.recipes.cuda_convnet.bias_rate = 2.0  # biases learn at twice the rate
    config.recipes.cuda_convnet.shuffle = False  # file order, every epoch
    config.recipes.cuda_convnet.learning_rates = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)
    config.recipes.modern = ConfigDict()
    config.recipes.modern.input = "standardized"  # per channel, zero mean and unit variance
    config.recipes.modern.init = "modern"  # He for ReLU and its kin, Glorot for tanh and sigmoid
    config.recipes.modern.momentum = 0.9
    config.recipes.modern.bias_rate = 1.0
    config.recipes.modern.shuffle = True
    config.recipes.modern.learning_rates = (0.005, 0.01, 0.02, 0.04, 0.08)

    # Training images varied at random, on the device (paper, section 4.1). Off: nothing is drawn.
    config.augment = ConfigDict(
        {
            "crop": 0,  # side of a random square, tested on the central one; 0: whole images
            "translation": 0,  # pixels at most, up, down and sideways
            "flip": False,  # half of them, left to right
            "noise": 0.0,  # standard deviation, grey levels
            "pca": 0.0,  # standard deviation of the paper's alpha, which has 0.1
        }
    )

    config.batch_size = 128  # global: summed over all devices
    config.weight_decay = 0.0
    config.train_images = 0  # the first so many of the training set; 0: all
    config.validation_images = 0  # of the end of the training set, held out; tested every epoch
    config.schedule = ConfigDict(  # of the learning rate
        {
            "name": "constant",  # "steps": at epochs known before; "plateau": paper, section 5
            "factor": 0.1,  # of each drop
            "boundaries": (),  # steps: the epochs
            "patience": 5,  # plateau: epochs without a new best validation error
            "drops": 3,  # plateau: at most
        }
    )
    config.max_epochs = 60.0  # a trial that has not reached the target by then is censored
    config.target_train_error = 0.25  # fraction
    # training error as the images are seen; "frozen": whole training set, parameters fixed
    config.measure = "online"
    config.stop_at_target = True  # False: train for max_epochs all the same
    config.points_per_epoch = 10  # how often the training error is recorded
    config.test_crops = 1  # 10: softmax averaged over corners, centre and mirrors (section 4.1)
    config.test_every_epochs = 5.0  # and at the end
    config.checkpoint_every_epochs = 1.0

    # The study. Each combination of the sweep's values is an arm; each arm chooses its own learning
    # rate.
    config.sweep = ConfigDict()  # same shape as this config, a tuple where this has a value
    config.variants = ConfigDict()  # a further axis: name -> the fields it sets, same shape
    config.learning_rates = ()  # empty: the recipe's grid. One rate: nothing to choose
    config.arm_learning_rates = ConfigDict()  # name of an arm: its own grid, see --dry_run
    config.selection_seeds = (0,)  # every rate of the grid is tried with these
    config.fresh_seeds = (100,)  # the chosen rate is measured with these
    config.racing = True  # stop a selection trial once it can no longer win
    config.racing_slack = (
        1.5  # and once this much slower than the best so far to one of the thresholds
    )
    config.thresholds = (
        0.5,
        0.45,
        0.4,
        0.35,
        0.3,
        0.25,
    )  # training errors at which arms are compared
    config.compare = ConfigDict(
        {
            "field": "activation",  # arms that differ in this alone are compared,
            "baseline": "relu",  # each with this one
        }
    )

    # How it is run: these change no number.
    config.parallel = "pmap"  # or "shard_map"
    config.workers = 0  # trials side by side; 0: one per core without an accelerator, else one
    config.tensorboard = True  # event files beside metrics.csv, for who looks while it runs
    return config
