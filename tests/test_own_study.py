"""The study of one's own that the README shows, run as it stands there."""

import ast
import csv
import ctypes
import importlib
import io
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import own
from src.data import write_tfds as prepare
from src.records.trial import Identity
from src.study import question
from src.study.order import Queue
from src.study.runner import Follower
from src.study.worker import Job, StopFlag, run_jobs
from tests import tiny

ROOT = Path(__file__).parent.parent
SMALL = (
    "--workdir=out", "--config.data.dir=data", "--config.batch_size=16", "--config.workers=2",
    "--config.max_epochs=1.0", "--config.learning_rates=(0.02,)", "--config.fresh_seeds=(1,)",
)  # fmt: skip


@pytest.fixture
def project(tmp_path) -> Path:
    """This project with the README's config file, and a small data set of that name."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(block.splitlines()) < 30
    (tmp_path / "configs" / "mine.py").write_text(block)
    write_cifar100(tmp_path / "data")
    return tmp_path


def write_cifar100(data_dir: Path) -> None:
    dataset = tiny.make_dataset(64, 16)
    folder = data_dir / "cifar100" / "3.0.2"
    folder.mkdir(parents=True)
    shape = dataset.train.images.shape[1:]
    description = prepare.DatasetInfo("cifar100", "3.0.2", "", "", shape, dataset.label_names)
    splits = {
        name: [
            prepare.Example(prepare.record_id(name, i), png(image), int(label))
            for i, (image, label) in enumerate(zip(*split, strict=True))
        ]
        for name, split in (("train", dataset.train), ("test", dataset.test))
    }
    prepare.write_folder(folder, description, splits)


def png(image: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def configs(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty folder of that name, in a project beside which nothing lies."""
    folder = tmp_path / "configs"
    folder.mkdir()
    monkeypatch.setattr("configs.__path__", [str(folder)])
    monkeypatch.syspath_prepend(tmp_path)
    # Python takes a file that was changed within a second, to the same size, for the old one.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    forget()
    yield folder
    forget()


def forget() -> None:
    """Goes on as another process would, which has imported nothing of a project."""
    own.read_source.cache_clear()
    importlib.invalidate_caches()
    for name in [n for n in sys.modules if n.endswith(("helper", "_of_mine", "inner", ".mine"))]:
        del sys.modules[name]


def run(project: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "src.main", "--config=configs/mine.py", *SMALL]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "statement",
    [
        "from configs.helper import SLOPE",
        "import configs.helper as h; SLOPE = h.SLOPE",
        "from configs import helper; SLOPE = helper.SLOPE",
        "from .helper import SLOPE",
        "from . import helper; SLOPE = helper.SLOPE",
        "from beside_mine import SLOPE",
        "import package_of_mine.inner; SLOPE = package_of_mine.inner.SLOPE",
        "from package_of_mine import inner; SLOPE = inner.SLOPE",
    ],
)
def test_all_that_an_own_function_imports_of_its_project_is_told_apart(
    tmp_path, configs, statement
):
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("")
    (configs / "mine.py").write_text(f"{statement}\ndef f(x): return SLOPE * x\n")
    helpers = [tmp_path / name for name in ("configs/helper.py", "beside_mine.py")]
    digests = []
    for slope in ("0.1", "0.9", "0.1"):
        forget()
        for path in (*helpers, tmp_path / "package_of_mine" / "inner.py"):
            path.write_text(f"SLOPE = {slope}\n")
        digests.append(own.digest("configs.mine.f"))
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("return x * SLOPE", "return x + SLOPE", True),
        ("SLOPE = half(1.0)", "SLOPE = half(2.0)", True),
        ("return x / 2", "return x / 3", True),  # what SLOPE is made by
        ("jax.config.update('a', 1)", "jax.config.update('a', 2)", True),
        ("return 1.0, dx", "return 1.0, 7 * dx", True),
        ("return trial.row", "return trial.metrics", False),
        ("OTHER: int = 1", "OTHER: int = 2", False),
        ("return x / 2", "return x / 2\nQUARTER = half(0.5)", False),  # half changes nothing.
        ("return trial.row", "return trial.row\nfast = jax.jit(f)", False),
    ],
)
def test_what_an_own_function_does_not_use_is_not_told_apart(configs, before, after, told):
    text = (
        "import jax\nOTHER: int = 1\njax.config.update('a', 1)\ndef half(x): return x / 2\n"
        "SLOPE = half(1.0)\n@jax.custom_jvp\ndef f(x): return x * SLOPE\n"
        "@f.defjvp\ndef rule(x, dx): return 1.0, dx\ndef number(trial): return trial.row\n"
    )
    digests = []
    for each in (text, text.replace(before, after)):
        forget()
        (configs / "mine.py").write_text(each)
        digests.append(own.digest("configs.mine.f"))
    assert (digests[0] != digests[1]) == told
    (whole,) = {own.digest("configs.mine.f", "a digest of before") for _ in range(2)}
    assert whole != digests[1] == own.digest("configs.mine.f", digests[0])


