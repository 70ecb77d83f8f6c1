"""Whoever adds something of their own needs at most two files: docs/own.md, done as it stands."""

import importlib
import io
import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import configs
from src import data, own, write_tfds
from src.analysis.study import load_study
from src.config import flags
from src.config.config import Config
from src.data import Dataset
from src.errors import Stopped
from src.models import registry
from src.records import study as records
from src.reports import compose
from src.reports.figures import registry as figures
from src.study import runner
from src.training.finished import read_kept
from src.training.program import Program
from src.trees import replaced
from tests import tiny
from tests.test_runner import at_point

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("compiled_fast"),
    pytest.mark.filterwarnings("ignore:the load_module"),  # A warning of ml_collections.
]
ROOT = Path(__file__).parent.parent
DATASET, LOAD = tiny.make_dataset(64, 16), data.load
SMALL = {
    "batch_size": 16, "max_epochs": 1.0, "points_per_epoch": 2, "test_every_epochs": 1.0,
    "learning_rates": (0.02,), "fresh_seeds": (100,), "workers": 1, "tensorboard": False,
}  # fmt: skip


def blocks(page: str, heading: str) -> list[str]:
    """The Python under a heading of a page, as it stands there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    part = re.split(rf"^## {re.escape(heading)}$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes configs/mine.py into a folder of its own, where it is found beside our configs."""
    folder = tmp_path / "project" / "configs"
    folder.mkdir(parents=True)
    monkeypatch.setattr(configs, "__path__", [str(folder), *configs.__path__])
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(data, "load", lambda *_, **options: DATASET)

    def write_mine(text: str) -> None:
        (folder / "mine.py").write_text(text, encoding="utf-8")
        importlib.invalidate_caches()
        forget()

    yield write_mine
    forget()


def forget() -> None:
    sys.modules.pop("configs.mine", None)
    if hasattr(configs, "mine"):
        del configs.mine
    registry.options_of.cache_clear()
    own.read_source.cache_clear()


def read(**changes: Any) -> Config:
    """The study of configs/mine.py, small."""
    ((tree, _),) = flags.parse(["--config=configs/mine.py"]).studies()
    for path, value in {**SMALL, **changes}.items():
        tree = replaced(tree, tuple(path.split("__")), value)
    return Config.read(tree)


def facts_of(dataset: Dataset) -> dict[str, Any]:
    return {
        "dataset": dataset.name, "digest": dataset.digest, "device": "1 x cpu",
        "jax_version": "0.10", "commit": "abc", "num_classes": dataset.num_classes,
        "image_shape": dataset.train.images.shape[1:],
    }  # fmt: skip


def run(config: Config, workdir: Path, dataset: Dataset = DATASET) -> str:
    """Runs a study; its report."""
    runner.run_study(config, workdir, facts_of(dataset), 1)
    compose.write_report(workdir)
    return (workdir / "report.md").read_text(encoding="utf-8")


def rows(workdir: Path) -> dict[str, dict[str, Any]]:
    return {trial.row["trial"]: trial.row for trial in records.read_finished(workdir)}


def test_an_activation(write, tmp_path):
    (block,) = blocks("README.md", "Ask a question")
    assert len(block.splitlines()) < 30
    write(block)
    run(read(learning_rates=(1e-4,)), tmp_path / "out")  # At the usual rate it diverges.
    first = {
        row["activation"]: trial.metrics["train_loss"][0]
        for trial in records.read_finished(tmp_path / "out")
        for row in [trial.row]
    }
    assert first.keys() == {"relu", "configs.mine.squared_relu"}
    assert len(set(first.values())) == 2  # not ReLU by that name
    (trial_dir,) = (tmp_path / "out" / "trials").glob("*squared_relu*")
    iteration = read_kept(trial_dir, finished=True).iteration
    write(block + "\n\ndef other(x):\n    return x\n")
    assert read_kept(trial_dir, finished=True).iteration == iteration > 0
    write(block.replace("(x) ** 2", "(x) ** 3"))
    with pytest.raises(
        own.CodeError, match=r"squared_relu.* was made with another configs\.mine\."
    ):
        read_kept(trial_dir, finished=True)


def test_a_network_with_batch_normalization(write, tmp_path):
    (block,) = blocks("docs/own.md", "A network")
    write(block)
    run(read(model__features=4), tmp_path / "out")
    found = rows(tmp_path / "out")
    assert sorted(row["normalize"] for row in found.values()) == [False, True]
    assert all(row["model"] == "configs.mine.Net" for row in found.values())


def test_running_means_change_and_are_equal_on_eight_devices(write):
    (block,) = blocks("docs/own.md", "A network")
    write(block)
    settings = read(model__features=4).arms[1].settings
    program = Program(settings, DATASET)
    assert len(program.devices) == 8
    begun = jax.device_get(program.start(0))
    step_fn = program.prepare(0, 0.02, 2)
    rows_of = np.tile(np.arange(16), (2, 1))
    state, _ = step_fn(program.start(0), lambda steps: iter([rows_of]))
    for before, now in zip(
        jax.tree.leaves(begun.model_state), jax.tree.leaves(state.model_state), strict=True
    ):
        copies = [np.asarray(shard.data) for shard in now.addressable_shards]
        assert len(copies) == 8
        for copy in copies[1:]:
            np.testing.assert_array_equal(copies[0], copy)
        assert np.any(copies[0] != before)
    assert len(jax.tree.leaves(begun.model_state)) == 2  # mean and variance of norm1


