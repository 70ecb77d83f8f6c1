"""The table of claims, from the records of our studies: `python -m src.claims DIR`.

It is written into DIR/README.md between `<!-- claims -->` and `<!-- /claims -->`, and drawn as
DIR/claims.png and .svg; README.md beside DIR is given the figure and how many rows say what.
"""

import argparse
import collections
import math
from collections.abc import Sequence
from pathlib import Path

from src import wording
from src.analysis import verdicts
from src.analysis.effects import Analysis, analyse
from src.analysis.study import load_study
from src.errors import LabError
from src.paths import local_path_of
from src.records import files
from src.reports import (
    activity,
    evaluated,
    findings,
    paper_figures,
    rate_drops,
    readme,
    sentences,
    webpage,
)
from src.reports.figures import canvas
from src.reports.figures.claims import LOOKS, UNDECIDED, draw_claims, verdict_words
from src.reports.figures.forest import Bar
from src.reports.findings import Finding
from src.reports.paper_claims import CLAIMS, NOTES, UNTESTED, Claim, Untested

PUBLISHED = "published_weights"  # Folder in experiments/.
FOLDERS = (  # All that rows are made of.
    *(claim.study for claim in (*CLAIMS, rate_drops.DROP)),
    *(paper_figures.NAME, evaluated.FOLDER, evaluated.CROPPED, PUBLISHED),
)
HEADER = ("claim", "source", "claimed", "ours", "training error", "verdict", "records")
OPEN = ("claim", "source", "claimed", "command")
TEXT = (
    "Our numbers come from small networks and few images; each study says which. The column"
    " *training error* is that at the end of training; of two arms the baseline's, and that of the"
    " arm beside it. A network that has not learned its training images says little about"
    " overfitting. Each 95% interval is that of its own comparison; a verdict uses p, which is"
    " adjusted for all comparisons of its study by the same measure. An arm overfits less where the"
    " test error at equal training error or that at the end is shown to be lower, and that at the"
    " end not contradicted. Rows of one study share its baseline.\n\n"
    "| verdict | what it says |\n| --- | --- |\n"
    "| shown | the effect is there |\n"
    "| contradicted | the opposite effect is there |\n"
    "| no effect larger than | an effect, if there is one, is smaller than this |\n"
    "| not decided | the data allow an effect and none |\n"
    "| confounded | the two arms of a comparison were trained by different code |\n"
    "| not testable at this budget | the claimed effect would take more than"
    f" {verdicts.MOST_SEEDS} seeds an arm |\n\n"
    "A smaller gap between training and test error shows nothing by itself: the gap is also small"
    " where training is slow."
)
NOTES_TEXT = (
    "The parameter files of the original program (computerhistory/AlexNet-Source-Code) hold lab"
    " notes. Errors are top-1 / top-5 on ImageNet, of one run each."
)


def read_studies(experiments: Path) -> dict[str, Analysis | None]:
    """Reads each study that a claim asks once; None for a study without records.

    Raises:
        RecordError: If a record is damaged.
    """
    names = dict.fromkeys(claim.study for claim in CLAIMS)
    return {name: _read(experiments / name) for name in names}


def _read(folder: Path) -> Analysis | None:
    return analyse(load_study(folder)) if (folder / "study.json").exists() else None


def claims_table(found: Sequence[Finding], published: Sequence[Sequence[str]] = ()) -> str:
    """The table of claims, with the sentences that it needs to be read rightly.

    Args:
        found: The rows, from `findings.find_all`.
        published: Rows of published weights, see `published_rows`.
    """
    ran = {each.claim.text for each in found if not each.waits}
    rows = [*(_row(each) for each in found if each.claim.text in ran), *published]
    waiting = {each.claim.text: each.claim for each in found if each.claim.text not in ran}
    to_run = [_open(claim, study_command(claim.study), claim.then) for claim in waiting.values()]
    to_run += [_open(claim, _command(claim.command)) for claim in UNTESTED]
    notes = [(note.run, note.text, note.number) for note in NOTES]
    parts = (
        TEXT,
        "### Measured",
        wording.table(HEADER, rows) if rows else "Nothing yet.",
        "### Not run yet",
        "Each command measures the claim beside it, or trains the networks that it asks about.",
        wording.table(OPEN, to_run),
        "### What the author's own notes show",
        NOTES_TEXT,
        wording.table(("run", "what", "error"), notes),
    )
    return "\n\n".join(parts)


def _row(found: Finding) -> list[str]:
    claim = found.claim
    start = [claim.text, claim.source, claim.number]
    records = f"[{claim.study}]({claim.study}/report.md)"
    return [*start, f"{found.group}: {found.ours}", found.trained, found.words, records]


