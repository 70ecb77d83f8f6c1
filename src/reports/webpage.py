"""Reports as web pages that need nothing else: report.html, and index.html over all of them.

A page is the report's Markdown, its figures within, tables sorted by a click, light or dark as the
reader's system is. It loads nothing, and the same report gives the same bytes.
"""

import base64
import html
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt

from src.records.files import read_bytes, write_atomic

TEMPLATE = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
DEPTHS = ("*/report.md", "*/*/report.md")  # Where studies lie below the folder of an index.
ALL, CLAIMS = "All studies", "Every claim with its interval"
UNQUOTED = " /:=;,.-()[]{}@!*+?$&"  # Characters that a data URI in double quotes may hold.


def write_page(folder: Path) -> None:
    """Writes report.html beside report.md.

    Raises:
        RecordError: If the report or one of its figures is missing.
    """
    text = read_bytes(folder / "report.md").decode()
    write_atomic(folder / "report.html", make_page(text, folder))


def write_index(folder: Path) -> None:
    """Writes index.html: the figure of all claims, where there is one, then question, answer and
    link of every report below the folder.

    Raises:
        RecordError: If a report cannot be read.
    """
    paths = sorted(path for pattern in DEPTHS for path in folder.glob(pattern))
    rows = "\n".join(_entry(path.parent, folder) for path in paths)
    heads = "<tr><th>study</th><th>question</th><th>answer</th></tr>"
    table = f"<table>\n<thead>{heads}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    claims = folder / "claims.png"
    figure = f'<img alt="{CLAIMS}" src="{_inlined(claims)}">\n' if claims.exists() else ""
    body = f'<h1>{ALL}</h1>\n{figure}<div class="wide">{table}</div>'
    write_atomic(folder / "index.html", TEMPLATE.substitute(title=ALL, body=body))


def make_page(text: str, folder: Path) -> str:
    """The page of a Markdown text whose figures lie in `folder`; its title is the first heading."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
        source, words = tokens[index].attrs["src"], html.escape(tokens[index].content)
        return f'<img alt="{words}" src="{_inlined(folder / source)}">'

    markdown.add_render_rule("image", image)
    markdown.add_render_rule("table_open", lambda *_: '<div class="wide"><table>\n')
    markdown.add_render_rule("table_close", lambda *_: "</table></div>\n")
    title = html.escape(_title(text).replace("*", ""))
    return TEMPLATE.substitute(title=title, body=markdown.render(text))


def _inlined(path: Path) -> str:
    """A figure as a data URI: SVG, which is sharp at any size, or its PNG where that is smaller."""
    svg = read_bytes(path.with_suffix(".svg")).decode()
    as_svg = f"data:image/svg+xml,{quote(' '.join(svg.split()), safe=UNQUOTED)}"
    as_png = f"data:image/png;base64,{base64.b64encode(read_bytes(path)).decode()}"
    return min(as_svg, as_png, key=len)


def _title(text: str) -> str:
    return next((line[2:] for line in text.splitlines() if line.startswith("# ")), "Report")


def _entry(study: Path, folder: Path) -> str:
    """A row of the index; the answer is what a report lists, or has bold, before its sections."""
    text = read_bytes(study / "report.md").decode()
    opening = text.split("\n## ")[0].splitlines()
    answers = [line.removeprefix("- ") for line in opening if line.startswith(("- ", "**"))]
    name, inline = study.relative_to(folder).as_posix(), MarkdownIt("commonmark", {"html": False})
    cells = (
        f'<a href="{quote(name)}/report.html">{html.escape(name)}</a>',
        inline.renderInline(_title(text)),
        f"<ul>{''.join(f'<li>{inline.renderInline(answer)}</li>' for answer in answers)}</ul>",
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