def test_running_means_are_those_of_flax(write, monkeypatch):
    """After one step from mean 0: 0.99 x 0 + 0.01 x the mean of what conv1 computes."""
    (block,) = blocks("docs/own.md", "A network")
    write(block)
    devices = jax.devices()
    monkeypatch.setattr(jax, "devices", lambda: devices[:1])
    program = Program(read(model__features=4).arms[1].settings, DATASET)
    begun = jax.device_get(program.start(0))
    step_fn = program.prepare(0, 0.02, 1)
    state, _ = step_fn(program.start(0), lambda steps: iter([np.arange(16)[None]]))
    *_, shift, scale = jax.device_get(program.data["train"])
    images = ((DATASET.train.images[:16] - shift) / scale).astype(np.float32)
    kernel = begun.params["conv1"]["kernel"]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    means = np.einsum("nhwcij,ijco->nhwo", windows, kernel).mean((0, 1, 2))
    (ours,) = (
        leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(jax.device_get(state.model_state))
        if path[-1].key == "mean"
    )
    np.testing.assert_allclose(np.ravel(ours), 0.01 * means, rtol=1e-3, atol=1e-6)


def test_running_means_survive_an_interruption(write, tmp_path, monkeypatch):
    (block,) = blocks("docs/own.md", "A network")
    write(block)
    config = read(
        model__features=4, max_epochs=2.0, target_train_error=0.01, thresholds=(0.01,),
        sweep={"model": {"normalize": (True,)}}, compare__baseline=True,
        checkpoint_every_epochs=100.0,
    )  # fmt: skip
    run(config, tmp_path / "whole")
    at_point(monkeypatch, 2, lambda: runner.signal.raise_signal(runner.signal.SIGTERM))
    with pytest.raises(Stopped):
        run(config, tmp_path / "stopped")
    assert len(list(tmp_path.glob("stopped/trials/*/checkpoints/[0-9]*"))) == 1
    run(config, tmp_path / "stopped")
    (whole,), (stopped,) = (records.read_finished(tmp_path / name) for name in ("whole", "stopped"))
    assert stopped.row["final_test_error"] == whole.row["final_test_error"]  # uses the means
    np.testing.assert_array_equal(stopped.metrics["train_loss"], whole.metrics["train_loss"])


def test_an_optimizer(write, tmp_path):
    (block,) = blocks("docs/own.md", "An optimizer")
    write(block)
    run(read(), tmp_path / "out")
    assert {row["recipe"] for row in rows(tmp_path / "out").values()} == {"modern", "lion"}
    header = records.read_study_header(tmp_path / "out")
    assert "configs.mine.lion" in header["own_code"]
    write(block.replace("scale_by_lion", "scale_by_adam").replace("b1=recipe.momentum", ""))
    with pytest.raises(Exception, match=r"own_code\.configs\.mine\.lion was"):
        run(read(), tmp_path / "out")


def test_a_measure(write, tmp_path):
    (block,) = blocks("docs/own.md", "A measure")
    write(block)
    config = read(fresh_seeds=(100, 101))
    report = run(config, tmp_path / "out")
    assert "gap between test and training error" in report
    study = load_study(tmp_path / "out")
    gaps = {False: [], True: []}
    for trial in study.trials:
        row = trial.row
        gaps[row["flip"]].append(row["final_test_error"] - row["final_train_error"])
    points = 100 * (np.mean(gaps[True]) - np.mean(gaps[False]))
    assert f"{points:+.1f}" in report


def test_a_data_set_of_a_function(write, tmp_path, monkeypatch):
    (block,) = blocks("docs/own.md", "A data set")
    write(block.replace("2000", "64").replace("500", "16"))
    monkeypatch.setattr(data, "load", LOAD)
    dataset = data.load("configs.mine.load")
    assert isinstance(dataset, Dataset)
    assert dataset.train.images.shape == (64, 16, 16, 3)
    run(read(), tmp_path / "out", dataset)
    assert {row["dataset"] for row in rows(tmp_path / "out").values()} == {"configs.mine.load"}


def test_a_data_set_of_a_folder_of_images(write, tmp_path, monkeypatch, capsys):
    write(blocks("README.md", "Ask a question")[0])
    monkeypatch.setattr(data, "load", LOAD)
    for label, name in enumerate(("daisies", "roses")):
        folder = tmp_path / "flowers" / name
        folder.mkdir(parents=True)
        for i, image in enumerate(DATASET.train.images[label * 20 : label * 20 + 20]):
            content = io.BytesIO()
            Image.fromarray(image).save(content, "PNG")
            (folder / f"{i}.png").write_bytes(content.getvalue())
    where = str(tmp_path / "data")
    assert write_tfds.main(["flowers", str(tmp_path / "flowers"), f"--data_dir={where}"]) == 0
    assert "32 images to train on, 8 to test on, 2 classes" in capsys.readouterr().out
    dataset = data.load("flowers", where)
    assert isinstance(dataset, Dataset)
    run(read(data__name="flowers", data__dir=where), tmp_path / "out", dataset)
    assert {row["dataset"] for row in rows(tmp_path / "out").values()} == {"flowers"}


def test_a_figure(write, tmp_path, monkeypatch):
    block, row = blocks("docs/own.md", "A figure")
    names: dict[str, Any] = {"Row": figures.Row, "_always": figures._always}
    exec(block, names)  # as src/reports/figures/mine.py
    monkeypatch.setattr(figures, "FIGURES", (*figures.FIGURES, eval(row, names)))
    write(blocks("README.md", "Ask a question")[0])
    report = run(read(), tmp_path / "out")
    assert "(losses.png)" in report
    assert (tmp_path / "out" / "losses.png").stat().st_size > 1000
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'alt="Training loss by epoch, one line a trial"' in page