def _open(claim: Claim | Untested, *commands: str) -> list[str]:
    told = ", then ".join(f"`{command}`" for command in commands if command)
    return [claim.text, claim.source, claim.number, told]


def published_rows(folder: Path) -> list[list[str]]:
    """A row for each net whose published weights were evaluated here: their number beside ours.

    Raises:
        RecordError: If a record is damaged.
    """
    rows = []
    for path in sorted((folder / PUBLISHED).glob("*/evaluation.json")):
        record = files.read_sealed(path, "evaluate the weights again")
        for net in (each for each in record["networks"] if "published" in each):
            ours = [
                f"{error['top1']['wrong']:,} of {error['top1']['images']:,} wrong"
                f" ({wording.percent(error['top1']['value'])}) in {wording.VIEWS[int(views)]}"
                for views, error in net["errors"].items()
            ]
            link = f"[{path.parent.name}]({PUBLISHED}/{path.parent.name}/report.md)"
            claim = f"Published weights: {net['name']}"
            cells = [claim, "Caffe", net["published"], f"{'; '.join(ours)}; {record['dataset']}"]
            rows.append([*cells, "-", "evaluated", link])
    return rows


def _command(arguments: str) -> str:
    return f"python -m src.main {arguments}" if arguments.startswith("--") else arguments


def study_command(study: str) -> str:
    """The command that fills the folder of a study."""
    config, _, name = study.partition("/")
    return _command(f"--config=configs/{config}.py" + (f" --config.study={name}" if name else ""))


def summary(found: Sequence[Finding]) -> str:
    """A sentence that counts claims, and findings by verdict: a claim has one for each group."""
    counts = collections.Counter(verdict_words(each.verdict) for each in found if each.verdict)
    waiting = {claim.text for claim in UNTESTED}
    claims = len(waiting | {each.claim.text for each in found})
    measured = len({each.claim.text for each in found if each.verdict})
    if not measured:
        return f"Of {claims} claims none is measured yet."
    verb = "is" if measured == 1 else "are"
    told = ", ".join(f"{number} {words}" for words, number in counts.most_common())
    findings = wording.counted(counts.total(), "finding")
    return f"Of {claims} claims {measured} {verb} measured so far, in {findings}: {told}."


def _bars(found: Sequence[Finding]) -> list[Bar]:
    """The bars of the figure, one for each row that has a value."""
    return [
        Bar(
            f"{f.claim.text} ({f.group})",
            f.found,
            f"{sentences.bar_words(f.found)}, {verdict_words(f.verdict)}",
            *LOOKS.get(f.verdict or "", UNDECIDED),
            f.claim.factor or f.claim.direction * f.claim.effect or math.nan,
        )
        for f in found
        if f.found and not math.isnan(f.found.value)
    ]


def write_claims(folder: Path) -> None:
    """Fills both READMEs and draws the figure.

    Raises:
        RecordError: If a record is damaged or a file cannot be written.
    """
    folder = folder.resolve()  # Its name stands in links.
    studies = read_studies(folder)
    found = findings.find_all(studies)
    found += activity.active_units(studies[activity.ACTIVE.study])
    found += [paper_figures.towers(folder), paper_figures.neighbours(folder)]
    found += [*evaluated.averages(folder), evaluated.ten_views(folder)]
    found += [rate_drops.first_drop(folder)]
    picture = f"![{webpage.CLAIMS}](claims.png)"
    table = claims_table(found, published_rows(folder))
    readme.fill(folder / "README.md", "claims", f"{picture}\n\n{table}")
    with canvas.style():
        canvas.save(draw_claims(_bars(found)), folder / "claims")
    drawn = f'<img src="{folder.name}/claims.png" width="365" alt="{webpage.CLAIMS}">'
    link = f"The table: [{folder.name}/README.md]({folder.name}/README.md)."
    text = f"{summary(found)} {link}\n\n{drawn}"
    readme.fill(folder.parent / "README.md", "claims", text)


def main(arguments: Sequence[str]) -> int:
    """Makes table and figure of the claims.

    Raises:
        LabError: If there is no such folder, it has no study of a claim, or a record is damaged.
    """
    parser = argparse.ArgumentParser(prog="python -m src.claims", description=__doc__)
    parser.add_argument("folder", metavar="DIR", type=local_path_of("DIR"))
    folder = parser.parse_args(arguments).folder
    if not folder.is_dir():
        raise LabError(f"{folder} is not a folder; give the one that holds the studies")
    if not any((folder / name).is_dir() for name in FOLDERS):
        raise LabError(f"{folder} holds no study of a claim; give the one that holds the studies")
    write_claims(folder)
    print(f"{folder / 'claims.png'}, and the tables of the README.md that have a place for them")
    return 0
