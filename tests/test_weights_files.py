"""Files of weights: every format read back, and refused in one line where it is not sound."""

import hashlib
import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from src.weights.caffe import read_binaryproto
from src.weights.read import READERS, read_weights
from src.weights.tensors import WeightsError
from tests import weight_files

RNG = np.random.default_rng(0)
ARRAYS = {
    "conv1/weight": RNG.normal(size=(4, 3, 5, 5)).astype(np.float32),
    "conv1/bias": RNG.normal(size=4).astype(np.float32),
    "fc2/weight": RNG.normal(size=(6, 4)).astype(np.float32),
    "fc2/bias": RNG.normal(size=6).astype(np.float32),
}


def torch_names() -> dict[str, np.ndarray]:
    return {name.replace("/", "."): array for name, array in ARRAYS.items()}


def torch_file(path: Path, **how: bool) -> Path:
    torch = pytest.importorskip("torch")
    state = {name: torch.tensor(array) for name, array in torch_names().items()}
    torch.save(state, path, **how)
    return path


def npy_layers() -> dict[str, list[np.ndarray]]:
    return {
        layer: [ARRAYS[f"{layer}/weight"], ARRAYS[f"{layer}/bias"]] for layer in ("conv1", "fc2")
    }


WRITERS = {
    "new.caffemodel": lambda path: weight_files.caffemodel(path, ARRAYS),
    "old.caffemodel": lambda path: weight_files.caffemodel(path, ARRAYS, older=True),
    "zip.pth": torch_file,
    "net.pth.tar": torch_file,
    "stream.pth": lambda path: torch_file(path, _use_new_zipfile_serialization=False),
    "dictionary.npy": lambda path: weight_files.npy(path, npy_layers()),
    "net.safetensors": lambda path: weight_files.safetensors(path, torch_names()),
    "net.onnx": lambda path: weight_files.onnx(path, torch_names()),
}


def check(found: dict[str, np.ndarray]) -> None:
    found = {name.replace(".", "/"): array for name, array in found.items()}
    assert found.keys() == ARRAYS.keys()
    for name, expected in ARRAYS.items():
        array = found[name]
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array.reshape(expected.shape), expected)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read_back(name, tmp_path):
    check(read_weights(WRITERS[name](tmp_path / name)).tensors)


@pytest.mark.parametrize("how", [{"pieces": 3}, {"doubles": True}, {"older": True, "pieces": 2}])
def test_a_caffemodel_may_hold_pieces_and_doubles(how, tmp_path):
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", ARRAYS, **how)
    check(read_weights(path).tensors)


def test_a_new_container_may_hold_blobs_of_the_older_shape(tmp_path):
    conv, fc = (ARRAYS[f"{layer}/weight"] for layer in ("conv1", "fc2"))
    layers = [
        weight_files.message((1, name), (2, "Convolution"), (7, weight_files.blob(a, older=True)))
        for name, a in (("conv1", conv), ("fc2", fc))
    ]
    path = tmp_path / "a.caffemodel"
    path.write_bytes(weight_files.message(*((100, layer) for layer in layers)))
    shapes = {name: array.shape for name, array in read_weights(path).tensors.items()}
    assert shapes == {"conv1/weight": (4, 3, 5, 5), "fc2/weight": (1, 1, 6, 4)}


def test_the_types_of_the_layers_come_in_order(tmp_path):
    kinds = ("Pooling", "LRN")
    for older in (False, True):
        path = weight_files.caffemodel(tmp_path / "a.caffemodel", ARRAYS, older=older, layers=kinds)
        assert read_weights(path).layers == ("Convolution", "InnerProduct", *kinds)
    path = weight_files.onnx(tmp_path / "a.onnx", ARRAYS, layers=("Conv", "LRN", "MaxPool"))
    assert read_weights(path).layers == ("Convolution", "LRN", "Pooling")


def test_onnx_may_hold_a_list_of_floats_and_tensors_of_whole_numbers(tmp_path):
    path = weight_files.onnx(tmp_path / "a.onnx", torch_names(), raw=False)
    shape = weight_files.message((1, 2), (2, 7), (9, b"\0" * 16), (8, "a_shape"))
    graph = weight_files.message((5, shape))
    path.write_bytes(path.read_bytes() + weight_files.message((7, graph)))
    check(read_weights(path).tensors)


def test_a_mean_image(tmp_path):
    image = np.random.default_rng(0).normal(100, 20, (1, 3, 8, 8)).astype(np.float32)
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(weight_files.blob(image, older=True))
    np.testing.assert_array_equal(read_binaryproto(path), image[0])


