"""Copies a study's answer into a README, between two marks."""

import re
from pathlib import Path

from src.records import files


def fill(readme: Path, name: str, text: str) -> None:
    """Puts `text` between `<!-- name -->` and `<!-- /name -->`, wherever the file has these marks.

    Args:
        readme: The Markdown file; if it does not exist, nothing is done.
        name: The name in the marks.
        text: The Markdown to put there.

    Raises:
        RecordError: If the file cannot be written, or one of the two marks is missing.
    """
    if not readme.exists():
        return
    old = files.read_text(readme)
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if old.count(begin) != old.count(end):
        raise files.RecordError(f"{readme} has {begin} without {end}, or the other way round")
    between = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new = between.sub(lambda _: f"{begin}\n{text}\n{end}", old)
    if new != old:
        files.write_atomic(readme.resolve(), new)  # A link stays one.
