"""Reports as web pages that need nothing else: report.html, and index.html over all of them.

A page is made of the report's Markdown and holds its figures. A click sorts a table; long tables
are folded; colours are light or dark as in the reader's system. A page loads no other files, and
the same report gives the same bytes. The index shows figures of the folders beside it.
"""

import base64
import html
import io
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markdown_it import MarkdownIt
from PIL import Image

from src.records.files import RecordError, read_bytes, read_text, write_atomic

TEMPLATE = string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
DEPTHS = ("*/report.md", "*/*/report.md")  # Studies lie in these places below an index.
ALL, CLAIMS = "Claims of the AlexNet paper, tried", "Every claim with its interval"
WIDTH = re.compile(r'<svg[^>]*? width="([\d.]+)pt"')
MOST = 3  # Answers of a study that the index lists where its figure shows them all.
LONG = 12  # Rows of a table above which it is folded.
PHOTOGRAPHS = 500_000  # Letters of a figure's data URI above which it is drawn with loss.
SENTENCE = 90  # Letters of a cell above which its column is kept wide enough to be read.
FIGURE = re.compile(r"!\[(.*?)\]\((.*?)\)")
MARKED = re.compile(r"<!-- claims -->\n(.*?)<!-- /claims -->", re.DOTALL)
UNQUOTED = " /:=;,.-()[]{}@!*+?$&"  # Characters that a data URI in double quotes may hold.


def write_page(folder: Path) -> None:
    """Writes report.html beside report.md.

    Raises:
        RecordError: If the report or one of its figures is missing, or is not UTF-8.
    """
    text = read_text(folder / "report.md")
    write_atomic(folder / "report.html", make_page(text, folder))


def write_index(folder: Path) -> None:
    """Writes index.html over all reports below a folder.

    It has the figure of all claims if there is one; figure, question and answer of each report,
    which a click opens; and the table of claims from the folder's README.

    Raises:
        RecordError: If a report cannot be read, or there is an index.html that is not ours.
    """
    index = folder / "index.html"
    if index.exists() and f"<title>{ALL}</title>".encode() not in read_bytes(index):
        raise RecordError(f"{index} is no list of studies, and would be written over; rename it")
    claims, readme = folder / "claims.png", folder / "README.md"
    marked = MARKED.search(read_text(readme)) if readme.exists() else None
    studies = [path.parent for pattern in DEPTHS for path in folder.glob(pattern)]
    names = _in_order([path.relative_to(folder).as_posix() for path in studies], marked)
    parts = [f"<h1>{ALL}</h1>"]
    parts += [_figure(CLAIMS, claims)] if claims.exists() else []
    parts += ["<h2>Studies</h2>", *(_entry(name, folder) for name in names)]
    if marked:
        told = FIGURE.sub("", marked[1])  # The page begins with the figure.
        table = _markdown(folder).render(told.replace("/report.md)", "/report.html)"))
        parts += ["<h2>Claims</h2>", table]
    body = "\n".join(parts)
    write_atomic(index, TEMPLATE.substitute(title=ALL, body=body))


def _in_order(names: Sequence[str], claims: re.Match[str] | None) -> list[str]:
    """Studies as the table of claims names them, then the others by their letters."""
    text = claims[1] if claims else ""
    places = {name: text.find(f"({name}/report.md)") for name in names}
    return sorted(names, key=lambda name: (places[name] < 0, places[name], name))


def make_page(text: str, folder: Path) -> str:
    """The page of a Markdown text whose figures lie in `folder`; its title is the first heading."""
    title = html.escape(_title(text).replace("*", ""))
    return TEMPLATE.substitute(title=title, body=_markdown(folder).render(text))