@pytest.mark.parametrize(
    "text",
    [
        "import importlib\nS = importlib.import_module('configs.helper').S\ndef f(x): return S * x",
        "import importlib\ndef f(x): return importlib.import_module('configs.helper').S * x",
        "def f(x): return get_activation('configs.mine.g')(x)\ndef g(x): return NUMBER * x",
        "def f(x):\n    'NUMBER'\n    return float(f.__doc__) * x",
        "def __getattr__(name): return lambda x: NUMBER * x",
        # What the file is asked for by another one, or by itself.
        "K = NUMBER\ndef f(x):\n    import configs.mine as me\n    return me.K * x",
        "K = NUMBER\ndef f(x):\n    from configs.mine import K as k\n    return k * x",
        "K = NUMBER\ndef f(x):\n    from configs import mine\n    return mine.K * x",
        "from configs.around import g\nK = NUMBER\ndef f(x): return g(x)",
        "from configs.named import g\ndef k(x): return NUMBER * x\ndef f(x): return g(x)",
    ],
)
def test_what_an_own_function_reaches_by_a_name_is_told_apart(configs, text):
    digests = []
    for number in ("1", "2", "1"):
        forget()
        (configs / "mine.py").write_text(text.replace("NUMBER", number))
        (configs / "helper.py").write_text(f"S = {number}")
        (configs / "around.py").write_text("def g(x):\n    from .mine import K\n    return K * x")
        (configs / "named.py").write_text("def g(x): return find('configs.mine.k')(x)")
        digests.append(own.digest("configs.mine.f"))
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("linked", ["mine.py", "helper.py"])
def test_a_file_that_is_a_link_out_of_the_project_is_of_the_project(
    configs, tmp_path_factory, linked
):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "any.py"
    (configs / "mine.py").write_text("from configs.helper import S\ndef f(x): return S * x")
    (configs / "helper.py").write_text("S = 1")
    digests = [own.digest("configs.mine.f")]
    for change in (False, True):
        forget()
        if not change:
            (configs / linked).rename(elsewhere)
            (configs / linked).symlink_to(elsewhere)
        else:
            elsewhere.write_text(elsewhere.read_text().replace("S * x", "S + x").replace("1", "2"))
        digests.append(own.digest("configs.mine.f"))
    assert digests[0] == digests[1] != digests[2]


def test_a_function_without_a_source_is_refused(configs):
    (configs / "mine.py").write_text("def f(x): return x")
    compiled = py_compile.compile(str(configs / "mine.py"), cfile=str(configs / "mine.pyc"))
    assert compiled
    (configs / "mine.py").unlink()
    with pytest.raises(ValueError, match=r"^configs\.mine is no Python file of configs/; a func"):
        own.find("configs.mine.f")


def test_a_digest_is_of_the_code_that_this_process_has_imported(configs):
    mine, helper = configs / "mine.py", configs / "helper.py"
    mine.write_text("from configs.helper import S\ndef f(x): return S * x\ndef g(x): return x")
    helper.write_text("S = 1")
    own.find("configs.mine.g")  # It does not use the helper, which is imported all the same.
    helper.write_text("S = 2")
    imported = own.digest("configs.mine.f")
    assert own.find("configs.mine.f")(1) == 1
    own.check({"configs.mine.f": imported or ""})
    forget()
    assert own.find("configs.mine.f")(1) == 2
    with pytest.raises(
        own.CodeError, match=r"^configs\.mine\.f is not what .* configs/mine\.py, or"
    ):
        own.check({"configs.mine.f": imported or ""})
    mine.write_text("def f(x) return x")
    forget()
    with pytest.raises(own.CodeError, match=r"^configs\.mine\.f is not what"):
        own.check({"configs.mine.f": imported or ""})


def test_nothing_is_imported_to_find_what_a_function_imports(configs, tmp_path):
    (tmp_path / "package_of_mine").mkdir()
    (tmp_path / "package_of_mine" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "package_of_mine" / "inner.py").write_text("S = 1")
    text = "def f(x): return x\ndef g(x):\n    from package_of_mine.inner import S\n    return S"
    (configs / "mine.py").write_text(text)
    assert own.find("configs.mine.f")(1) == 1
    assert own.digest("configs.mine.f") != own.digest("configs.mine.g")


