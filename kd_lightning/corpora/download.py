"""Fetch and unpack the published archives: resumable, checksummed, unpacked aside and renamed.

lhotse's ``resumable_download`` is not used, because it appends a server's whole answer to what it has when
the server ignores the range that it asked for, takes a connection that broke for the end of the file and has
no timeout; its ``safe_extract`` lets links through, which can write outside the folder.
"""

import hashlib
import http.client
import logging
import os
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

_CHUNK = 1 << 20
_TIMEOUT_SECONDS = 60
_RETRY_SECONDS = (1, 5, 20)
_RANGE_NOT_SATISFIABLE = 416

_log = logging.getLogger(__name__)


class Archive(NamedTuple):
    """A published .tar.gz, the SHA-256 of it and the name of the folder that it is unpacked into."""

    url: str
    sha256: str
    folder: str


SPEECH_COMMANDS = Archive(
    "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    "speech_commands_v0.02",
)
TEST_SET_12 = Archive(
    "http://download.tensorflow.org/data/speech_commands_test_set_v0.02.tar.gz",
    "cc2a00c1147c2254e9be3fa0f779d8c17421dc349b86366567a8edfa9acd51df",
    "speech_commands_test_set_v0.02",
)


def fetch(archive: Archive, folder: Path) -> Path:
    """Download and unpack ``archive`` below ``folder``, unless that was done; returns the unpacked folder.

    An interrupted download goes on where it stopped. The archive is deleted once it is unpacked.

    Raises:
        ConnectionError: the server cannot be reached or breaks off; what came is kept for the next call.
        ValueError: the checksum is wrong, or the archive holds a path outside or a link; the file is deleted.
        OSError: the disk is full (or the like).
    """
    unpacked = folder / archive.folder
    if not unpacked.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{archive.folder}.tar.gz"
        if not file.is_file():
            part = file.with_name(file.name + ".part")
            download(archive.url, part)
            part.rename(file)
        _check(file, archive)
        unpack(file, unpacked)
        file.unlink()
    return unpacked


def download(url: str, file: Path) -> None:
    """Download ``url`` to ``file``, continuing what ``file`` holds; tries again when the connection breaks.

    Raises:
        ConnectionError: the server was not reached or broke off every time; ``file`` keeps what came.
        OSError: the disk is full (or the like).
    """
    for wait in (*_RETRY_SECONDS, None):
        try:
            _continue(url, file)
            return
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            permanent = isinstance(error, urllib.error.HTTPError) and error.code < 500
            if wait is None or permanent:
                raise ConnectionError(
                    f"cannot download {url}: {error}. Start again to go on from where it stopped, "
                    "or fetch it by other means and set corpus.root to the unpacked folder"
                ) from error
            _log.warning("the download of %s broke off (%s), going on in %d s", url, error, wait)
            time.sleep(wait)
        except OSError as error:
            raise OSError(error.errno, f"cannot write {file}: {error.strerror or error}") from error


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar archive into ``folder``, which appears when it is complete.

    Raises:
        ValueError: a member is a link or a device, or lies outside; nothing is left and the archive is
            deleted.
    """
    aside = folder.with_name(folder.name + ".partial")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with tarfile.open(file) as archive:
            archive.extractall(aside, filter=_files_inside)
        aside.rename(folder)
    except (tarfile.TarError, EOFError) as error:
        file.unlink()
        raise ValueError(f"{file} was not unpacked and is deleted: {error}") from error
    except OSError as error:
        raise OSError(
            error.errno, f"cannot unpack {file} into {folder}: {error.strerror or error}"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _continue(url: str, file: Path) -> None:
    have = file.stat().st_size if file.is_file() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # Nothing is left to send: the file is complete already, and if it is not, its checksum says so.
        if error.code == _RANGE_NOT_SATISFIABLE:
            return
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length is not None else None
        with file.open("ab") as out, _progress() as progress:
            out.truncate(have)
            bar = progress.add_task(url.rsplit("/", 1)[-1], total=total, completed=have)
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                progress.update(bar, advance=len(chunk))
            out.flush()
            os.fsync(out.fileno())
            got = out.tell()
    if total is not None and got < total:
        raise ConnectionError(f"the connection ended after {got} of {total} bytes")


def _progress() -> Progress:
    return Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())


def _check(file: Path, archive: Archive) -> None:
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    if found != archive.sha256:
        file.unlink()
        raise ValueError(
            f"{file} has the wrong checksum and is deleted: SHA-256 {found}, expected {archive.sha256}; "
            "start again, or set corpus.root to a copy"
        )


def _files_inside(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo | None:
    if not (member.isreg() or member.isdir()):
        raise tarfile.SpecialFileError(member)
    if member.name.startswith("/"):
        raise tarfile.AbsolutePathError(member)
    return tarfile.data_filter(member, folder)
