"""safetensors files, by the library of that name."""

from pathlib import Path

from src.weights.tensors import WeightsError, WeightsFile, damaged, make_tensor


def read_safetensors(path: Path) -> WeightsFile:
    """All tensors of floating point.

    Raises:
        WeightsError: If the file cannot be read or is damaged.
    """
    import ml_dtypes  # noqa: PLC0415  (teaches NumPy bfloat16)
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    tensors, name = {}, "none"
    try:
        with safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118  (no mapping)
                tensor = file.get_tensor(name)
                if tensor.dtype.kind == "f" or tensor.dtype == ml_dtypes.bfloat16:
                    tensors[name] = make_tensor(path, name, tensor, tensor.shape)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (SafetensorError, TypeError, ValueError, AttributeError) as error:  # NumPy's for float8
        raise damaged(path, f"tensor {name}", error) from error
    if not tensors:
        raise WeightsError(f"{path} holds no tensors of floating point")
    return WeightsFile(path, tensors)
