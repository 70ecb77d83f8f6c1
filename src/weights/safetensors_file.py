"""safetensors files, by the library of that name."""

from pathlib import Path

import numpy as np

from src.weights.tensors import WeightsError, WeightsFile, damaged, make_tensor


def read_safetensors(path: Path) -> WeightsFile:
    """All tensors of floating point.

    Raises:
        WeightsError: If the file cannot be read or is damaged.
    """
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    tensors, name = {}, "none"
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                tensor = file.get_tensor(name)
                if np.issubdtype(tensor.dtype, np.floating):
                    tensors[name] = make_tensor(path, name, tensor, tensor.shape)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, TypeError, ValueError) as error:
        raise damaged(path, f"tensor {name}", error) from error
    return WeightsFile(path, tensors)
