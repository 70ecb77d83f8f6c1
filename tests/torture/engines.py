"""Nodes and studies killed at random under each engine: nothing is lost, the answer is the same."""

import random
import signal
import time
from pathlib import Path

from tests.torture import clusters, subject
from tests.torture.clusters import Cluster
from tests.torture.kills import STOPPED, Kills
from tests.torture.subject import Process, Subject

WHAT = ("kill -9 of a node", "kill -9 of the study", "SIGTERM to the study")


def torture(study: Subject, sound: Path, name: str, count: int, seed: int) -> Kills:
    """Interrupts the study on a cluster so many times, each kind as often as the others.

    Args:
        study: What is run.
        sound: What a local run of it has left.
        name: Of the engine.
        count: Of interruptions.
        seed: Of what is drawn.
    """
    rng, kills = random.Random(f"{name} {seed}"), Kills()
    left = rng.sample([WHAT[n % len(WHAT)] for n in range(count)], count)
    with clusters.running(name, study.folder / f"cluster-{name}", study.environment) as cluster:
        begin = time.monotonic()
        seconds = 0.0
        workdir = study.folder / f"{name}-sound"
        while True:
            before = subject.finished(workdir)
            process = start(study, workdir, cluster)
            if left and seconds and process.running(rng.uniform(0, 0.6 * seconds)):
                _interrupt(process, left.pop(), rng, kills, cluster)
            elif process.end():
                kills.failures.append(f"ended badly: {process.lines()[-3:]}")
            kills.failures += [
                f"trial {trial} was lost or repeated"
                for trial, content in before.items()
                if subject.finished(workdir).get(trial) != content
            ]
            if process.popen.returncode == 0:
                seconds = seconds or time.monotonic() - begin
                kills.rounds += 1
                kills.failures += subject.differences(sound, workdir)
                if not left:
                    return kills
                workdir = study.folder / f"{name}-{kills.rounds}"


def start(study: Subject, workdir: Path, cluster: Cluster) -> Process:
    """Starts the study on a cluster, or goes on with it."""
    arguments = [f"--config={subject.CONFIG}", f"--workdir={workdir}", *cluster.flags()]
    arguments += [f"--config.data.dir={study.data_dir}"]
    variables = {**study.environment, **cluster.variables}
    return Process(arguments, variables, study.folder / f"output-{workdir.name}")


def _interrupt(
    process: Process, what: str, rng: random.Random, kills: Kills, cluster: Cluster
) -> None:
    kills.tried[what] += 1
    expected = {0}
    if what == WHAT[0]:
        cluster.kill_node(rng.randrange(len(cluster.nodes)))
        cluster.add_node()
    elif what == WHAT[1]:
        process.popen.kill()
        expected |= {-signal.SIGKILL}
    else:
        process.popen.terminate()
        # The last is that of a study which was done, and whose interpreter was ending.
        expected |= {STOPPED, 128 + signal.SIGTERM, -signal.SIGTERM}
    code = process.end()
    if code not in expected:
        kills.failures.append(f"{what}: code {code}, {process.lines()[-3:]}")
