import pytest

from src.records.files import RecordError
from src.reports import readme


def test_only_what_is_between_the_marks_changes(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- a -->\nold\n<!-- /a -->\n<!-- b -->kept<!-- /b -->\n")
    readme.fill(path, "a", r"6.1 \1")
    assert path.read_text() == (
        "before\n<!-- a -->\n6.1 \\1\n<!-- /a -->\n<!-- b -->kept<!-- /b -->\n"
    )
    readme.fill(path, "a", r"6.1 \1")
    assert path.read_text().count("6.1") == 1


def test_a_link_to_a_readme_stays_one(tmp_path):
    real, link = tmp_path / "docs" / "real.md", tmp_path / "README.md"
    real.parent.mkdir()
    real.write_text("<!-- a -->old<!-- /a -->\n")
    link.symlink_to(real)
    readme.fill(link, "a", "new")
    assert link.is_symlink()
    assert real.read_text() == "<!-- a -->\nnew\n<!-- /a -->\n"


def test_without_marks_or_file_nothing_is_done(tmp_path):
    path = tmp_path / "README.md"
    readme.fill(path, "a", "text")
    assert not path.exists()
    path.write_text("no marks")
    readme.fill(path, "a", "text")
    assert path.read_text() == "no marks"


def test_a_mark_without_its_other_half_is_refused(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("<!-- a --> text")
    with pytest.raises(RecordError, match="without"):
        readme.fill(path, "a", "text")
