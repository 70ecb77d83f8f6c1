"""CIFAR-10 downloaded: prepared once or not at all, whatever the server or the disk does."""

import contextlib
import http.server
import itertools
import os
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import data
from src.data import workplace
from src.data.cifar10 import archives as cifar10_archives
from src.data.cifar10 import download
from src.data.cifar10 import load as cifar10
from src.data.dataset import DataError
from tests.small_cifar import assert_same, make_batches, md5, original_of, write_archive

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def batches():
    return make_batches()


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path/site, nothing while `speaks` is not set; bodies cut to `limit` bytes."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        speaks, limit = threading.Event(), None

        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path / "site"))

        def do_GET(self):
            Handler.speaks.wait()
            super().do_GET()

        def copyfile(self, source, outputfile):
            outputfile.write(source.read(Handler.limit))

        def log_message(self, *args):
            pass

    (tmp_path / "site").mkdir()
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=site.serve_forever, args=(0.01,), daemon=True).start()
    Handler.url = f"http://127.0.0.1:{site.server_port}/"
    Handler.speaks.set()
    yield Handler
    Handler.speaks.set()
    site.shutdown()
    site.server_close()


@pytest.fixture
def published(tmp_path, server, batches):
    archive = write_archive(tmp_path / "site", cifar10_archives.BINARY, batches)
    return original_of(batches, binary_md5=md5(archive), url=server.url)


def test_download_prepares_once(tmp_path, server, published, batches, capsys):
    home = tmp_path / "new" / "tfds"
    dataset = cifar10.load_cifar10(home, published)
    assert dataset.name == "cifar10"
    assert_same(dataset, batches)
    assert " MB" in capsys.readouterr().err
    assert [path.name for path in (home / "cifar10").iterdir()] == ["3.0.2"]
    assert "train" in " ".join(path.name for path in (home / "cifar10/3.0.2").iterdir())
    again = cifar10.load_cifar10(home, published._replace(url="http://127.0.0.1:9/"))
    assert_same(again, batches)


def test_failed_downloads_leave_nothing(tmp_path, server, published):
    home = tmp_path / "new" / "tfds"
    (tmp_path / "new").mkdir()
    wrong = published._replace(binary_md5="0" * 32)
    with pytest.raises(data.DataError, match="is not what is published or broke off"):
        cifar10.load_cifar10(home, wrong)
    server.limit = 1000
    with pytest.raises(data.DataError, match="broke off"):
        cifar10.load_cifar10(home, published)
    with pytest.raises(data.DataError, match="HTTP Error 404"):
        cifar10.load_cifar10(home, published._replace(url=server.url + "no/"))
    assert list((tmp_path / "new").iterdir()) == []


def test_silent_server_is_given_up_with_ways_out(tmp_path, server, published):
    server.speaks.clear()
    with pytest.raises(data.DataError, match=r"does not answer within 0\.2 seconds") as error:
        cifar10.load_cifar10(tmp_path / "d", published, connect_seconds=0.2)
    message = str(error.value)
    for way in (
        "--config.data.dir=DIR of a study", "--data_dir=DIR of another command", "TFDS_DATA_DIR",
        "binary.tar.gz", "a study with --config.data.name=procedural",
    ):  # fmt: skip
        assert way in message
    assert "\n" not in message
    assert not (tmp_path / "d").exists()


def raw_server(answers):
    """Answers each request with these pieces, one after the other; its address."""
    site = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with site, site.accept()[0] as connection, contextlib.suppress(OSError):
            connection.recv(65536)
            for piece in answers():
                connection.sendall(piece)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{site.getsockname()[1]}/"


HEAD = b"HTTP/1.1 200 OK\r\n"


def endless():
    yield HEAD + b"\r\n"
    while True:
        yield bytes(1 << 16)


def dripping():
    yield HEAD + b"Content-Length: 1000000\r\n\r\n"
    while True:
        yield b"x"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (endless, "sends more than the 10000000 bytes published"),
        (dripping, "sends only [0-9]+ bytes a second"),
        (lambda: [HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc"], "broke off"),
        (lambda: [HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"], "broke off"),
        (lambda: [HEAD + b"Content-Length: abc\r\n\r\nabc"], "not what is published"),
        (lambda: [HEAD + b"Content-Length: -5\r\n\r\nabc"], "not what is published"),
        (lambda: [HEAD + b"Content-Length: 99999\r\n\r\nabc"], "not what is published|broke off"),
        (lambda: [b"nonsense\r\n\r\n"], "cannot be had"),
        (lambda: [], "cannot be had"),
        (lambda: [b"HTTP/1.1 503 Busy\r\n\r\n"], "HTTP Error 503"),
        (lambda: [b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"], "cannot be had"),
        (lambda: [HEAD + b"X: " + b"y" * 99_999 + b"\r\n\r\n"], "cannot be had"),
    ],
)
def test_servers_that_misbehave_end_in_one_line(tmp_path, published, answers, message, monkeypatch):
    if answers is dripping:  # a second passes with every look at the clock
        clock = SimpleNamespace(monotonic=itertools.count().__next__)
        monkeypatch.setattr(download, "time", clock)
    bad = published._replace(url=raw_server(answers))
    with pytest.raises(data.DataError, match=message) as error:
        cifar10.load_cifar10(tmp_path / "d", bad, connect_seconds=600.0)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "d").exists()


def test_what_is_prepared_is_on_the_disk_before_it_gets_its_name(tmp_path, published, monkeypatch):
    flushed, rename = set(), os.rename
    sync = workplace.sync
    monkeypatch.setattr(workplace, "sync", lambda path: (sync(path), flushed.add(path.name)))

    def renamed(source, target):
        assert {path.name for path in Path(source).iterdir()} <= flushed
        assert len(flushed) >= 6  # two record files, three descriptions, the folder
        rename(source, target)

    monkeypatch.setattr(os, "rename", renamed)
    assert cifar10.load_cifar10(tmp_path / "d", published).name == "cifar10"


def test_folder_that_cannot_be_made_is_named(tmp_path, published):
    (tmp_path / "file").write_text("")
    with pytest.raises(data.DataError, match=r"cannot prepare .*file.*Three ways out"):
        cifar10.load_cifar10(tmp_path / "file", published)


def test_a_folder_of_the_users_is_not_emptied(tmp_path):
    place = tmp_path / "mine" / "incomplete"
    place.mkdir(parents=True)
    (place / "thesis").write_text("years of work")
    with (
        pytest.raises(DataError, match="not left by a preparation; rename it"),
        workplace.workplace(place),
    ):
        pass
    assert (place / "thesis").read_text() == "years of work"


def test_second_process_is_refused_and_a_killed_one_taken_over(tmp_path, published, batches):
    place = tmp_path / "d" / "cifar10" / "incomplete"
    with (
        cifar10.workplace(place),
        pytest.raises(data.DataError, match=r"in use by process \d+.*start again when it is done"),
    ):
        cifar10.load_cifar10(tmp_path / "d", published)
    (place / "3.0.2").mkdir(parents=True)
    (place / ".lock").touch()
    (place / "3.0.2" / "half").write_text("left by a killed process")
    assert_same(cifar10.load_cifar10(tmp_path / "d", published), batches)