def test_a_worker_that_has_other_code_than_the_study_trains_nothing(configs, tmp_path):
    (configs / "mine.py").write_text("import jax\ndef f(x): return jax.nn.relu(x)")
    config = tiny.make_config(model__activation="configs.mine.f", fresh_seeds=(1,))
    code = config.trial.own_code
    assert list(code) == ["configs.mine.f"]
    (task,) = Queue(config, {}).take(1)
    of = Identity("study", task.trial.name, "settings", "data")
    job = Job(task, tmp_path / "trial", of, code, "tiny", "", tmp_path, config.runtime)
    (configs / "mine.py").write_text("import jax\ndef f(x): return jax.nn.tanh(x)")
    assert config.trial.own_code == code
    forget()  # as a worker that starts now
    with pytest.raises(own.CodeError, match="start the study again, with the workers of its clu"):
        run_jobs([job], Follower(StopFlag(ctypes.c_bool())))
    assert not list((tmp_path / "trial").glob("checkpoints/*"))


NET = """
import flax.linen as nn

class Net(nn.Module):
    num_classes: int
    gate: str = "relu"
    gates: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x, keys=None):
        return nn.Dense(self.num_classes)(x.reshape(len(x), -1))

def gate(x):
    return x

def second(x):
    return x
"""


def test_a_function_that_an_option_names_is_own_code_too(configs):
    (configs / "mine.py").write_text(NET)
    used = ["configs.mine.Net", "configs.mine.gate", "configs.mine.second"]
    model = {"name": used[0], "gate": used[1], "gates": ("relu", used[2])}
    config = tiny.make_config(model=model)
    assert list(config.trial.own_code) == used
    assert list(question.own_code(config, {})) == used


def test_a_measure_that_was_mended_asks_the_same_question():
    tree = {"compare": {"measure": "configs.mine.number", "further": ("configs.mine.other",)}}
    code = {"configs.mine.number": "1", "configs.mine.other": "2", "configs.mine.f": "3"}
    found = question.identity(tree, {"digest": "d", "own_code": code})
    assert found["own_code"] == {"configs.mine.f": "3"}
    assert question.identity({}, {"digest": "d", "own_code": code})["own_code"] == code


@pytest.mark.slow
def test_a_study_of_ones_own_runs_and_notices_another_function(project):
    done = run(project)
    assert done.returncode == 0, done.stderr
    with (project / "out" / "results.csv").open() as file:
        rows = {row["activation"]: row for row in csv.DictReader(file)}
    own = "configs.mine.squared_relu"
    assert rows.keys() == {"relu", own}
    assert {row["dataset"] for row in rows.values()} == {"cifar100"}
    metrics = [
        (project / "out" / "trials" / row["trial"] / "metrics.csv").read_text().splitlines()[1]
        for row in rows.values()
    ]
    assert metrics[0].split(",")[3] != metrics[1].split(",")[3]  # the loss: not ReLU by that name

    mine = project / "configs" / "mine.py"
    mine.write_text(mine.read_text().replace("(x) ** 2", "(x) ** 3"))
    refused = run(project)
    assert refused.returncode == 2
    assert f"holds another study: own_code.{own} was '" in refused.stderr


def test_the_text_of_code_is_what_python_3_11_writes():
    """Written by Python 3.11.7 itself."""
    code = ast.parse("def f(): return f'{x:<{n}}'")
    assert own._text(code) == (
        "Module(body=[FunctionDef(name='f', args=arguments(posonlyargs=[], args=[], kwonlyargs=[],"
        " kw_defaults=[], defaults=[]), body=[Return(value=JoinedStr(values=[FormattedValue(value="
        "Name(id='x', ctx=Load()), conversion=-1, format_spec=JoinedStr(values=[Constant(value='<')"
        ", FormattedValue(value=Name(id='n', ctx=Load()), conversion=-1)]))]))],"
        " decorator_list=[])], type_ignores=[])"
    )


def test_a_digest_of_code_as_another_python_wrote_it_is_known_again(configs, monkeypatch):
    (configs / "mine.py").write_text("def f(x): return f'{x:>8}'")
    before = own.digest("configs.mine.f")
    monkeypatch.setattr(own, "_text", lambda tree: "as Python 3.15 may write it")
    assert own.digest("configs.mine.f", before) == before != own.digest("configs.mine.f")
