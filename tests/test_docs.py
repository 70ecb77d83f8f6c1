"""The pages: no link is dead, every command can be given as it is printed."""

import importlib.util
import re
import shlex
import shutil
from pathlib import Path

import pytest

import configs
from src import laboratory
from src.models import registry

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
EXPERIMENTS = [p.relative_to(ROOT).as_posix() for p in (ROOT / "experiments").rglob("*.md")]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
OPTIONS = re.compile(r"--[a-z_]+")
pytestmark = pytest.mark.filterwarnings("ignore:the load_module")  # of ml_collections


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def commands(page: str) -> list[str]:
    """The commands of a page, in its blocks for a shell and within its sentences."""
    text = read(page)
    blocks = [block for language, block in BLOCK.findall(text) if language == "sh"]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"\s+#.*", "", line).strip() for line in lines)
    within = re.findall(r"`((?:python -m|make) [^`]*)`", BLOCK.sub("", text))
    return [line for line in (*stripped, *within) if line]


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


ALL = dict.fromkeys(command for page in (*PAGES, *EXPERIMENTS) for command in commands(page))
STUDIES = [command for command in ALL if "-m src.main" in command]
OTHERS = [command for command in ALL if "-m src.main" not in command]


@pytest.mark.parametrize("page", [*PAGES, *EXPERIMENTS])
def test_no_link_is_dead(page):
    links = re.findall(r"\]\(([^)\s]+)\)", read(page))
    for link in links:
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        records = target.parent / "study.json"
        within = target.resolve().relative_to(ROOT.resolve()).parts
        if "experiments" in within and target.suffix == ".png" and not records.exists():
            continue  # the figure of a study whose records are still to be made
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", ["README.md", *EXPERIMENTS])
def test_every_place_for_an_answer_is_filled(page):
    for _, text in re.findall(
        r"<!-- (answer: \S+|claims) -->(.*?)<!-- /\1 -->", read(page), re.DOTALL
    ):
        assert text.strip()


def test_every_page_is_reached_from_the_readme():
    for page in PAGES[1:]:
        assert f"({page})" in read("README.md"), page


def test_the_readme_is_of_two_screens():
    assert len(read("README.md").splitlines()) <= 120


def test_there_are_commands():
    assert len(STUDIES) >= 12
    assert len(OTHERS) >= 8


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """This project's configs with the README's own one, and a finished trial by no name."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (block, *_) = re.findall(r"```python\n(.*?)```", read("README.md"), re.DOTALL)
    (tmp_path / "configs" / "mine.py").write_text(block, encoding="utf-8")
    monkeypatch.setattr(configs, "__path__", [*configs.__path__, str(tmp_path / "configs")])
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield
    registry.options_of.cache_clear()


@pytest.mark.slow
@pytest.mark.parametrize("command", STUDIES)
def test_a_study_lists_its_trials(command, mine, capsys):
    words = shlex.split(command)
    words = words[[word == "python" for word in words].index(True) :]
    assert words[:3] == ["python", "-m", "src.main"]
    arguments = [*words[3:], "--dry_run"]
    assert laboratory.main(arguments, "") == 0
    said = capsys.readouterr().out
    assert "epochs to train" in said or "Fields of a config" in said


@pytest.mark.parametrize("command", OTHERS)
def test_another_command_has_these_options(command, capsys):
    words = shlex.split(command)
    if words[0] == "make":
        target = re.escape(words[1].replace(".venv", "$(VENV)"))
        assert re.search(rf"^{target}:", read("Makefile"), re.MULTILINE), command
        return
    assert words[:2] == ["python", "-m"], command
    if words[2].startswith("experiments.") and len(words) == 3:
        assert importlib.util.find_spec(words[2]), command
        return
    door = importlib.import_module(words[2])
    with pytest.raises(SystemExit):
        door.main(["--help"])
    known = OPTIONS.findall(capsys.readouterr().out)
    for word in words[3:]:
        assert not word.startswith("--") or word.partition("=")[0] in known, word
