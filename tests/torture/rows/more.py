"""More of each kind than the list of faults has."""

import io
import os
import resource
import shutil
import subprocess
import sys

import numpy as np
from PIL import Image

from tests import prepared
from tests.torture.rows.numbers import IMAGES, TEN, rows_of, write_set
from tests.torture.rows.own import project, run
from tests.torture.rows.places import WORDS
from tests.torture.rows.room import BASE, STREAM, Room, changed, row
from tests.torture.subject import ROOT, apart

DRY = (BASE, "--dry_run", "--workdir=w")
LABELS = np.arange(320) % 10


@row("A-more", "PNGs with a palette, of one bit, transparent, grey: the pixels that they show")
def pixels_as_they_are_shown(room: Room) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = (255, 0, 0)
    kinds = {"palette": "P", "transparent": "RGBA", "one bit": "1", "grey": "L", "both": "LA"}
    for what, mode in kinds.items():
        content = io.BytesIO()
        shown = Image.fromarray(pixels if mode in ("P", "RGBA") else pixels[..., 0]).convert(mode)
        shown.save(content, "PNG", **({"transparency": 0} if mode == "P" else {}))

        def command(content: bytes = content.getvalue()) -> int:
            from src.data.images import decode  # noqa: PLC0415

            found = decode(content, 0)
            print([int(n) for n in (*found[0, 0], *found[7, 7])])
            return 0

        red = [255, 0, 0, 0, 0, 0] if mode in ("P", "RGBA") else [255, 255, 255, 0, 0, 0]
        said = room.fork(command)
        room.check(said.lines[-1:] == [str(red)], f"{what}: {said.lines[-2:]}")


@row("A-weights", "first weights whose file changes between two trials of an arm: it is said")
def weights_that_change(room: Room) -> None:
    donor = room.folder / "donor"
    room.passed(room.run(*room.tiny, "--workdir=donor"))
    start = f"--config.start_from.path={next((donor / 'trials').iterdir())}"
    room.passed(room.run(*room.tiny, start, "--config.fresh_seeds=(1,)"))
    donor.rename(room.folder / "before")
    room.passed(room.run(*room.tiny, "--workdir=donor", "--config.weight_decay=0.5"))
    said = room.run(*room.tiny, start, "--config.fresh_seeds=(1,3)")
    if said.code == 0:
        room.check("began with different weights" in said.text, f"{said.lines[-3:]}")
    else:
        room.refused(said, "weights")


@row("B-more", "a user's report.md, ratios.png, index.html, NAME/incomplete; another's new study")
def files_under_our_names(room: Room) -> None:
    for name in ("report.md", "report.html", "ratios.png", "training_error.svg", "results.csv"):
        work = room.folder / f"work {name}"
        work.mkdir()
        (work / name).write_text(WORDS)
        room.refused(room.run(*room.tiny, f"--workdir={work}"), name, "--workdir")
        room.check((work / name).read_text() == WORDS, f"{name} was written over")
    index = room.folder / "index.html"
    index.write_text(WORDS)
    room.passed(room.run(*room.tiny))
    said = room.run("--index=.", "w", door="report")
    room.refused(said, "index.html")
    room.check(index.read_text() == WORDS, "index.html was written over")
    images = room.folder / "images"
    for label in ("a", "b"):
        (images / label).mkdir(parents=True)
        for number in range(4):
            Image.fromarray(IMAGES[number]).save(images / label / f"{number}.png")
    place = room.folder / "prepared" / "mine" / "incomplete"
    place.mkdir(parents=True)
    (place / "thesis").write_text(WORDS)
    said = room.run("mine", "images", "--data_dir=prepared", door="write_tfds")
    room.refused(said, "incomplete")
    room.check((place / "thesis").read_text() == WORDS, "a folder of the user was emptied")


