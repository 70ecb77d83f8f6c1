"""Studies on clusters of two nodes on this machine: the rows, points and bits of a local run,
whatever is killed on the way.
"""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import doors
from src.study.engines import PACKAGES
from tests.torture import clusters, subject
from tests.torture.engines import start
from tests.torture.subject import CONFIG, Process, Subject

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Subject:
    return Subject(tmp_path_factory.mktemp("subject"))


@pytest.fixture(scope="module")
def local(study) -> Path:
    """What a run on this machine's own two processes leaves."""
    process = study.start(study.folder / "local", workers=2)
    assert process.end() == 0, process.lines()[-5:]
    return study.folder / "local"


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def cluster(request, study) -> Iterator[clusters.Cluster]:
    skip_without(request.param)
    folder = study.folder / f"cluster-{request.param}"
    with clusters.running(request.param, folder, study.environment) as found:
        yield found


def skip_without(name: str) -> None:
    if not clusters.is_installed(name):
        pytest.skip(f"needs {PACKAGES[name]}: pip install -r requirements-{name}.txt")


def await_middle(process: Process, workdir: Path) -> None:
    """Until one trial has ended and another one has a checkpoint."""
    while process.running(0.02):
        folders = [path.parent for path in workdir.glob("trials/*/metrics.csv")]
        finished = [folder for folder in folders if (folder / "result.json").exists()]
        if 1 <= len(finished) < len(folders):
            return
    raise AssertionError(process.lines()[-5:])


def test_a_node_that_is_killed_leaves_its_trial_to_the_other(study, cluster, local, tmp_path):
    process = start(study, tmp_path / "study", cluster)
    await_middle(process, tmp_path / "study")
    cluster.kill_node(0)
    assert process.end() == 0, process.lines()[-5:]
    cluster.add_node()
    assert subject.differences(local, tmp_path / "study") == []


def test_a_study_that_is_killed_goes_on(study, cluster, local, tmp_path):
    process = start(study, tmp_path / "study", cluster)
    await_middle(process, tmp_path / "study")
    process.popen.kill()
    assert process.end() == -signal.SIGKILL
    finish(study, cluster, local, tmp_path / "study")


def test_a_study_that_is_told_to_stop_saves_itself_and_goes_on(study, cluster, local, tmp_path):
    process = start(study, tmp_path / "study", cluster)
    await_middle(process, tmp_path / "study")
    process.popen.terminate()
    assert process.end() == doors.STOPPED, process.lines()[-5:]
    assert "To go on:" in process.lines()[-1]
    finish(study, cluster, local, tmp_path / "study")


def finish(study: Subject, cluster: clusters.Cluster, local: Path, workdir: Path) -> None:
    """The same command again comes to the same end, and repeats no trial."""
    before = subject.finished(workdir)
    assert 0 < len(before) < len(subject.finished(local))
    process = start(study, workdir, cluster)
    assert process.end() == 0, process.lines()[-5:]
    assert subject.differences(local, workdir) == []
    assert before.items() <= subject.finished(workdir).items()


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_an_engine_starts_on_this_machine_where_no_cluster_is_named(study, name, tmp_path, request):
    skip_without(name)
    local = request.getfixturevalue("local")  # It takes long, and is not needed to be skipped.
    arguments = [f"--config={CONFIG}", f"--workdir={tmp_path / 'study'}"]
    arguments += [f"--config.data.dir={study.data_dir}", "--config.workers=2"]
    process = Process(
        [*arguments, f"--config.engine={name}"], study.environment, tmp_path / "output"
    )
    assert process.end() == 0, process.lines()[-5:]
    assert subject.differences(local, tmp_path / "study") == []
