"""The public checkpoints: fetched once, hash checked, nothing half-written. Served on loopback."""

import dataclasses
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from edgeconv.cache import cache_dir
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.models import build, download
from edgeconv.models.weights import load_weights


class Server:
    """Answers from ``files``; ``cut`` sends half of what it announces; counts the requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = False
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                data = outer.files.get(self.path)
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if outer.cut else data)

            def log_message(self, format: str, *args: object) -> None:
                """Stay quiet."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever)
        self.thread.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}{path}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("EDGECONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server()
    yield running
    running.close()


def left_behind() -> list[str]:
    folder = cache_dir() / "weights"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_file_is_fetched_once_and_its_progress_told(server: Server) -> None:
    server.files["/a.pth"] = b"x" * 1_000_000
    seen: list[tuple[int, int | None]] = []
    path = download.fetch(server.url("/a.pth"), lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == server.files["/a.pth"]
    assert seen[-1] == (1_000_000, 1_000_000)
    assert download.fetch(server.url("/a.pth")) == path
    assert server.requests == 1


def test_a_published_hash_is_checked_and_a_wrong_file_not_kept(server: Server) -> None:
    data = b"weights"
    good = hashlib.sha256(data).hexdigest()[:8]
    server.files[f"/net-{good}.pth"] = data
    assert download.fetch(server.url(f"/net-{good}.pth")).exists()
    server.files["/net-0badc0de.pth"] = data
    with pytest.raises(EdgeconvError, match="hash published starts 0badc0de"):
        download.fetch(server.url("/net-0badc0de.pth"))
    assert left_behind() == ["hashes.json", f"net-{good}.pth"]


def test_a_file_that_only_begins_with_its_published_hash_is_not_the_first_one(
    server: Server,
) -> None:
    data = b"weights"
    url = server.url(f"/net-{hashlib.sha256(data).hexdigest()[:8]}.pth")
    server.files[url.removeprefix(server.url(""))] = data
    path = download.fetch(url)
    whole = {url: hashlib.sha256(data).hexdigest()}
    assert json.loads((path.parent / "hashes.json").read_text()) == whole
    (path.parent / "hashes.json").write_text(json.dumps({url: whole[url][:-1] + "x"}))
    with pytest.raises(
        EdgeconvError, match=f"recorded at its first download is {whole[url][:-1]}x"
    ):
        download.fetch(url)


def test_without_a_published_hash_the_first_one_is_recorded_and_checked_from_then_on(
    server: Server,
) -> None:
    url = server.url("/net.pth")
    server.files["/net.pth"] = b"first"
    path = download.fetch(url)
    recorded = json.loads((path.parent / "hashes.json").read_text())
    assert recorded == {url: hashlib.sha256(b"first").hexdigest()}
    path.write_bytes(b"tampered")
    with pytest.raises(EdgeconvError, match="recorded at its first download"):
        download.fetch(url)
    path.unlink()
    server.files["/net.pth"] = b"second"
    with pytest.raises(EdgeconvError, match="recorded at its first download"):
        download.fetch(url)
    assert left_behind() == ["hashes.json"]


def test_a_broken_off_download_leaves_nothing(server: Server) -> None:
    server.files["/net.pth"] = b"y" * 100_000
    server.cut = True
    with pytest.raises(EdgeconvError, match=r"broke off.*--weights"):
        download.fetch(server.url("/net.pth"))
    assert left_behind() == []


def test_an_answer_of_404_and_no_answer_are_one_sentence(server: Server) -> None:
    with pytest.raises(EdgeconvError, match=r"answered 404 Not Found: download it elsewhere"):
        download.fetch(server.url("/gone.pth"))
    with pytest.raises(EdgeconvError, match=r"cannot reach http://127\.0\.0\.1:9/net\.pth"):
        download.fetch("http://127.0.0.1:9/net.pth")
    assert left_behind() == []


def test_imagenet_weights_come_from_the_public_url_with_their_preprocessing(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(build("mobilenet_v2").state_dict(), tmp_path / "net.pth")
    server.files["/v2.pth"] = (tmp_path / "net.pth").read_bytes()
    public = dataclasses.replace(download.PUBLIC["mobilenet_v2"], url=server.url("/v2.pth"))
    monkeypatch.setitem(download.PUBLIC, "mobilenet_v2", public)
    loaded = load_weights("mobilenet_v2", {}, "imagenet")
    assert loaded.classes == 1000
    assert loaded.matched == "torchvision, IMAGENET1K_V1 (torchvision layout)"
    assert loaded.preprocessing.mean == (0.485, 0.456, 0.406)
    assert not loaded.assumed
    assert loaded.accuracy is not None
    assert loaded.accuracy.top1 == 71.88
    with pytest.raises(UsageError, match=r"is for width 1\.0, not 0\.5"):
        load_weights("mobilenet_v2", {"width": 0.5}, "imagenet")


def test_a_net_without_a_public_checkpoint_says_so(server: Server) -> None:
    with pytest.raises(UsageError, match="shufflenet_v1 has no public ImageNet checkpoint"):
        load_weights("shufflenet_v1", {}, "imagenet")
    assert server.requests == 0


def test_the_cache_follows_the_xdg_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGECONV_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere/edgeconv")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_dir() == Path("/home/me/.cache/edgeconv")


def test_only_torchvisions_file_names_hold_a_hash() -> None:
    hashes = {net: download.published_hash(entry.url) for net, entry in download.PUBLIC.items()}
    assert hashes == {"mobilenet_v1": None, "mobilenet_v2": "b0353104", "ghostnet": None}