@row("C-more", "--config as people type it; workdirs that cannot be; a data set's own folder")
def paths_as_people_type_them(room: Room) -> None:
    quick = ROOT / "configs" / "quick.py"
    home = room.folder / "home"
    home.mkdir()
    shutil.copy(quick, home / "mine.py")
    room.passed(room.run("--config=~/mine.py", "--dry_run", "--workdir=w", HOME=str(home)))
    for text in (
        "configs/quick", "configs.quick", "configs\\quick.py", "quick.py", "configs", "/dev/null",
        "", "~nosuchuser/x.py", "nowhere/quick.py", "quick.yaml",
    ):  # fmt: skip
        said = room.run(f"--config={text}", "--dry_run", "--workdir=w")
        room.refused(said, "config", what=text)
    (room.folder / "file").write_text("x")
    for work in ("file", "file/x", "/dev/null", "/proc/x", "x" * 300, "/".join(["x" * 200] * 25)):
        said = room.run(*room.tiny, f"--workdir={work}")
        room.refused(said, what=work[:40])
    there = room.subject.data_dir / "tiny"
    for folder in (there, there / "1.0.0"):
        said = room.run(*room.tiny, f"--config.data.dir={folder}")
        room.refused(said, str(room.subject.data_dir), "parent", what=str(folder))
    for name in ("Tiny", "tiny ", "tiny/", "./tiny", "tiny:1", "tiny:1.*.*", "tiny:latest"):
        said = room.run(*room.tiny, f"--config.data.name={name}")
        room.refused(said, "tiny", what=name)


@row("D-more", "/dev/full, a folder that is gone, umask 777, few open files, small files, devices")
def machines_that_lack_something(room: Room) -> None:
    gone = room.folder / "gone"

    def vanish() -> None:
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    for door, arguments in (("main", room.tiny), ("report", ("w",)), ("networks", ("conv3",))):
        said = room.run(*arguments, door=door, before=vanish)
        ended = said.code == 0 if door == "networks" else said.code == 2
        clear = "Traceback" not in said.text and len(said.errors) <= 1
        room.check(ended and clear, f"{door} in a folder that is gone: {said.lines[-4:]}")
    for door, arguments in (("networks", "conv3"), ("main", "--help"), ("report", "nowhere")):
        command = f"exec {sys.executable} -m src.{door} {arguments} > /dev/full"
        done = subprocess.run(
            ["bash", "-c", command], cwd=room.folder,
            env=room.subject.environment | {"PYTHONUNBUFFERED": ""},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        clear = "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        room.check(
            done.returncode == 2 and clear, f"{door}: {done.returncode} {done.stderr[-300:]}"
        )
    said = room.run(*room.tiny, "--workdir=small", before=_small_files)
    room.refused(said, "File too large", what="ulimit -f")
    for devices in ("0", "many", "3"):
        said = room.shell(*room.tiny, "--workdir=devices", JAX_NUM_CPU_DEVICES=devices)
        room.refused(said, what=f"JAX_NUM_CPU_DEVICES={devices}")


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))


