"""Reads any known file of weights, by the ending of its name."""

from collections.abc import Callable
from pathlib import Path

from src.weights.caffe import read_caffemodel
from src.weights.npy_dict import read_npy
from src.weights.onnx_file import read_onnx
from src.weights.safetensors_file import read_safetensors
from src.weights.tensors import WeightsError, WeightsFile, refuse_stand_in
from src.weights.torch_file import read_torch

READERS: dict[str, Callable[[Path], WeightsFile]] = {
    ".caffemodel": read_caffemodel,
    ".pth": read_torch,
    ".pt": read_torch,
    ".pth.tar": read_torch,  # PyTorch's ImageNet example calls its files so; they are no archives.
    ".npy": read_npy,
    ".safetensors": read_safetensors,
    ".onnx": read_onnx,
}


def read_weights(path: Path) -> WeightsFile:
    """Reads the tensors of a file.

    Raises:
        WeightsError: If its kind is unknown, it cannot be read or it is damaged.
    """
    name = path.name.lower()
    reader = next((reader for ending, reader in READERS.items() if name.endswith(ending)), None)
    if reader is None:
        raise WeightsError(f"{path} is of no known kind; known are {', '.join(READERS)}")
    refuse_stand_in(path)
    return reader(path)