@pytest.mark.parametrize("kind", ["f2", "f8"])
def test_npy_arrays_of_other_widths_orders_and_dictionaries(kind, tmp_path):
    weight = np.asfortranarray(ARRAYS["fc2/weight"].astype(kind))
    bias = ARRAYS["fc2/bias"].astype(">f4")
    path = weight_files.npy(tmp_path / "a.npy", {"fc2": {"weights": weight, "biases": bias}})
    tensors = read_weights(path).tensors
    np.testing.assert_array_equal(tensors["fc2/weight"], weight.astype(np.float32))
    np.testing.assert_array_equal(tensors["fc2/bias"], ARRAYS["fc2/bias"])


def test_npy_as_python_2_wrote_it(tmp_path):
    """Its strings hold the arrays' bytes; read as latin-1 they are the same numbers."""
    bias = ARRAYS["fc2/bias"]
    text = bias.tobytes().decode("latin1").encode("latin1")
    pickled = (
        b"\x80\x02}U\x03fc2]cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b"
        b"\x87R(K\x01K\x06\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(text)) + text + b"tbas."
    )
    path = tmp_path / "a.npy"
    np.save(path, np.array(None), allow_pickle=True)
    head = path.read_bytes()[:128]
    path.write_bytes(head + pickled)
    np.testing.assert_array_equal(read_weights(path).tensors["fc2/weight"], bias)


def test_torch_tensors_that_are_windows_of_others(tmp_path):
    torch = pytest.importorskip("torch")
    whole = torch.arange(24.0).reshape(4, 6)
    state = {"a": whole.T, "b": whole[1:3, ::2], "c": whole.double(), "n": torch.tensor(7)}
    for how in (True, False):
        torch.save(
            {"epoch": 3, "state": state}, tmp_path / "a.pt", _use_new_zipfile_serialization=how
        )
        found = read_weights(tmp_path / "a.pt").tensors
        assert found.keys() == {"a", "b", "c"}  # a count of batches is no weight
        for name, array in found.items():
            np.testing.assert_array_equal(array, state[name].numpy())


@pytest.mark.parametrize("start", [8, 7])
def test_a_published_name_that_ends_in_the_sum_of_its_file_is_held_to_it(start, tmp_path):
    path = torch_file(tmp_path / "a.pth")
    name = hashlib.sha256(path.read_bytes()).hexdigest()[8 - start : 16 - start]
    named = path.rename(tmp_path / f"alexnet-owt-{name}.pth")
    if start == 8:
        check(read_weights(named).tensors)
    else:
        with pytest.raises(WeightsError, match=f"begins with {name}; download it again, or rename"):
            read_weights(named)


@pytest.mark.parametrize("name", ["alexnet-20261127.pth", "model-deadbeef.pth"])
def test_other_names_may_end_in_a_date_or_a_commit(name, tmp_path):
    check(read_weights(torch_file(tmp_path / name)).tensors)


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("entry", ["state_dict", "model", "net"])
def test_a_checkpoint_of_a_training_program_gives_its_network(entry, zipped, tmp_path):
    """As PyTorch's ImageNet example writes it: the best score is a tensor, momentum lies deep."""
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
    saved = {"epoch": 3, "arch": "alexnet", "best_acc1": torch.tensor(12.5), entry: state}
    saved |= {"optimizer": optimizer.state_dict(), "noise": [torch.ones(9)]}
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    found = read_weights(tmp_path / "a.pth").tensors
    assert found.keys() == {"weight", "bias"}
    for name, tensor in state.items():
        np.testing.assert_array_equal(found[name], tensor.numpy())


def test_the_network_is_taken_where_another_entry_has_more_tensors(tmp_path):
    torch = pytest.importorskip("torch")
    averages = {name: torch.zeros(1) for name in "abc"}
    torch.save({"averages": averages, "model": {"w": torch.ones(1)}}, tmp_path / "a.pth")
    assert read_weights(tmp_path / "a.pth").tensors.keys() == {"w"}


def test_a_torch_tensor_may_be_empty(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2), "seen": torch.empty(0, 4)}, tmp_path / "a.pth")
    shapes = {name: t.shape for name, t in read_weights(tmp_path / "a.pth").tensors.items()}
    assert shapes == {"w": (2,), "seen": (0, 4)}


