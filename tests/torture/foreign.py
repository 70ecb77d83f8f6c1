"""What another has put into a study is refused or of no consequence; nobody's file is lost."""

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from src.config.config import Config
from src.errors import LabError
from src.trees import replaced
from tests.torture import subject
from tests.torture.flips import Laboratory

WORDS = "years of work"


@dataclass
class Foreign:
    """What was tried and what came of it."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """A copy of a finished study, others of the same arms, rates and seeds, and files of a user."""

    study: Path
    others: tuple[Path, ...]  # another question; the same question, asked again
    victims: Path  # a folder outside
    rng: random.Random

    def trials(self, study: Path | None = None) -> list[Path]:
        return sorted((study or self.study).glob("trials/*"))

    def trial(self) -> Path:
        return self.rng.choice(self.trials())

    def other(self) -> Path:
        return self.rng.choice(self.others)

    def twin(self, trial: Path) -> Path:
        """The trial of the same name in another study; each chose its rate by itself."""
        there = [study / "trials" / trial.name for study in self.others]
        return self.rng.choice([path for path in there if path.is_dir()])


def make_others(laboratory: Laboratory, folder: Path) -> tuple[Path, ...]:
    """Two finished studies beside the one that is tortured."""
    recipe = ("recipes", laboratory.config.arms[0].settings.recipe.name, "order")
    order = Config.read(replaced(laboratory.config.tree, recipe, "permuted"))  # compiled already
    if (again := folder / "warm-up").exists():  # of the kills
        shutil.copytree(again, folder / "asked-again")
    for config, name in ((order, "other-question"), (laboratory.config, "asked-again")):
        replace_config(laboratory, config).go_on(folder / name)
    return folder / "other-question", folder / "asked-again"


def replace_config(laboratory: Laboratory, config: Config) -> Laboratory:
    """The same laboratory, asking another question."""
    other = object.__new__(Laboratory)
    other.config, other.facts = config, laboratory.facts
    return other


# --- What is done to a study. Those of MUST_REFUSE must not pass in silence. ---


def copied_trial(scene: Scene) -> None:
    trial = scene.trial()
    shutil.rmtree(trial)
    shutil.copytree(scene.twin(trial), trial)


def trial_of_another_name(scene: Scene) -> None:
    trial = scene.trial()
    changes = [("-s1", "-s9"), ("lr0.005", "lr0.007"), ("conv3", "alexnet"), ("-s", "-")]
    changes += [("relu", "elu"), ("tanh", "elu")]
    old, new = scene.rng.choice([change for change in changes if change[0] in trial.name])
    name = trial.name.replace(old, new)
    shutil.copytree(scene.rng.choice([trial, scene.twin(trial)]), trial.with_name(name))


def checkpoints_of_another_study(scene: Scene) -> None:
    trial = scene.trial()
    (trial / "result.json").unlink()
    shutil.rmtree(trial / "checkpoints")
    shutil.copytree(scene.twin(trial) / "checkpoints", trial / "checkpoints")


def checkpoints_of_another_trial(scene: Scene) -> None:
    trial, other = scene.rng.sample(scene.trials(), 2)
    (trial / "result.json").unlink()
    shutil.rmtree(trial / "checkpoints")
    shutil.copytree(other / "checkpoints", trial / "checkpoints")


def study_lost(scene: Scene) -> None:
    (scene.study / "study.json").unlink()
    if scene.rng.random() < 0.5:
        (scene.study / "study.json").symlink_to("nowhere")


def study_of_another(scene: Scene) -> None:
    shutil.copy(scene.other() / "study.json", scene.study / "study.json")


def result_of_another(scene: Scene) -> None:
    trial, other = scene.rng.sample(scene.trials(), 2)
    name = scene.rng.choice(["result.json", "metrics.csv"])
    shutil.copy(scene.rng.choice([other, scene.twin(trial)]) / name, trial)


def link_to_elsewhere(scene: Scene) -> None:
    """A folder of the study leads out of it."""
    trial = scene.trial()
    path = scene.rng.choice([trial.parent, trial])
    path.rename(scene.victims / "moved")
    path.symlink_to(scene.victims, target_is_directory=True)


def lock_of_another(scene: Scene) -> None:
    trial = scene.trial()
    (trial / "result.json").unlink()
    path = scene.rng.choice([trial, scene.study]) / ".lock"
    path.unlink(missing_ok=True)
    scene.rng.choice([path.symlink_to, path.hardlink_to])(scene.victims / "thesis.tmp")


def results_of_another(scene: Scene) -> None:
    shutil.copy(scene.other() / "results.csv", scene.study / "results.csv")


def partial_files_that_are_links(scene: Scene) -> None:
    trial = scene.trial()
    (trial / "result.json").unlink()
    names = ("study.json", "results.csv"), ("config.json", "metrics.csv", "result.json")
    for folder, ours in zip((scene.study, trial), names, strict=True):
        for name in ours:
            for pid in (os.getpid(), 99999999):
                (folder / f"{name}.{pid}.tmp").symlink_to(scene.victims / "thesis.tmp")


def checkpoints_that_are_links(scene: Scene) -> None:
    trial = scene.trial()
    (trial / "result.json").unlink()
    for name in ("10", "999999", "partial-10", "damaged-10"):
        (trial / "checkpoints" / name).unlink(missing_ok=True)
        (trial / "checkpoints" / name).symlink_to(scene.victims)


def files_of_the_user(scene: Scene) -> None:
    trial = scene.trial()
    (trial / "result.json").unlink()
    for folder in (scene.study, trial.parent, trial, trial / "checkpoints"):
        for name in ("thesis.tmp", "results.csv.2024.bak.tmp", ".DS_Store", "Thumbs.db", "notes"):
            (folder / f"user-{name}").write_text(WORDS)
        (folder / "user-x.tmp").mkdir()
    (trial.parent / ".ipynb_checkpoints").mkdir()


def lines_as_git_makes_them(scene: Scene) -> None:
    trial = scene.trial()
    for path in (trial / "metrics.csv", trial / "config.json", scene.study / "results.csv"):
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


MUST_REFUSE: tuple[Callable[[Scene], None], ...] = (
    copied_trial, trial_of_another_name, checkpoints_of_another_study,
    checkpoints_of_another_trial, study_lost, study_of_another, result_of_another,
    link_to_elsewhere, lock_of_another, lines_as_git_makes_them,
)  # fmt: skip
MAY_PASS: tuple[Callable[[Scene], None], ...] = (
    results_of_another, partial_files_that_are_links, checkpoints_that_are_links,
    files_of_the_user,
)  # fmt: skip


def torture(
    laboratory: Laboratory, sound: Path, others: tuple[Path, ...], count: int, seed: int
) -> Foreign:
    """Does something to a copy of a finished study and goes on with it, `count` times."""
    rng, foreign = random.Random(seed), Foreign()
    kinds = [*MUST_REFUSE, *MAY_PASS]
    for number in range(count):
        kind = kinds[number % len(kinds)]
        copy, victims = sound.with_name("foreign"), sound.with_name("victims")
        for folder in (copy, victims):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(sound, copy)
        victims.mkdir()
        (victims / "thesis.tmp").write_text(WORDS)
        (victims / "results.csv.99999999.tmp").write_text(WORDS)
        kind(Scene(copy, others, victims, rng))
        outcome, failures = _outcome(laboratory, sound, copy, kind in MUST_REFUSE)
        foreign.outcomes[outcome] += 1
        failures += _lost(victims, copy)
        foreign.failures += [f"{kind.__name__}: {failure}" for failure in failures]
    return foreign


def _outcome(
    laboratory: Laboratory, sound: Path, copy: Path, must_refuse: bool
) -> tuple[str, list[str]]:
    users = _users(copy)
    try:
        laboratory.go_on(copy)
    except LabError as error:
        text = str(error)
        clear = str(copy) in text and "\n" not in text
        destroys = "remove" in text or "delete" in text
        return "refused by name", [] if clear and not destroys else [f"unclear message: {text}"]
    except Exception as error:
        return "crashed", [f"{type(error).__name__}: {error}"]
    failures = ["passed in silence"] if must_refuse else []
    failures += [
        f"accepted, then {line}" for line in subject.differences(sound, copy, states=False)
    ]
    failures += [f"{path} of the user is gone" for path in users - _users(copy)]
    return "of no consequence", failures


def _users(study: Path) -> set[Path]:
    return {path for path in study.rglob("user-*")}


def _lost(victims: Path, copy: Path) -> list[str]:
    names = ("thesis.tmp", "results.csv.99999999.tmp")
    lost = [n for n in names if not (victims / n).exists() or (victims / n).read_text() != WORDS]
    changed = [p for p in copy.rglob("user-*") if p.is_file() and p.read_text() != WORDS]
    return [f"{name}, which lies outside, was changed" for name in lost] + [
        f"{path} was changed" for path in changed
    ]
