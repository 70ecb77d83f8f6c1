"""AlexNet's Fig. 2: what its boxes say, and which layers read both towers."""

import pytest

from src import models
from src import networks as command
from src.errors import LabError
from src.models.summary import summarize
from src.reports.figures import network as drawing
from src.reports.figures.network import Box

pytestmark = pytest.mark.usefixtures("compiled_alike")


def boxes_of(towers: int) -> list[Box]:
    model = models.make_model(
        "alexnet", activation="relu", init_scheme="paper", num_classes=1000, towers=towers
    )
    return drawing.make_boxes(summarize(model, 227), 227, towers)


@pytest.mark.slow
def test_the_boxes_are_those_of_fig_2():
    image, *boxes = boxes_of(2)
    assert (image.side, image.features) == (227, 3)
    # fmt: off
    assert boxes == [  # name, side, features of a tower, kernel, reads both towers, side pooled
        Box("conv1", 55, 48, 11, True, 27),
        Box("conv2", 27, 128, 5, False, 13),
        Box("conv3", 13, 192, 3, True, 0),
        Box("conv4", 13, 192, 3, False, 0),
        Box("conv5", 13, 128, 3, False, 6),
        Box("fc6", 0, 2048, 0, True, 0),
        Box("fc7", 0, 2048, 0, True, 0),
        Box("fc8", 0, 1000, 0, True, 0),
    ]
    # fmt: on


@pytest.mark.slow
def test_one_tower_is_whole():
    boxes = boxes_of(1)
    assert [box.features for box in boxes] == [3, 64, 192, 384, 256, 256, 4096, 4096, 1000]
    assert [box.kernel for box in boxes[1:6]] == [11, 5, 3, 3, 3]
    assert all(box.sees_all for box in boxes)


@pytest.mark.slow
@pytest.mark.parametrize(("towers", "crossing"), [(2, 6), (1, 0)])
def test_lines_cross_where_a_layer_reads_both(towers, crossing):
    """conv3, fc6 and fc7, each in two lines; image and classes lie between the towers."""
    (axes,) = drawing.draw("title", boxes_of(towers), towers).axes
    lines = [tuple(line.get_ydata()) for line in axes.lines]
    rows = {y for line in lines for y in line}
    ends = {min(rows), max(rows)}
    assert sum(set(line) == ends and len(ends) == 2 for line in lines) == crossing
    shown = [text.get_text() for text in axes.texts]
    assert shown.count("fc8\n1,000") == 1
    assert shown.count("11 x 11") == towers


@pytest.mark.slow
def test_the_command_writes_the_figure_and_refuses_other_networks(tmp_path, capsys):
    assert command.main(["alexnet_cifar", "--draw", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "alexnet_cifar.png",
        "alexnet_cifar.svg",
    ]
    assert command.main(["alexnet_cifar", "--draw", str(tmp_path)]) == 0  # Its own it draws again.
    with pytest.raises(LabError, match=r"vgg11 cannot be drawn as in Fig\. 2: only an AlexNet can"):
        command.main(["vgg11", "--draw", str(tmp_path)])


@pytest.mark.slow
def test_a_figure_of_which_one_file_was_written_is_drawn_again(tmp_path, killed_after):
    with killed_after(1):
        command.main(["alexnet_cifar", "--draw", str(tmp_path)])
    assert command.main(["alexnet_cifar", "--draw", str(tmp_path)]) == 0
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet_cifar.png", "alexnet_cifar.svg"])
def test_a_file_that_was_not_drawn_here_keeps_its_place(tmp_path, name):
    (tmp_path / name).write_text("<svg>years of work</svg>")
    with pytest.raises(LabError, match=rf"{name} was not drawn by this command.*another --draw"):
        command.main(["alexnet_cifar", "--draw", str(tmp_path)])
    assert [path.read_text() for path in tmp_path.iterdir()] == ["<svg>years of work</svg>"]
