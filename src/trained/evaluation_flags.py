"""The command line of `python -m src.evaluate`: a flag that would do nothing is refused."""

import argparse
import re
from collections.abc import Sequence

from src.paths import local_path_of
from src.weights.layouts import NAMES
from src.wording import VIEWS


def parse(arguments: Sequence[str], description: str | None) -> argparse.Namespace:
    """Reads the command line.

    Args:
        arguments: The command line, without the name of the program.
        description: What `--help` says first.

    Raises:
        PathError: If a path cannot be meant as it was typed.
        SystemExit: If nothing is to be done, or a flag would do nothing.
    """
    parser = argparse.ArgumentParser(
        prog="python -m src.evaluate",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    trial, weights, mean = (
        local_path_of("TRIAL"),
        local_path_of("--weights", "file"),
        local_path_of("--mean", "file"),
    )
    add("trials", type=trial, nargs="*", metavar="TRIAL", help="folder, STUDY/trials/TRIAL")
    add("--weights", type=weights, action="append", default=[], metavar="FILE", help="or several")
    add("--data", default="", metavar="NAME", help="default: what the network was trained on")
    add("--data_dir", default="", metavar="DIR", help="TFDS data directory")
    add("--views", type=_numbers, default=(), help="1, 2 (image and mirror) or 10 (crops)")
    add("--images", type=_count, default=0, help="the first so many test images; 0: all")
    add("--features", metavar="LAYER", help="of the first network, as features.npz")
    add("--out", type=local_path_of("--out"), metavar="DIR", help="folder of the report")
    add("--layout", help=f"where files of weights do not tell: {', '.join(NAMES)}")
    add("--mean", type=mean, metavar="FILE", help="their mean image, in place of a mean colour")
    redraw, anew = local_path_of("--redraw"), "write these reports anew"
    add("--redraw", type=redraw, action="extend", nargs="+", default=[], metavar="DIR", help=anew)
    given = parser.parse_args(arguments)
    if not given.trials and not given.weights and not given.redraw:
        parser.error("nothing to test: give the folder of a trial, or --weights=FILE")
    if idle := _idle(given, parser):
        parser.error(idle)
    return given


def _idle(given: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """Says which flags would do nothing here; "" if there is none."""
    changed = [k for k, value in vars(given).items() if value not in (parser.get_default(k), [])]
    if given.redraw and len(changed) > 1:
        others = [name if name == "trials" else f"--{name}" for name in changed if name != "redraw"]
        return f"--redraw tests nothing: leave {', '.join(others)} out"
    of_files = [f"--{name}" for name in ("layout", "mean") if name in changed]
    if of_files and not given.weights:
        return f"{of_files[0]} says how to read a file of --weights: leave it out for trials"
    return ""


def _numbers(text: str) -> tuple[int, ...]:
    known = {str(number): number for number in VIEWS}
    parts = [part.strip() for part in text.split(",")]
    if not set(parts) <= known.keys():
        raise argparse.ArgumentTypeError(
            f"{text!r} should be numbers of views: 1, 2 or 10, or several, as in 1,10"
        )
    return tuple(sorted({known[part] for part in parts}))


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text!r} should be a number of images, 0 for all")
    return int(text)