# --- What is not sound. ---


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["zip.pth", "stream.pth", "dictionary.npy"])
def test_a_hostile_pickle_is_refused_and_does_nothing(name, tmp_path):
    path, trace = tmp_path / name, tmp_path / "written"
    if name == "dictionary.npy":
        weight_files.npy(path, {"conv1": [Hostile(trace), Hostile(trace)]})
    elif name == "zip.pth":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"a": Hostile(trace)}, protocol=2))
    else:
        path.write_bytes(pickle.dumps({"a": Hostile(trace)}, protocol=2))
    with pytest.raises(WeightsError, match=rf"{name}.*'\w*io.open', which is no tensor") as caught:
        read_weights(path)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (b"\x80\x02cbuiltins\neval\nX\x03\0\0\0" + b"1+1\x85R.", "'builtins.eval', which is no"),
        (b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.", "'os.system', which is no tensor"),
        (b"\x80\x02ccollections\nOrderedDict.__init__\n.", "which is no tensor"),
        (b"\x80\x02ccollections\nOrderedDict\n}X\1\0\0\0aK\1sb.", "it changes a function"),
        (b"\x80\x02K\x01r\xff\xff\xff\xff.", "longer than any list of tensors"),
        (b"\x80\x02" + 100_001 * b"\x85" + b".", "longer than any list of tensors"),
        (b"\x80\x02K\x01Q.", "refers to something outside itself"),
        (b"\x80\x02}X\xff\0\0\0", "its pickle is refused"),
        (b"", "its pickle is refused"),
    ],
)
def test_pickles_that_are_no_tensors(pickled, message, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.array(None), allow_pickle=True)
    path.write_bytes(path.read_bytes()[:128] + pickled)
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


