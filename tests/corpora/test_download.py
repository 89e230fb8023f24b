"""Downloads against a server on this machine."""

import errno
import hashlib
import http.server
import io
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from full_disk import no_file_beyond

from kd_lightning.corpora import download as module
from kd_lightning.corpora.download import Archive, fetch, unpack

NAME = "speech_commands_v0.02"


class Server(http.server.ThreadingHTTPServer):
    """Serves ``content`` with ranges; breaks off after ``breaks[0]`` bytes, then after ``breaks[1]``, ..."""

    content = b""
    breaks: tuple[int, ...] = ()
    ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{NAME}.tar.gz"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.server.ranges else 0
        if start >= len(self.server.content):
            self.send_error(416)
            return
        rest = self.server.content[start:]
        self.send_response(206 if asked and self.server.ranges else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks:
            limit, *remaining = self.server.breaks
            self.server.breaks = tuple(remaining)
            rest = rest[:limit]
        self.wfile.write(rest)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0, 0))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def good_archive() -> bytes:
    # Incompressible, so that there is something to break off.
    content = hashlib.shake_128(b"clip").digest(200_000)
    folder = tarfile.TarInfo("./yes")
    folder.type, folder.mode = tarfile.DIRTYPE, 0o755
    return tar_gz(
        (folder, b""), (tarfile.TarInfo("./yes/a.wav"), content), (tarfile.TarInfo("./LICENSE"), b"CC")
    )


def archive_of(server: Server, content: bytes, sha256: str | None = None) -> Archive:
    server.content = content
    return Archive(server.url, sha256 or hashlib.sha256(content).hexdigest(), NAME)


def test_an_archive_is_fetched_checked_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive())
    assert fetch(archive, tmp_path) == tmp_path / NAME
    assert (tmp_path / NAME / "yes" / "a.wav").stat().st_size == 200_000
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    fetch(archive, tmp_path)
    assert server.asked == [None]


def test_a_broken_connection_is_resumed_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.breaks = (50_000, 70_000)
    fetch(archive_of(server, good_archive()), tmp_path)
    assert server.asked == [None, "bytes=50000-", "bytes=120000-"]


def test_what_came_before_giving_up_serves_the_next_call(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive())
    server.breaks = (50_000, 0, 0)
    with pytest.raises(ConnectionError, match="Start again to go on"):
        fetch(archive, tmp_path)
    assert (tmp_path / f"{NAME}.tar.gz.part").stat().st_size == 50_000
    server.asked.clear()
    fetch(archive, tmp_path)
    assert server.asked == ["bytes=50000-"]
    assert (tmp_path / NAME / "LICENSE").read_text() == "CC"


def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    server.breaks = (50_000,)
    fetch(archive_of(server, good_archive()), tmp_path)
    assert (tmp_path / NAME / "yes" / "a.wav").stat().st_size == 200_000


def test_a_complete_part_needs_nothing_more(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive())
    (tmp_path / f"{NAME}.tar.gz.part").write_bytes(server.content)
    assert fetch(archive, tmp_path).is_dir()


def test_a_wrong_checksum_deletes_the_file(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive(), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"wrong checksum and is deleted.*0000"):
        fetch(archive, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_archive_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, b"")
    server.RequestHandlerClass = _NotFound
    with pytest.raises(ConnectionError, match=f"cannot download {server.url}.*404"):
        fetch(archive, tmp_path)
    assert len(server.asked) == 1


class _NotFound(_Handler):
    def do_GET(self) -> None:
        self.server.asked.append(None)
        self.send_error(404)


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "hostile",
    [
        _member("/tmp/kd_lightning_absolute"),
        _member("../outside.txt"),
        _member("yes/../../outside.txt"),
        _member("yes/link", tarfile.SYMTYPE, "/etc/passwd"),
        _member("yes/link", tarfile.SYMTYPE, "a.wav"),
        _member("yes/link", tarfile.LNKTYPE, "../outside.txt"),
        _member("yes/device", tarfile.CHRTYPE),
        _member("yes/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: f"{info.name}-{info.type.decode()}",
)
def test_a_hostile_member_stops_unpacking(tmp_path: Path, hostile: tarfile.TarInfo) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    file = folder / "hostile.tar.gz"
    file.write_bytes(tar_gz((tarfile.TarInfo("yes/a.wav"), b"clip"), (hostile, b"")))
    with pytest.raises(ValueError, match="was not unpacked and is deleted"):
        unpack(file, folder / NAME)
    assert [path.name for path in tmp_path.rglob("*")] == ["data"]
    assert not Path("/tmp/kd_lightning_absolute").exists()


def test_a_truncated_archive_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "short.tar.gz"
    file.write_bytes(good_archive()[:100_000])
    with pytest.raises(ValueError, match="was not unpacked"):
        unpack(file, tmp_path / NAME)
    assert list(tmp_path.iterdir()) == []


def test_unpacking_that_was_killed_is_done_again(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive())
    (tmp_path / f"{NAME}.tar.gz").write_bytes(server.content)
    kill_at_second_member = f"""
import os, signal, tarfile
from pathlib import Path
from kd_lightning.corpora import download
calls = []
def dying(member, folder, inside=download._files_inside):
    calls.append(member)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return inside(member, folder)
download._files_inside = dying
download.unpack(Path({str(tmp_path)!r}) / "{NAME}.tar.gz", Path({str(tmp_path)!r}) / "{NAME}")
"""
    died = subprocess.run([sys.executable, "-c", kill_at_second_member], check=False)
    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / f"{NAME}.partial").is_dir()
    assert not (tmp_path / NAME).exists()
    fetch(archive, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert server.asked == []


def test_a_full_disk_names_the_file_and_leaves_nothing_unpacked(server: Server, tmp_path: Path) -> None:
    archive = archive_of(server, good_archive())
    refused = pytest.raises(OSError, match=f"cannot write .*{NAME}")
    with no_file_beyond(100_000), refused as caught:
        fetch(archive, tmp_path)
    assert caught.value.errno == errno.EFBIG
    (tmp_path / f"{NAME}.tar.gz.part").unlink()
    file = tmp_path / f"{NAME}.tar.gz"
    compressed = tar_gz((tarfile.TarInfo("yes/zeros.wav"), bytes(200_000)))
    file.write_bytes(compressed)
    with no_file_beyond(100_000), pytest.raises(OSError, match="cannot unpack"):
        unpack(file, tmp_path / NAME)
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}.tar.gz"]
