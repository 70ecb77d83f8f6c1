"""The networks, by name. They know shapes and activations, never configs."""

from src.models.activations import ACTIVATION_NAMES, get_activation
from src.models.registry import (
    MODEL_NAMES,
    ModelSettings,
    image_size,
    make_model,
    model_options,
)

__all__ = [
    "ACTIVATION_NAMES",
    "MODEL_NAMES",
    "ModelSettings",
    "get_activation",
    "image_size",
    "make_model",
    "model_options",
]