@pytest.mark.parametrize("name", WRITERS)
def test_a_truncated_file_is_refused_in_one_line(name, tmp_path):
    path = WRITERS[name](tmp_path / name)
    content = path.read_bytes()
    for size in (0, 1, 7, len(content) // 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(WeightsError, match=name) as caught:
            read_weights(path)
        assert "\n" not in str(caught.value)


def test_a_truncated_caffemodel_names_the_tensor(tmp_path):
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", ARRAYS)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[: len(content) - 100])
    with pytest.raises(WeightsError, match=r"behind tensor conv1/bias: field 100 at byte .* lacks"):
        read_weights(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_flipped_bytes_give_one_line_or_other_numbers_but_no_traceback(name, tmp_path):
    path = WRITERS[name](tmp_path / name)
    content, refused = path.read_bytes(), 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        flipped = bytearray(content)
        flipped[rng.integers(len(content))] ^= int(rng.integers(1, 256))
        path.write_bytes(flipped)
        try:
            tensors = read_weights(path).tensors
            assert all(np.isfinite(tensor).all() for tensor in tensors.values())
        except WeightsError as error:
            assert "\n" not in str(error)
            assert name in str(error)
            refused += 1
    assert refused  # among them are some that hit the structure, not the numbers


def test_numbers_that_are_none_name_their_tensor(tmp_path):
    broken = {**ARRAYS, "fc2/weight": np.full((6, 4), np.nan, np.float32)}
    path = weight_files.caffemodel(tmp_path / "a.caffemodel", broken)
    with pytest.raises(WeightsError, match=r"tensor fc2/weight holds infinity or NaN"):
        read_weights(path)


def test_a_shape_that_its_values_do_not_fill_names_the_tensor(tmp_path):
    fields = [(1, 7), (5, np.zeros(6, "<f4").tobytes())]
    layer = weight_files.message((1, "conv1"), (7, weight_files.message(*fields)))
    path = tmp_path / "a.caffemodel"
    path.write_bytes(weight_files.message((100, layer)))
    with pytest.raises(WeightsError, match=r"tensor conv1/weight has 6 values, .*\(7, 1, 1, 1\)"):
        read_weights(path)


@pytest.mark.parametrize("suffix", READERS)
def test_a_missing_file_and_an_unknown_kind(suffix, tmp_path):
    with pytest.raises(WeightsError, match=r"cannot read .*nothing"):
        read_weights(tmp_path / f"nothing{suffix}")
    with pytest.raises(WeightsError, match=r"is of no known kind; known are .caffemodel, .pth"):
        read_weights(tmp_path / f"nothing{suffix}.h5")


# --- Hostile, and others in their place. ---


def torch_window(size: tuple[int, ...], strides: tuple[int, ...]) -> bytes:
    """A .pth whose one tensor is that window of two numbers."""

    class Torch(pickle._Pickler):
        """Writes references to PyTorch's functions without PyTorch."""

        def save(self, obj, save_persistent_id=True):
            if isinstance(obj, Reference):
                return self.write(f"c{obj.module}\n{obj.name}\n".encode())
            return super().save(obj, save_persistent_id)

        def persistent_id(self, obj):
            return obj.pid if isinstance(obj, Stored) else None

    class Reference:
        def __init__(self, module: str, name: str):
            self.module, self.name = module, name

    class Stored:
        pid = ("storage", Reference("torch", "FloatStorage"), "0", "cpu", 2)

    class Tensor:
        def __reduce__(self):
            return Rebuild(), (Stored(), 0, size, strides)

    class Rebuild(Reference):
        def __init__(self):
            super().__init__("torch._utils", "_rebuild_tensor")

        def __call__(self):
            """Never: it is pickled."""

    pickled, archived = io.BytesIO(), io.BytesIO()
    Torch(pickled, 2).dump({"w": Tensor()})
    with zipfile.ZipFile(archived, "w") as archive:
        archive.writestr("net/data.pkl", pickled.getvalue())
        archive.writestr("net/data/0", np.ones(2, "<f4").tobytes())
    return archived.getvalue()


@pytest.mark.parametrize(
    ("size", "strides", "message"),
    [
        ((2,), (1,), ""),
        ((1, 2, 1), (2**70, 1, 2**70), ""),  # nobody takes a step along an axis of one
        ((1,) * 65, (0,) * 65, "tensor w: .* 64"),
        ((2, 0), (1, 2), ""),
        ((2**70, 0), (1, 1), "tensor w: "),
        ((2, 0), (2**70, 1), "tensor w: "),
        ((2**70,), (0,), "tensor w uses numbers twice"),
        ((2**40, 2**40), (0, 0), "tensor w uses numbers twice"),
        ((2,), (2**70,), "tensor w reaches beyond its numbers"),
    ],
)
def test_a_torch_tensor_of_absurd_axes_is_one_line(size, strides, message, tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(torch_window(size, strides))
    if not message:
        assert read_weights(path).tensors["w"].shape == size
        return
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


@pytest.mark.parametrize("size", [2**70, -1])
def test_a_torch_storage_of_absurd_size_is_one_line(size, tmp_path):
    """In the older stream, whose storages may lie anywhere in the saved object."""
    number = pickle.dumps(size, protocol=2)[2:-1]
    stored = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpu" + number + b"tQ"
    pickled = [pickle.dumps(each, protocol=2) for each in (0x1950A86A20F9469CFC6C, 1001, {})]
    pickled += [b"\x80\2]" + stored + b"a.", pickle.dumps(["0"], protocol=2), bytes(8)]
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(pickled))
    with pytest.raises(WeightsError, match="refers to something that is no storage"):
        read_weights(path)


def test_a_torch_file_of_a_big_endian_machine_is_refused(tmp_path):
    """Its numbers, read from the other end, would be others."""
    for order in ("little", "big"):
        path = tmp_path / f"{order}.pth"
        path.write_bytes(torch_window((2,), (1,)))
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("net/byteorder", order)
    assert read_weights(tmp_path / "little.pth").tensors["w"].tolist() == [1, 1]
    with pytest.raises(WeightsError, match=r"big.pth was written on a big-endian machine; save it"):
        read_weights(tmp_path / "big.pth")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("F8_E4M3", "tensor w: .*float8"),
        ("F8_E5M2", "tensor w: .*float8"),
        ("I16", "holds no tensors of floating point"),
    ],
)
def test_safetensors_of_numbers_that_numpy_does_not_have(kind, message, tmp_path):
    path, width = tmp_path / "a.safetensors", 1 if kind.startswith("F8") else 2
    about = {"w": {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * width]}}
    header = json.dumps(about).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(2 * width))
    with pytest.raises(WeightsError, match=message):
        read_weights(path)


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors", "a.onnx"])
def test_bfloat16_is_read(name, tmp_path):
    """One and a half and minus two, by their bits."""
    path, bits = tmp_path / name, struct.pack("<HH", 0x3FC0, 0xC000)
    if name == "a.pth":
        torch = pytest.importorskip("torch")
        torch.save({"w": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)}, path)
    elif name == "a.onnx":
        tensor = weight_files.message((1, 2), (2, 16), (8, "w"), (9, bits))
        path.write_bytes(weight_files.message((7, weight_files.message((5, tensor)))))
    else:
        header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
        path.write_bytes(struct.pack("<Q", len(header)) + header + bits)
    np.testing.assert_array_equal(read_weights(path).tensors["w"], np.float32([1.5, -2]))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([(14, 1)], "tensor w lies in another file; save the model in one"),
        # One and a half in 16 bits is 0x3E00, which ONNX lists as a whole number.
        ([(2, 10), (5, weight_files.varint(0x3E00))], "whole numbers .* in float32"),
    ],
)
def test_sound_onnx_that_is_not_read_is_not_called_damaged(fields, message, tmp_path):
    tensor = weight_files.message((1, 1), (2, 1), (8, "w"), *fields)
    path = tmp_path / "a.onnx"
    path.write_bytes(weight_files.message((7, weight_files.message((5, tensor)))))
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(path)
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("suffix", [*READERS, ".binaryproto"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "web page.*download it again"),
    ],
)
def test_what_lies_in_the_place_of_a_file_is_called_by_its_name(suffix, content, message, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=message):
        (read_binaryproto if suffix == ".binaryproto" else read_weights)(path)