def _markdown(folder: Path) -> MarkdownIt:
    """Makes HTML of Markdown: figures of `folder` within, tables that scroll, long ones folded."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")

    def image(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
        source, words = tokens[index].attrs["src"], html.escape(tokens[index].content)
        return _figure(words, folder / source)

    def opened(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
        return f'{_fold(tokens, index)}<div class="wide"><table>\n'

    def closed(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
        begin = max(i for i in range(index) if tokens[i].type == "table_open")
        return f"</table></div>{'</details>' if _fold(tokens, begin) else ''}\n"

    def cell(self: Any, tokens: Sequence[Any], index: int, options: Any, env: Any) -> str:
        return '<td class="long">' if len(tokens[index + 1].content) > SENTENCE else "<td>"

    markdown.add_render_rule("image", image)
    markdown.add_render_rule("td_open", cell)
    markdown.add_render_rule("table_open", opened)
    markdown.add_render_rule("table_close", closed)
    return markdown


def _fold(tokens: Sequence[Any], index: int) -> str:
    """The HTML that folds the table that begins there; "" if it is short."""
    end = next(i for i in range(index, len(tokens)) if tokens[i].type == "table_close")
    rows = sum(token.type == "tr_open" for token in tokens[index:end]) - 1  # Heads do not count.
    return f"<details><summary>Table of {rows} rows</summary>" if rows > LONG else ""


def _figure(words: str, path: Path) -> str:
    """A figure within the page.

    It is the SVG, which is sharp at any size, or its PNG if that is smaller, or a WebP of many
    photographs.
    """
    svg = read_text(path.with_suffix(".svg"))
    image = f'<img alt="{words}" src="{_inlined(svg, path)}"{_size(svg)}>'
    return f'<span class="wide figure">{image}</span>'


def _size(svg: str) -> str:
    """The width that a figure was drawn for, as an attribute: a PNG has more pixels than that."""
    points = WIDTH.search(svg)
    return f' width="{float(points[1]) * 96 / 72:.0f}"' if points else ""


def _inlined(svg: str, path: Path) -> str:
    """As a data URI."""
    as_svg = f"data:image/svg+xml,{quote(' '.join(svg.split()), safe=UNQUOTED)}"
    as_png = _data_url("png", read_bytes(path))
    found = min(as_svg, as_png, key=len)
    return found if len(found) < PHOTOGRAPHS else _data_url("webp", _as_webp(path))


def _data_url(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _as_webp(path: Path) -> bytes:
    """A picture with loss: photographs take a tenth of the space, and lines would blur."""
    with Image.open(io.BytesIO(read_bytes(path))) as image, io.BytesIO() as file:
        image.save(file, "WEBP", quality=80)
        return file.getvalue()


def _size_of(path: Path) -> str:
    svg = path.with_suffix(".svg")
    return _size(read_text(svg)) if svg.exists() else ""


def _title(text: str) -> str:
    return next((line[2:] for line in text.splitlines() if line.startswith("# ")), "Report")


def _entry(name: str, folder: Path) -> str:
    """A study of the index: its first figure, its question, and as the answer what its report
    lists, or has bold, before its sections; of a long list that the figure shows, the beginning.
    """
    text = read_text(folder / name / "report.md")
    opening, inline = text.split("\n## ")[0], MarkdownIt("commonmark", {"html": False})
    link, figure = f"{quote(name)}/report.html", FIGURE.search(text)
    answers = [line[2:] for line in opening.splitlines() if line.startswith("- ")]
    image, more = "", len(answers) - MOST
    if figure and more > 1:
        answers[MOST:] = [f"And {more} more: in the figure and the report."]
    answers += [line for line in opening.splitlines() if line.startswith("**")]
    if figure:
        source, size = f"{quote(name)}/{figure[2]}", _size_of(folder / name / figure[2])
        image = f'<a href="{link}"><img alt="{html.escape(figure[1])}" src="{source}"{size}></a>'
    listed = "".join(f"<li>{inline.renderInline(answer)}</li>" for answer in answers)
    return (
        f'<article>{image}<div><h3><a href="{link}">{inline.renderInline(_title(text))}</a></h3>\n'
        f"<p>{html.escape(name)}</p><ul>{listed}</ul></div></article>"
    )