@row("E-more", "splits of other names, a BOM, WebP among PNGs, a shard too many, bombs; both ways")
def folders_of_other_makes(room: Room) -> None:
    folder = write_set(room.data_dir, "marked")
    for name in ("features.json", "dataset_info.json"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    names = folder / "label.labels.txt"
    names.write_bytes(b"\xef\xbb\xbf" + names.read_bytes().replace(b"\n", b"\r\n"))
    content = io.BytesIO()
    Image.fromarray(IMAGES[0]).save(content, "WEBP")
    whole = [prepared.png(image) for image in IMAGES]
    some = [*whole[:200], content.getvalue(), *whole[201:]]
    write = apart(prepared.write)
    with changed(prepared, "NAMES", TEN):
        test = prepared.examples(IMAGES[:40], LABELS[:40])
        write(room.data_dir, "webp", train=prepared.examples(some, LABELS), test=test)
        train = prepared.examples(IMAGES, LABELS)
        write(room.data_dir, "parts", training=train, testing=test)
        big = io.BytesIO()
        Image.new("1", (14_000, 14_000)).save(big, "PNG")
        some[200] = big.getvalue()
        write(room.data_dir, "bomb", train=prepared.examples(some, LABELS), test=test)
    for number, way in enumerate(((), (STREAM,))):
        said = room.run(*room.on("marked", *way), f"--workdir=m{number}")
        if said.code:
            room.refused(said, "marked", what="BOM")
        else:
            room.passed(said, what="BOM")
        said = room.run(*room.on("webp", *way), f"--workdir=w{number}")
        room.refused(said, "record 200", what="WebP")
        room.refused(room.run(*room.on("parts", *way)), "training, testing", what="other splits")
        said = room.run(*room.on("bomb", *way), f"--workdir=b{number}")
        room.refused(said, "record 200", what="bomb")


@row("F-more", "near names of flags and fields; numbers as people and other alphabets write them")
def flags_as_people_type_them(room: Room) -> None:
    for flag, words in (
        ("--workdirs=x", "workdir"), ("--dry-run", "dry_run"), ("--dryrun", "dry_run"),
        ("--configs=x", "config"), ("--config.max_epoch=2", "max_epochs"),
        ("--config.batchsize=2", "batch_size"), ("--config.max_epochs=two", "max_epochs"),
        ("--config.max_epochs=", "max_epochs"), ("--config.max_epochs=None", "max_epochs"),
        ("--config.max_epochs=nan", "max_epochs"), ("--config.max_epochs=inf", "max_epochs"),
        ("--config.max_epochs=1e400", "max_epochs"), ("--config.max_epochs=2,5", "max_epochs"),
        ("--config.batch_size=32.0", "batch_size"), ("--config.batch_size=0x20", "batch_size"),
        ("--config.batch_size=" + "9" * 5000, "batch_size"),
        ("--config.batch_size=½", "batch_size"), ("--config.batch_size=3_2_", "batch_size"),
        ("--config.fresh_seeds=(1,1)", "fresh_seeds"),
        ("--config.fresh_seeds=(-1,)", "fresh_seeds"),
        ("--config.fresh_seeds=(True,)", "fresh_seeds"), ("--config.fresh_seeds=()", "fresh_seeds"),
        ("--config.learning_rates=(0.01,0.0100000001)", "learning_rates"),
        ("--config.learning_rates=(0.01", "learning_rates"),
        ("--config.learning_rates=" + "(" * 5000, "learning_rates"),
        ("--config.sweep.weight_decay=(0.1,0.1)", "weight_decay"),
        ("--config.sweep.weight_decay=()", "weight_decay"),
        ("--config.=3", "config."), ("--config..x=3", "config."), ("--config.model.=3", "model"),
        ("--config.model=relu", "model"), ("--config.model.activation=ReLU", "relu"),
        ("--config.data.name=", "data.name"), ("--config.schedule=steps", "schedule"),
        ("--config.thresholds=25", "thresholds"), ("--config.target_train_error=25%", "target"),
        ("--config.target_train_error=25", "target"), ("stray", "stray"), ("-x", "x"),
        ("--config.readings=()", "readings"), ("--config.readings=('online','online')", "readings"),
        ("--config.thresholds=(0.3,0.3)", "thresholds"),
        ("--config.recipes.x.momentum=0", "modern"),
        ("--config.compare.further=('nonsense',)", "compare.further"),
        ("--config.recipes.modern.layer_rates={'conv1':-1}", "a factor of at least 0"),
        ("--hosts=slurm,", "slurm"), ("--hosts=a:0,1,0", "ADDRESS:PORT"), ("--hosts=", "none of"),
    ):  # fmt: skip
        room.refused(room.run(*DRY, flag), words, what=flag[:60])
    for flag, words in (
        ("--config.max_epochs=2e0", ""), ("--config.learning_rates=(1e-3,5E-4)", "0.0005"),
        ("--config.learning_rates=[0.5]", "0.5"), ("--config.fresh_seeds=7", "1 trial"),
        ("--config.learning_rates=0.25", "0.25"),
    ):  # fmt: skip
        room.passed(room.run(*DRY, flag), words, what=flag)


NETWORK = """
import sys
import flax.linen as nn
import jax
class Net(nn.Module):
    num_classes: int
    features: int = 4
    sizes: tuple = (1, 2)
    what: str = None
    @nn.compact
    def __call__(self, images, keys=None):
        x = nn.Dense(self.num_classes, name="fc")(images.reshape(len(images), -1)) * self.features
"""
MINE = ("--config.model.name=configs.mine.Net", "--config.model.activation=relu")
MISTAKES = (
    ("        return x.astype(int)", "float32"),
    ("        return x[:, :3]", "logits"),
    ("        return jax.nn.rellu(x)", "rellu"),
    ("        return x * float('nan')", "NaN"),
    ("        return x[::-1]", "other images"),
    ("        return x if keys is None else x.sum()", "while training"),
    ("        return x + np.random.normal()", "each time"),
    ("        sys.exit(7)", "SystemExit: 7"),
    ("        return None", "logits"),
    ("        return x\nclass Other: pass\nNet = Other", "flax"),
    ("        return x + self.param('w', lambda key: [x.sum() * 0])[0]", "lie in a list"),
    ("        return x + nn.Dense(10, param_dtype='float16')(x)", "float16"),
    ("        return x\n    def __post_init__(self): raise KeyError('mine')", "mine"),
    ("        return x\n    more: 'Nowhere' = 3", "Nowhere"),
)


ONE_CLASS = """part = Split(np.zeros((32, 8, 8, 3), np.uint8), np.zeros(32, np.int32))
    return make_dataset("mine", part, part, 1)"""
DRAWN_ANEW = """rng = np.random.default_rng()
    parts = [rng.integers(0, 255, (32, 8, 8, 3)).astype("uint8") for _ in range(2)]
    labels = np.arange(32, dtype=np.int32) % 2
    return make_dataset("mine", *(Split(part, labels) for part in parts), 2)"""


@row("H-more-own", "networks, optimizers, measures and data sets of one's own, each with mistakes")
def other_things_of_ones_own(room: Room) -> None:
    for text, words in MISTAKES:
        for option in ((), ("--config.model.features=2",)):
            said = run(room, project(room, NETWORK + text), *MINE, *option)
            room.refused(said, words, what=text)
    good = project(room, f"{NETWORK}        print('a word'); return x")
    room.passed(run(room, good, *MINE, "--config.model.features=2", "--workdir=good"))
    for value in ("None", "x", "(3,4)", "1.5"):
        for option in ("features", "sizes", "what"):
            said = run(room, good, *MINE, f"--config.model.{option}={value}", "--dry_run")
            if said.code:
                room.refused(said, option, what=f"{option}={value}")
            else:
                room.passed(said, what=f"{option}={value}")
    said = run(room, good, "--config.recipes.modern.optimizer=configs.mine.nothing")
    room.refused(said, "nothing")
    for text, words in (
        ("return 1 / 0", "ZeroDivisionError"), ("return learning_rate", "GradientTransformation"),
        ("sys.exit(7)", "SystemExit: 7"), ("return optax.sgd(float(learning_rate))", "traced"),
        ("return optax.masked(optax.sgd(learning_rate), {'conv1': True})", "conv2"),
    ):  # fmt: skip
        head = "import sys\nimport optax\ndef mine(learning_rate, recipe):\n    "
        said = run(room, project(room, f"def f(x): return x\n{head}{text}"),
                   "--config.recipes.modern.optimizer=configs.mine.mine")  # fmt: skip
        room.refused(said, words, what=text)
    for text, words in (
        ("return 1 / 0", "ZeroDivisionError"),
        ("return trial.metrics['tset_error'][-1]", "test_error"),
        ("return None", "TypeError"), ("sys.exit(7)", "SystemExit: 7"),
        ("return 2, 1", "turn them"),
    ):  # fmt: skip
        head = (
            "from src.analysis.measures import Measure\ndef _of(trial, target):\n    import sys; "
        )
        tail = "\nmine = Measure('mine', _of, 'difference', 'mine')"
        said = run(room, project(room, f"def f(x): return x\n{head}{text}{tail}"),
                   "--config.compare.measure=configs.mine.mine")  # fmt: skip
        room.refused(said, words, what=text)
    for text, words in (
        ("return 1", "Dataset"), ("sys.exit(7)", "SystemExit: 7"),
        ("return open('nowhere')", "nowhere"), (ONE_CLASS, "2 or more"),
        (DRAWN_ANEW, "same images each time"),
    ):  # fmt: skip
        head = "import sys\nfrom src.data import Split, make_dataset\ndef load():\n    "
        folder = project(room, f"def f(x): return x\n{head}{text}")
        said = run(room, folder, "--config.data.name=configs.mine.load")
        room.refused(said, words, what=text[:60])


@row("H-more-records", "records edited by hand, of two studies in one folder, of a later version")
def records_edited(room: Room) -> None:
    room.passed(room.run(*room.tiny, "--config.fresh_seeds=(1,2)"))
    work = room.folder / "w"
    one, two = sorted((work / "trials").iterdir())
    edits = (
        (work / "study.json", '"fresh_seeds"', '"other_seeds"'), (one / "result.json", "0.", "1."),
        (one / "metrics.csv", "0.", "1."), (one / "config.json", "0.0", "0.1"),
        (work / "study.json", "{", "{" * 2000), (one / "result.json", "{", "["),
    )  # fmt: skip
    for path, old, new in edits:
        before = path.read_text()
        path.write_text(before.replace(old, new, 1))
        said = room.run(*room.tiny, "--config.fresh_seeds=(1,2)")
        room.refused(said, path.name, what=f"{path.name} main")
        room.refused(room.run("w", door="report"), path.name, what=f"{path.name} report")
        path.write_text(before)
    table = work / "results.csv"
    before = table.read_text()
    table.write_text(before.replace("0.", "0.9"))
    room.passed(room.run("w", door="report"))
    room.check(table.read_text() == before, "an edited results.csv stands")
    for name in ("result.json", "metrics.csv"):
        mine, theirs = (one / name).read_bytes(), (two / name).read_bytes()
        (one / name).write_bytes(theirs)
        room.refused(room.run("w", door="report"), one.name, what=f"{name} of another seed")
        (one / name).write_bytes(mine)
    room.passed(room.run("w", door="report"))
    room.check(len(rows_of(work)) == 2, "trials are missing")


@row("H-more-entries", "claims, report, evaluate and networks of nonsense: one line")
def entries_of_nonsense(room: Room) -> None:
    (room.folder / "empty").mkdir()
    (room.folder / "file").write_bytes(b"\xff\xfe\x00")
    (room.folder / "loop").symlink_to("loop")
    for door in ("claims", "report", "paper_figures", "evaluate"):
        for argument in ("nowhere", "file", "loop", "empty", "x" * 5000, "\udcff", "-", "*"):
            said = room.run(argument, door=door)
            clear = "Traceback" not in said.text and len(said.errors) <= 1
            what = f"{door} {argument[:20]!a}: {said.code} {said.lines[-3:]}"
            room.check((said.code == 2 or (door, argument) == ("claims", "empty")) and clear, what)
    for given in (("nonsense",), ("conv3", "--draw=file"), ("conv3", "--draw=loop"), ("--draw",)):
        said = room.run(*given, door="networks")
        room.check(said.code == 2 and "Traceback" not in said.text, f"{given}: {said.lines[-3:]}")
    for weights in ("nowhere", "file", "loop", "empty", "/dev/null"):
        said = room.run(f"--weights={weights}", door="evaluate")
        room.refused(said, what=f"--weights={weights}")
    pointer = room.folder / "net.pth"
    pointer.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    room.refused(room.run(f"--weights={pointer}", door="evaluate"), "git lfs pull")
    for start, words in ((f"path={pointer}", "git lfs pull"), ("path=nowhere", "nowhere")):
        work = ("--workdir=start", f"--config.start_from.{start}")
        room.refused(room.run(*room.tiny, *work), words, what=start)
        room.check(not (room.folder / "start").exists(), f"{start}: a study was begun")
    for argument in ("--views=3", "--views=x", "--images=-1", "--layout=x", "--features=x"):
        said = room.run(f"--weights={room.folder / 'file'}", argument, door="evaluate")
        room.check(
            said.code == 2 and "Traceback" not in said.text, f"{argument}: {said.lines[-3:]}"
        )
