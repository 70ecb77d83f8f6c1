"""One trial over several processes: who they are, what they agree on, and what a death does.

The slow ones start two processes of two CPU devices, which talk over this machine's loopback.
"""

import csv
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from src import doors, environment, hosts, laboratory
from src.data.batches import evaluation_rows
from src.data.loader import host_share
from src.hosts import HostError
from src.records import provenance
from tests import tiny
from tests.torture.pairs import SMALL, Pair, metrics, start
from tests.torture.subject import CONFIG, PATIENCE_SECONDS, ROOT, Subject


@pytest.mark.parametrize("how", ["none", "slurm", "mpi", "k8s", "tpu", "10.0.0.1:1234,4,3"])
def test_ways_to_find_each_other(how):
    hosts.check(how)


@pytest.mark.parametrize(
    "how",
    [
        *("", "ssh", "host,2,0", "host:1,2,2", "host:1,2", "host:1,2,-1", "host:0,1,0"),
        *("host:65536,1,0", f"host:{'9' * 5000},1,0", "host:1,\u0661,0"),
    ],
)
def test_others_are_refused_in_one_line(how):
    with pytest.raises(HostError, match=re.escape(f"--hosts={how} is none of none, slurm, mpi")):
        hosts.check(how)


@pytest.mark.parametrize(
    ("how", "variable"), [("slurm", "SLURM_JOB_ID"), ("mpi", "OMPI_MCA_orte_hnp_uri")]
)
def test_a_process_that_its_launcher_did_not_start_is_refused(how, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    # Other tests of this process have used JAX; a process that has just begun has not.
    monkeypatch.setattr("jax._src.xla_bridge.backends_are_initialized", lambda: False)
    with pytest.raises(HostError, match=f"{variable} is not set, .* not started by {how}"):
        hosts.join(how)


def test_a_process_alone_agrees_with_itself():
    hosts.join("none")
    assert (hosts.count(), hosts.index(), hosts.is_leader()) == (1, 0, True)
    value = object()
    assert hosts.tell(value) is value
    assert [hosts.any_of(flag) for flag in (True, False)] == [True, False]
    assert hosts.together(lambda: 3) == 3
    with pytest.raises(HostError, match="mine"):
        hosts.together(fail)
    hosts.leave(7)  # nobody waits: this process goes on


def fail() -> None:
    raise HostError("mine")


def test_hosts_test_every_image_once():
    """A test set of 23 images in batches of 8 over 2 hosts: 3 batches of 4 each."""
    rows = evaluation_rows(23, 8)
    shares = [host_share(rows, host, 2) for host in (0, 1)]
    assert [share.shape for share in shares] == [(3, 4), (3, 4)]
    tested = np.concatenate([share.ravel() for share in shares])
    assert sorted(tested[tested >= 0]) == list(range(23))


def test_the_record_says_hosts_and_devices(monkeypatch):
    devices = [SimpleNamespace(device_kind="H100", process_index=i // 4) for i in range(8)]
    assert provenance.describe_devices(devices) == "2 hosts x 4 x H100"
    assert provenance.describe_devices(devices[:4]) == "4 x H100"
    variables = {"JAX_LOCAL_DEVICE_IDS": "0,1", "JAX_FOO": "1"}
    assert list(environment.left_out(variables)) == ["JAX_FOO=1"]  # a launcher sets the other


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workers": 2}, "trains one trial at a time on all processes"),
        ({"engine": "dask"}, "trains one trial at a time on all processes"),
        ({"together": 2}, "trains one trial at a time on all processes"),
        ({"pretraining__method": "conv_autoencoder"}, "cannot pre-train: make the stacks in one"),
    ],
)
def test_what_does_not_go_with_several_hosts_is_refused_in_one_line(changes, said):
    configs = [tiny.make_config(), tiny.make_config(model__activation="sigmoid", **changes)]
    with pytest.raises(HostError, match=f"--hosts=slurm {said}"):
        laboratory._check_hosts("slurm", configs)
    laboratory._check_hosts("none", configs)
    laboratory._check_hosts("slurm", configs[:1])


@pytest.fixture(scope="module")
def subject(tmp_path_factory) -> Subject:
    return Subject(tmp_path_factory.mktemp("subject"))


LATE = """
import time

import jax

begun = []


def late(x):
    if jax.process_index() == 1 and x.shape[:1] == (4,) and x.ndim == 4 and not begun:
        begun.append("the four images that each device has of a batch")
        print("late", flush=True)
        time.sleep(33)
    return jax.nn.relu(x)
"""


@pytest.fixture(scope="module")
def late(subject, tmp_path_factory) -> Iterator[Pair]:
    """Two processes, the second of which is late; the other tests need not wait for it."""
    folder = tmp_path_factory.mktemp("late")
    (folder / "src").symlink_to(ROOT / "src")
    shutil.copytree(ROOT / "configs", folder / "configs")
    (folder / "configs" / "mine.py").write_text(LATE)
    name = "configs.mine.late"
    own = (f"--config.sweep.model.activation=('{name}',)", f"--config.compare.baseline={name}")
    own += ("--config.parallel=shard_map",)
    pair = Pair(subject, folder / "study", *own, project=folder)
    yield pair
    for process in pair.processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def sound(subject, late, tmp_path_factory) -> Path:
    """The records of two processes that nothing disturbs."""
    workdir = tmp_path_factory.mktemp("sound") / "pmap"
    pair = Pair(subject, workdir)
    assert pair.end() == [0, 0], pair.said()
    return workdir


@pytest.mark.slow
def test_two_hosts_of_two_devices_are_one_of_four(subject, sound, tmp_path):
    where = [f"--workdir={tmp_path / 'one'}", f"--config.data.dir={subject.data_dir}"]
    alone = start(subject, [f"--config={CONFIG}", *SMALL, *where], 4, tmp_path / "one.txt")
    assert alone.wait(PATIENCE_SECONDS) == 0
    together, one = metrics(sound), metrics(tmp_path / "one")
    assert len(together) == len(one) > 20
    for row, other in zip(together, one, strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-3)
        assert bool(row["test_error"]) == bool(other["test_error"])
        if row["test_error"]:  # an image on the edge may fall to the other side
            assert abs(float(row["test_error"]) - float(other["test_error"])) <= 1 / 64 + 1e-9
    assert {row["test_error"] for row in together if row["test_error"]}
    with (sound / "results.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["device"].startswith("2 hosts x 2 x cpu")


@pytest.mark.slow
def test_the_death_of_one_ends_both_and_the_trial_goes_on(subject, sound, tmp_path):
    """Four times: either one without warning, and either one when it is told to stop."""
    workdir, often = tmp_path / "killed", "--config.checkpoint_every_epochs=1"
    deaths = [(0, signal.SIGKILL), (1, signal.SIGTERM), (1, signal.SIGKILL), (0, signal.SIGTERM)]
    for victim, number in deaths:
        pair = Pair(subject, workdir, often)
        pair.await_checkpoint()
        os.kill(pair.processes[victim].pid, number)
        codes = pair.end()
        if number == signal.SIGTERM:
            assert codes == [doors.STOPPED, doors.STOPPED], pair.said()
        else:
            assert codes[victim] == -signal.SIGKILL
            assert codes[1 - victim] != 0
    again = Pair(subject, workdir, often)
    assert again.end() == [0, 0], again.said()
    assert metrics(workdir) == metrics(sound)


@pytest.mark.slow
@pytest.mark.parametrize("one", [0, 1])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [("--config.data.dir=/nowhere", "/nowhere"), ("--config.model.nme=conv3", "no such field")],
)
def test_an_error_in_one_ends_both(subject, tmp_path, wrong, said, one):
    """In the data, which is found when they have met; in the command line, before."""
    pair = Pair(subject, tmp_path / "study", only={one: wrong})
    assert pair.processes[one].wait(PATIENCE_SECONDS) == doors.REFUSED
    assert pair.end() == [doors.REFUSED, doors.REFUSED], pair.said()
    found = [path.read_text() for path in pair.outputs]
    assert said in found[one]
    assert found[one].count("error: ") == 1
    assert "another process cannot go on" in found[1 - one]


@pytest.mark.slow
def test_another_function_of_the_same_name_on_one_host_ends_both(subject, tmp_path):
    for name, function in (("one", "relu"), ("other", "tanh")):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "src").symlink_to(ROOT / "src")
        shutil.copytree(ROOT / "configs", folder / "configs")
        text = f"import jax\ndef act(x): return jax.nn.{function}(x)"
        (folder / "configs" / "mine.py").write_text(text)
    act = ("--config.sweep.model.activation=('configs.mine.act',)",)
    act += ("--config.compare.baseline=configs.mine.act",)
    projects = (tmp_path / "one", tmp_path / "other")
    pair = Pair(subject, tmp_path / "study", *act, project=projects)
    assert pair.end() == [doors.REFUSED, doors.REFUSED], pair.said()
    leader, other = (path.read_text() for path in pair.outputs)
    assert "another process cannot go on" in leader
    assert "configs.mine.act is not what the study began with: configs/mine.py, or" in other
    assert not list((tmp_path / "study").glob("trials/*/metrics.csv"))


