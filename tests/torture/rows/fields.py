"""F. Flags and fields of a config."""

import re

from src.models.registry import MODEL_NAMES, options_of
from tests.torture.rows.numbers import rows_of
from tests.torture.rows.room import BASE, Room, row
from tests.torture.subject import ROOT

DRY = (BASE, "--dry_run", "--workdir=w")


@row("F-baselines", "a baseline that is a number, a truth or 0, by flag, run and reported")
def baselines_that_are_no_words(room: Room) -> None:
    few = (
        "--config.fresh_seeds=(1,2)", "--config.compare.measure=test_error",
        "--config.stop_at_target=False",
    )  # fmt: skip
    for field, values, baseline in (
        ("weight_decay", "(0.0,0.001)", "0.0"), ("weight_decay", "(0.0,1e-05)", "0"),
        ("batch_size", "(16,32)", "32"), ("model.lrn", "('none','paper')", "none"),
        ("augment.flip", "(False,True)", "False"), ("validation_images", "(0,32)", "0"),
    ):  # fmt: skip
        work, column = f"w{room.tried}", field.rpartition(".")[2]
        said = room.run(
            *room.tiny, *few, f"--config.sweep.{field}={values}", f"--workdir={work}",
            f"--config.compare.field={column}", f"--config.compare.baseline={baseline}",
        )  # fmt: skip
        room.passed(said, what=field)
        report = (room.folder / work / "report.md").read_text()
        title = report.splitlines()[0]
        shown = "0.0" if field == "weight_decay" else baseline  # As the sweep writes it.
        room.check(title.endswith(f"relative to {shown}"), f"{field}: {title}")
        room.check(len(rows_of(room.folder / work)) == 4, f"{field}: other trials")
    said = room.run(
        *DRY, "--config.sweep.weight_decay=(0.0,0.5)", "--config.compare.field=weight_decay",
        "--config.compare.baseline=0.1",
    )  # fmt: skip
    room.refused(said, "config.compare.baseline = 0.1", "(0.0, 0.5)")


@row("F38", "every option of every network by flag, before and behind its name; sweeps by flag")
def options_by_flag(room: Room) -> None:
    for name in MODEL_NAMES:
        for field in options_of(name):
            option = f"--config.model.{field.path[0]}={field.default}"
            for flags in ((f"--config.model.name={name}", option),
                          (option, f"--config.model.name={name}")):  # fmt: skip
                room.passed(room.run(*DRY, *flags), what=f"{flags}")
    for flags, arms in (
        (("--config.model.name=alexnet_cifar", "--config.sweep.model.dropout=(0.0,0.5)",
          "--config.compare.field=dropout", "--config.compare.baseline=0.0"), 2),
        (("--config.sweep.batch_size=(64,128)", "--config.compare.field=batch_size",
          "--config.compare.baseline=64"), 2),
        (("--config.sweep={'batch_size':(64,128)}", "--config.compare.field=batch_size",
          "--config.compare.baseline=64"), 2),
        (("--config.sweep.recipes.modern.momentum=(0.5,0.9)", "--config.compare.field=momentum",
          "--config.compare.baseline=0.9"), 2),
        (("--config.sweep.model.activation=relu",), 1),
    ):  # fmt: skip
        said = room.run(*DRY, *flags)
        room.passed(said, what=f"{flags}")
        named = {match[1] for line in said.lines if (match := re.search(r"(\S+-modern\S*)", line))}
        room.check(len(named) >= arms, f"{flags}: {said.lines}")
    said = room.run(*DRY, "--config.model.name=alexnet_cifar", "--config.model.dropuot=0.3")
    room.refused(said, "config.model.dropuot", "dropout")


@row("F39", "rates of one arm by flag, its name with dashes")
def rates_of_one_arm(room: Room) -> None:
    quick = f"--config={ROOT / 'configs' / 'quick.py'}"
    for flag in ("--config.arm_learning_rates.conv3-modern-relu=(0.02,)",
                 '--config.arm_learning_rates["conv3-modern-relu"]=(0.02,)',
                 "--config.arm_learning_rates.conv3-modern-relu=0.02",
                 "--config.arm_learning_rates={'conv3-modern-relu':(0.02,)}"):  # fmt: skip
        room.passed(room.run(quick, "--dry_run", "--workdir=w", flag), "0.02", what=flag)
    said = room.run(quick, "--dry_run", "--config.arm_learning_rates.conv3-modern-rleu=(0.02,)")
    room.refused(said, "conv3-modern-rleu", "did you mean 'conv3-modern-relu'?")


@row("F40", "a value given twice: the last counts, of every kind of flag")
def values_given_twice(room: Room) -> None:
    said = room.run(
        *room.tiny, "--config.learning_rates=(0.01,)", "--config.learning_rates=(0.02,)",
        "--config.max_epochs=7", "--config.max_epochs=2", "--config.fresh_seeds=(1,2)",
        "--config.fresh_seeds=(3,)", "--workdir=a", "--workdir=b", "--config.racing=False",
        "--noconfig.racing", "--config.racing=True", "--config.stop_at_target=False",
    )  # fmt: skip
    room.passed(said)
    found = [(r["learning_rate"], r["seed"], r["iterations"]) for r in rows_of(room.folder / "b")]
    room.check(found == [("0.02", "3", "10")], f"{found}")
    room.check(not (room.folder / "a").exists(), "the first workdir was made")
    quick = f"--config={ROOT / 'configs' / 'quick.py'}"
    said = room.run(BASE, quick, "--dry_run", "--workdir=w")
    room.passed(said, "conv3-modern-tanh")
