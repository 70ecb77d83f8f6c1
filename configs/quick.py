"""ReLU vs tanh, small: the question of relu_vs_tanh.py at 40% training error, at fixed rates.

Run:     make run, or python -m src.main --config=configs/quick.py
Rates:   those that relu_vs_tanh.py chose on a JPEG copy of the data, with another seed; one
         seed, so no interval. Where CIFAR-10 cannot be had, the built-in images take its place and
         say so.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.fallback = "procedural"
    config.sweep.recipe = ("cuda_convnet", "modern")
    # The slower one comes first, see relu_vs_tanh.py.
    config.sweep.model = ConfigDict({"activation": ("tanh", "relu")})
    config.arm_learning_rates = ConfigDict(
        {
            "conv3-cuda_convnet-relu": (0.002,),
            "conv3-cuda_convnet-tanh": (0.008,),
            "conv3-modern-relu": (0.01,),
            "conv3-modern-tanh": (0.02,),
        }
    )
    config.target_train_error = 0.4
    config.thresholds = (0.5, 0.45, 0.4)
    config.max_epochs = 25.0
    return config
