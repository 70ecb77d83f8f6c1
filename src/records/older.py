"""What a record means that was written before a field existed.

A study without the field could only do what is given here; so it is read, and goes on. Whoever adds
a field to `configs/base.py` adds to this what studies did before it.
"""

from collections.abc import Mapping
from typing import Any

from src.config.arms import laid_over

BEFORE: dict[str, Any] = {
    "data": {"stream_size": 0},
    "augment": {"crop": 0, "translation": 0, "flip": False, "noise": 0.0, "pca": 0.0},
    "schedule": {
        "name": "constant",
        "factor": 0.1,
        "boundaries": [],
        "patience": 5,
        "drops": 3,
    },
    "train_images": 0,
    "validation_images": 0,
    "test_crops": 1,
    "variants": {},
    "model_options": {},
}


def completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """A study's config, or a trial's, with what it lacks."""
    return laid_over(BEFORE, config)
