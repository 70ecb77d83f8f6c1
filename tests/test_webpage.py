"""report.html and index.html: whole, alone, the same bytes; and in a real browser."""

import base64
import html
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src import wording
from src.records.files import RecordError
from src.reports import compose as report
from src.reports import webpage
from tests import synthetic

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
REPORTS = [p.relative_to(EXPERIMENTS).as_posix() for p in EXPERIMENTS.rglob("report.html")]
VIEWS = [  # "study" is the one that is made here, of arithmetic.
    *((page, width, dark) for page in ("index.html", "study") for width in (400, 1200)
      for dark in (False, True)),
    *((page, 400, False) for page in sorted(REPORTS)),
]  # fmt: skip
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
VOID = {"meta", "link", "img", "br", "hr"}
CLICK = """<script>
const heads = document.querySelectorAll("table")[{table}].tHead.rows[0].cells;
for (let i = 0; i < {times}; i++) heads[{column}].querySelector("button").click();
</script>"""

LAID_OUT = """<script>
addEventListener("load", () => {
  const width = document.documentElement.clientWidth;
  const over = [...document.querySelectorAll("body *")].filter(each =>
    each.getBoundingClientRect().right > width + 1 && !each.parentElement.closest(".wide"));
  const { color, backgroundColor } = getComputedStyle(document.body);
  document.title = JSON.stringify({
    width,
    scrolls: document.documentElement.scrollWidth,
    over: over.map(each => each.outerHTML.slice(0, 80)),
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    text: color,
    back: backgroundColor,
  });
});
</script>"""
SEEN = """<script>
addEventListener("load", () => {
  document.title = [...document.images].map(image => image.naturalWidth > 100).join();
});
</script>"""