@pytest.mark.parametrize(
    ("mine", "first"), [("abc", "abc"), ("unknown", "abc"), ("abc", "unknown"), ("abd", "abc")]
)
def test_another_commit_is_refused_where_both_are_known(mine, first, monkeypatch):
    monkeypatch.setattr(hosts, "count", lambda: 2)
    monkeypatch.setattr(hosts, "index", lambda: 1)
    monkeypatch.setattr(hosts, "tell", lambda value: first)
    monkeypatch.setattr(provenance, "commit", lambda: mine)
    if mine == "abd":
        with pytest.raises(HostError, match="process 1 runs the code of commit abd, process 0 tha"):
            laboratory._check_commit()
    else:
        laboratory._check_commit()


@pytest.mark.slow
def test_streamed_images_are_shared_out_as_those_in_memory(subject, sound, tmp_path):
    """The images have 8 pixels, and as many are asked for: decoding leaves them as they are."""
    pair = Pair(subject, tmp_path / "streamed", "--config.data.stream_size=8")
    assert pair.end() == [0, 0], pair.said()
    streamed, resident = metrics(pair.workdir), metrics(sound)
    assert len(streamed) == len(resident) > 20
    for row, other in zip(streamed, resident, strict=True):
        assert float(row["train_loss"]) == pytest.approx(float(other["train_loss"]), rel=1e-3)
        assert row["test_error"] == other["test_error"]


@pytest.mark.slow
def test_a_function_of_ones_own_may_take_longer_to_compile_on_one_host(late, sound):
    """Gloo waits for 30 seconds; until the hosts have met, JAX must not have been used."""
    assert late.end() == [0, 0], late.said()
    assert "late" in late.outputs[1].read_text().splitlines()


@pytest.mark.slow
def test_both_ways_to_spread_a_step_agree_bit_for_bit(late, sound):
    """The late function is ReLU, in steps that `shard_map` has spread."""
    assert late.end() == [0, 0], late.said()
    assert metrics(late.workdir) == metrics(sound)
