from pathlib import Path

import pytest

from src import paths
from src.paths import PathError


def test_a_home_folder_is_found_as_a_shell_would(monkeypatch):
    monkeypatch.setenv("HOME", "/home/of/tests")
    assert paths.local_path("~/runs/x") == Path("/home/of/tests/runs/x")
    assert paths.local_path("runs/~x") == Path("runs/~x")
    assert paths.local_path("~root/x").is_absolute()


@pytest.mark.parametrize(
    "text", ["gs://bucket/x", "s3://b", "file:///tmp/x", "gs:/bucket", "https://host/x", "hf:/x"]
)
def test_a_url_is_no_folder(text):
    with pytest.raises(PathError, match=f"--workdir = '{text}' is a URL; only local folders"):
        paths.local_path(text, "--workdir")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("~nosuchuser/x", "~nosuchuser has no home folder"),
        ("", "is empty"),
        (" ", "is empty"),
        ("a\0b", "zero byte"),
        ("a\nb", "line break"),
        ("a\rb", "line break"),
        ("caf\udce9", "is not UTF-8"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused_in_one_line(text, why):
    with pytest.raises(PathError, match=why) as caught:
        paths.local_path(text)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # it can be printed


def test_what_is_wanted_is_said():
    with pytest.raises(PathError, match="--mean = '' is empty; give a file or leave it out"):
        paths.local_path("", "--mean", "file")


@pytest.mark.parametrize("text", ["[2026] lab/study", "a\\b", "a b", "C:x", "ü/猴子", "50%", "a:b"])
def test_odd_names_are_names(text):
    assert paths.local_path(text) == Path(text)


def test_caches_without_a_home(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    monkeypatch.setattr(Path, "home", lambda: 1 / 0)  # it is not even asked
    assert paths.cache_folder() == Path("/cache/alexnet-claims")

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert paths.cache_folder() is None
    with pytest.raises(PathError, match="has no home folder"):
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(Path, "expanduser", lambda self: nobody())
        paths.local_path("~/x")