class Page(HTMLParser):
    """Tags, links and cells of a page, in order; refuses what is not closed."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.images: list[str] = []
        self.studies: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        if tag == "img":
            self.images.append(values["alt"])
        elif tag == "article":
            self.studies.append("")
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data
        elif "article" in self.open:
            self.studies[-1] += f"{data} "


@pytest.fixture(scope="module")
def study_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("experiments") / "study"
    synthetic.write_study(folder)
    report.write_report(folder)
    return folder


@pytest.mark.slow
def test_a_page_holds_all_of_its_report_and_needs_nothing_else(study_dir):
    text = (study_dir / "report.html").read_text()
    markdown = (study_dir / "report.md").read_text()
    page = Page(text)
    assert page.images == re.findall(r"!\[(.*?)\]", markdown)
    assert len(page.images) >= 3
    assert page.tags.count("h2") == markdown.count("\n## ")
    rows = sum(len(table) for table in page.tables)
    assert rows == len(re.findall(r"^\|(?! *-)", markdown, re.MULTILINE))
    assert all(address.startswith("data:") for address in page.addresses)
    assert "prefers-color-scheme: dark" in text
    assert len(text) < 1_000_000


@pytest.mark.slow
def test_a_name_in_a_report_is_text_never_code(study_dir):
    page = webpage.make_page("# <b>1 & 2\n\n<script>alert(1)</script>\n", study_dir)
    assert Page(page).tags.count("script") == 1
    assert "<title>&lt;b&gt;1 &amp; 2</title>" in page


def test_a_missing_figure_is_named(tmp_path):
    with pytest.raises(RecordError, match="gone"):
        webpage.make_page("![x](gone.png)", tmp_path)


def test_a_report_or_figure_that_is_not_utf8_is_named(tmp_path):
    report = tmp_path / "study" / "report.md"
    report.parent.mkdir()
    report.write_bytes("# Größe\n".encode("latin-1"))
    for write, folder in ((webpage.write_page, report.parent), (webpage.write_index, tmp_path)):
        with pytest.raises(
            RecordError, match=r"study/report\.md is not UTF-8 .*; save it as UTF-8"
        ):
            write(folder)
    report.write_text("# Size\n\n![x](a.png)\n")
    (report.parent / "a.svg").write_bytes(b"<svg>\xff</svg>")
    for write, folder in ((webpage.write_page, report.parent), (webpage.write_index, tmp_path)):
        with pytest.raises(RecordError, match=r"study/a\.svg is not UTF-8"):
            write(folder)


def test_the_index_has_question_answer_and_link_of_each_study(study_dir):
    for name in ("b|c", "nested/a"):
        folder = study_dir.parent / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.md").write_text(
            "# Why?\n\n- **So**: 1 | 2.\n\nNote.\n\n## Table\n\n- x\n"
        )
    webpage.write_index(study_dir.parent)
    page = Page((study_dir.parent / "index.html").read_text())
    assert [study.split() for study in page.studies[:2]] == [
        ["Why?", "b|c", "So", ":", "1", "|", "2."], ["Why?", "nested/a", "So", ":", "1", "|", "2."],
    ]  # fmt: skip
    assert "tanh needs" in page.studies[2]
    links = [a for a in page.addresses if a != "data:,"]
    reports = ["b%7Cc/report.html", "nested/a/report.html", "study/report.html"]
    assert list(dict.fromkeys(a for a in links if a.endswith(".html"))) == reports
    assert [a for a in links if a not in reports] == ["study/effects.png"]


def test_the_index_has_the_claims_of_the_readme_beside_it(tmp_path):
    rows = "\n".join(f"| [s{i}](s{i}/report.md) |" for i in range(webpage.LONG + 1))
    marks = "<!-- claims -->\n{}\n<!-- /claims -->\n".format(f"| claim |\n|---|\n{rows}")
    (tmp_path / "README.md").write_text(f"# Title\n\nNot this.\n{marks}")
    webpage.write_index(tmp_path)
    text = (tmp_path / "index.html").read_text()
    page = Page(text)
    assert page.tables[0][1:] == [[f"s{i}"] for i in range(webpage.LONG + 1)]
    assert page.addresses[-1] == f"s{webpage.LONG}/report.html"
    assert "Not this" not in text


def test_the_index_has_studies_as_the_claims_name_them_and_few_answers_beside_a_figure(tmp_path):
    answers = "".join(f"- answer {i}.\n" for i in range(5))
    for name, picture in (("a", "![x](effects.png)\n\n"), ("b", ""), ("c/d", "")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "report.md").write_text(f"# Why?\n\n{answers}\n{picture}**Beware.**\n")
    rows = "| claim |\n|---|\n| [c/d](c/d/report.md) |\n| [b](b/report.md) |\n"
    (tmp_path / "README.md").write_text(
        f"<!-- claims -->\n![All](claims.png)\n\n{rows}<!-- /claims -->\n"
    )
    webpage.write_index(tmp_path)
    page = Page((tmp_path / "index.html").read_text())
    assert [study.split()[1] for study in page.studies] == ["c/d", "b", "a"]
    assert "answer 4." in page.studies[1]
    told = "answer 0. answer 1. answer 2. And 2 more: in the figure and the report. Beware."
    assert told in " ".join(page.studies[2].split())
    assert page.images == ["x"]


def test_a_figure_is_as_wide_as_it_was_drawn_for_whatever_its_pixels(tmp_path):
    (tmp_path / "a.svg").write_text('<svg height="9pt" width="270pt">' + " x" * 999)
    (tmp_path / "a.png").write_bytes(b"PNG" * 9)
    assert ' width="360">' in webpage.make_page("# Title\n\n![words](a.png)\n", tmp_path)


def test_long_tables_are_folded_and_short_ones_are_not(tmp_path):
    short, long = ("| n |\n|---|\n" + "| 1 |\n" * rows for rows in (webpage.LONG, 100))
    text = webpage.make_page(f"{short}\n\n{long}\n\n{short}", tmp_path)
    assert Page(text).tags.count("details") == 1
    assert "<summary>Table of 100 rows</summary>" in text
    assert text.index("<table>") < text.index("<details>")


def test_the_index_begins_with_the_figure_of_all_claims_where_there_is_one(study_dir, tmp_path):
    webpage.write_index(tmp_path)
    assert "<img" not in (tmp_path / "index.html").read_text()
    for kind in ("png", "svg"):
        figure = (study_dir / f"effects.{kind}").read_bytes()
        (tmp_path / f"claims.{kind}").write_bytes(figure)
    webpage.write_index(tmp_path)
    page = (tmp_path / "index.html").read_text()
    assert page.index('<img alt="Every claim with its interval"') < page.index("<h2>Studies</h2>")


def browse(path: Path, *given: str) -> str:
    """The page as a browser has it after its scripts have run."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--dump-dom",
        *given,
    ]
    command = [browser, *options, f"--user-data-dir={path.parent / 'profile'}", path.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "times", "expected"),
    [
        (0, 1, ["a", "b", "c", "d"]),
        (0, 2, ["d", "c", "b", "a"]),
        (1, 1, ["b", "d", "a", "c"]),  # by number, not by letter; the empty cell last
        (1, 2, ["a", "d", "b", "c"]),
    ],
)
def test_a_click_on_a_head_sorts_its_table(tmp_path, column, times, expected):
    rows = "| d | 1,000 ms |\n| a | more than 20000.5 |\n| b | 9 |\n| c | - |\n"
    text = webpage.make_page(f"| name | time |\n|---|---|\n{rows}", tmp_path)
    script = CLICK.format(table=0, column=column, times=times)
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{script}</body>"))
    page = Page(browse(tmp_path / "page.html"))
    assert [row[0] for row in page.tables[0][1:]] == expected


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_durations_are_sorted_by_their_length(tmp_path, times):
    durations = ["36 s", "71 s", "2 min", "24 min", "1 h 35 min", "2 h 00 min"]
    assert durations == [wording.duration(n) for n in (36.0, 71.0, 120.0, 1440.0, 5700.0, 7200.0)]
    rows = "".join(f"| {each} |\n" for each in sorted(durations))
    text = webpage.make_page(f"| training time |\n|---|\n{rows}", tmp_path)
    script = CLICK.format(table=0, column=0, times=times)
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{script}</body>"))
    page = Page(browse(tmp_path / "page.html"))
    assert [row[0] for row in page.tables[0][1:]] == durations[:: 1 if times == 1 else -1]


