"""Downloads from a server that cuts, stalls, lies or refuses: the file is whole, or it is not there."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from einthoven.core import InputError
from einthoven.datasets import registry
from einthoven.io.caches import CACHE_DIR

CONTENT = np.random.default_rng(0).bytes(300_000)
CHECKSUM = hashlib.sha256(CONTENT).hexdigest()

#: What a process of its own does: fetch the one file from the server at the given address.
FETCH = f"""
import sys
from einthoven.datasets import registry
file = registry.RemoteFile("a.bin", {len(CONTENT)}, "{CHECKSUM}", (sys.argv[1],))
record = registry.Dataset("one", "one", "t", "k", "o", "l", "c", "", (file,))
registry._datasets = lambda: {{"one": record}}
print(registry.dataset_file("one", "a.bin"))
"""


class Server(ThreadingHTTPServer):
    """Answers by the path: how often each was asked, and with which headers."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.both = threading.Barrier(2)
        self.begun, self.release = threading.Event(), threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"

    def count(self, path: str) -> int:
        return sum(asked == path for asked, _ in self.asked)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format, *args):
        """Say nothing."""

    def do_GET(self):
        path = self.path.strip("/")
        self.server.asked.append((path, dict(self.headers)))
        if path == "missing":
            self.send_error(404)
            return
        half = CONTENT[: len(CONTENT) // 2]
        cut = path == "cut" or (path == "cut-once" and self.server.count(path) == 1)
        self.send_response(200)
        if path != "unsized":
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if path == "altered":
            self.wfile.write(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
        elif cut or path == "unsized":
            self.wfile.write(half)
        elif path == "stalled":
            self.wfile.write(half)
            self.wfile.flush()
            self.server.begun.set()
            self.server.release.wait(30)
        else:
            if path == "together":
                self.server.both.wait(30)
            self.wfile.write(CONTENT)


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    yield found
    found.release.set()
    found.shutdown()
    found.server_close()
    thread.join()


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.delenv(registry.DATA_DIR, raising=False)
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    return tmp_path / "datasets" / "one"


@pytest.fixture
def fetch(monkeypatch, cache, server):
    def call(*paths: str) -> Path:
        file = registry.RemoteFile("a.bin", len(CONTENT), CHECKSUM, tuple(map(server.url, paths)))
        record = registry.Dataset("one", "one", "t", "k", "https://example.org", "l", "c", "", (file,))
        monkeypatch.setattr(registry, "_datasets", lambda: {"one": record})
        return registry.dataset_file("one", "a.bin")

    return call


def left(cache: Path) -> list[Path]:
    return list(cache.iterdir()) if cache.is_dir() else []


def test_a_server_without_ranges_is_asked_for_none(fetch, server, cache):
    assert fetch("whole").read_bytes() == CONTENT
    assert left(cache) == [cache / "a.bin"]
    assert "Range" not in server.asked[0][1]


def test_a_cut_download_begins_again(fetch, server, cache):
    assert fetch("cut-once").read_bytes() == CONTENT
    assert server.count("cut-once") == 2
    assert left(cache) == [cache / "a.bin"]


@pytest.mark.parametrize(
    ("path", "asked", "match"),
    [
        ("cut", registry.ATTEMPTS, r"\(the connection was cut 3 times\)"),
        ("unsized", 1, r"\(what came is not the file, its checksum differs\)"),
        ("altered", 1, r"\(what came is not the file, its checksum differs\)"),
        ("missing", 1, r"\(the server says 404 Not Found\)"),
        ("stalled", 1, r"\(no answer for 0.2 s\)"),
    ],
)
def test_what_is_not_whole_is_not_there(fetch, server, cache, monkeypatch, path, asked, match):
    monkeypatch.setattr(registry, "TIMEOUT_S", 0.2)
    with pytest.raises(InputError, match=rf"a\.bin could not be downloaded from .*/{path} {match}\. Put") as caught:
        fetch(path)
    assert "\n" not in str(caught.value)
    assert server.count(path) == asked
    assert left(cache) == []


def test_the_next_origin_is_asked_when_one_fails(fetch, server):
    assert fetch("missing", "cut", "whole").read_bytes() == CONTENT


def test_no_server_at_all(fetch, server, cache):
    server.shutdown()
    server.server_close()
    with pytest.raises(InputError, match=r"\(no connection\)"):
        fetch("whole")
    assert left(cache) == []


def own_process(url: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_two_processes_at_once(server, cache):
    processes = [own_process(server.url("together")) for _ in range(2)]
    ends = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
    assert server.count("together") == 2, "both were downloading at the same time"
    assert (cache / "a.bin").read_bytes() == CONTENT
    assert left(cache) == [cache / "a.bin"]


@pytest.mark.slow
def test_a_killed_download_leaves_nothing_that_looks_whole(server, cache, fetch):
    process = own_process(server.url("stalled"))
    assert server.begun.wait(300)
    process.kill()
    process.communicate()
    assert not (cache / "a.bin").exists()
    assert fetch("whole").read_bytes() == CONTENT