@pytest.mark.slow
def test_a_browser_shows_every_figure(study_dir, tmp_path):
    text = (study_dir / "report.html").read_text()
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{SEEN}</body>"))
    title = re.search(r"<title>(.*?)</title>", browse(tmp_path / "page.html"))
    assert title is not None
    assert title[1] == ",".join(["true"] * Page(text).tags.count("img"))


@pytest.mark.slow
@pytest.mark.parametrize(("page", "width", "is_dark"), VIEWS)
def test_nothing_runs_over_the_edge(study_dir, tmp_path, page, width, is_dark):
    path = study_dir / "report.html" if page == "study" else EXPERIMENTS / page
    text = path.read_text().replace("</body>", f"{LAID_OUT}</body>")
    (tmp_path / "page.html").write_text(text)
    scheme = f"--blink-settings=preferredColorScheme={int(not is_dark)}"
    seen = browse(tmp_path / "page.html", f"--window-size={width},900", scheme)
    title = re.search(r"<title>(.*?)</title>", seen, re.DOTALL)
    assert title is not None
    found = json.loads(html.unescape(title[1]))
    assert found["width"] == width
    assert (found["scrolls"], found["over"]) == (width, [])
    assert found["dark"] == is_dark
    text, back = (sum(map(int, re.findall(r"\d+", found[key]))) for key in ("text", "back"))
    assert abs(text - back) > 3 * 150
    assert (back < text) == is_dark


def test_no_page_in_the_repository_is_large():
    pages = Path(__file__).parent.parent.glob("experiments/**/*.html")
    sizes = {str(page): page.stat().st_size for page in pages}
    assert sizes
    assert max(sizes.values()) < 1_000_000, sizes


@pytest.mark.parametrize(("svg", "kind"), [("<svg/>", "svg+xml"), ("<svg>" + " x" * 999, "png")])
def test_a_figure_is_inlined_in_its_shorter_form(tmp_path, svg, kind):
    (tmp_path / "a.svg").write_text(svg)
    (tmp_path / "a.png").write_bytes(b"PNG" * 9)
    page = Page(webpage.make_page("# Title\n\n![words](a.png)\n", tmp_path))
    assert page.addresses[-1].startswith(f"data:image/{kind}")  # the first is the page's icon


def test_a_figure_of_photographs_is_inlined_with_loss(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (450, 450, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    (tmp_path / "a.svg").write_text("<svg>" + "x" * 600_000)
    source = Page(webpage.make_page("# Title\n\n![words](a.png)\n", tmp_path)).addresses[-1]
    kind, _, content = source.partition(";base64,")
    assert kind == "data:image/webp"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        assert image.size == (450, 450)


def test_a_page_of_the_users_is_not_written_over(tmp_path):
    for content in (b"<title>My thesis</title>", b"\xff\xfe"):
        (tmp_path / "index.html").write_bytes(content)
        with pytest.raises(RecordError, match="is no list of studies"):
            webpage.write_index(tmp_path)
        assert (tmp_path / "index.html").read_bytes() == content
