"""What a file is, whatever it is called: looked at before anything is read from it."""

from __future__ import annotations

import stat
from pathlib import Path

from resnet_probe.errors import ProbeError

HEAD = 512
"""Bytes that tell what a file is."""
LARGEST_TEXT = 64 * 2**20
"""Bytes of the largest text that is read whole: a class map, a list of images, an index."""
SPECIAL = (
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISDIR, "a folder"),
)
MAGIC = (
    (b"version https://git-lfs", "a git-LFS pointer: fetch its file with `git lfs pull`"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
    (b"PAR1", "a parquet file"),
    (b"\x7fELF", "a program"),
)  # fmt: skip


def regular(path: Path, *, what: str) -> Path:
    """The path of a regular file, which can be read without waiting.

    Raises `ProbeError` for one that is not there, a broken link, a pipe, a device and a folder;
    `what` is what was to be read.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise ProbeError(f"{path} is a link to {path.readlink()}, which is not there") from None
        raise ProbeError(f"there is no file {path} to read {what} from") from None
    except (OSError, ValueError) as error:
        raise ProbeError(f"{shortened(path)} cannot be read ({said(error)})") from error
    for is_kind, kind in SPECIAL:
        if is_kind(mode):
            raise ProbeError(f"{path} is {kind}, and not a file to read {what} from")
    return path


def is_folder(path: Path) -> bool:
    """Whether it is one; not so where nobody can say, as of a name that is too long."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def head_of(path: Path) -> bytes:
    """The first bytes of a file; `ProbeError` where it is empty or may not be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise ProbeError(f"{path} cannot be read ({said(error)})") from error
    if not head:
        raise ProbeError(f"{path} is empty")
    return head


def other_kind(head: bytes) -> str:
    """What a file with these first bytes is, if that is something else than weights or images."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<!-- ")):
        return "an HTML page, as a failed download leaves it"
    if text.startswith(b"<?xml"):
        return "an XML document"
    if head[257:262] == b"ustar":
        return "a tar archive: unpack it first"
    return next((kind for magic, kind in MAGIC if head.startswith(magic)), "")


def refuse_other_kinds(path: Path) -> bytes:
    """The first bytes of a file; `ProbeError`, which calls it what it is, for another kind."""
    head = head_of(path)
    kind = other_kind(head)
    if kind:
        raise ProbeError(f"{path} is {kind}")
    return head


def text_of(path: Path, *, what: str) -> str:
    """A text file's content; `ProbeError` where it is no file, no text, or too large for one."""
    size = regular(path, what=what).stat().st_size
    if size > LARGEST_TEXT:
        raise ProbeError(
            f"{path} has {size:,} bytes: {what} of at most {LARGEST_TEXT:,} bytes can be read"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise ProbeError(f"{path} cannot be read as {what} ({said(error)})") from error


def said(error: BaseException) -> str:
    """An error's own words in one line."""
    lines = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def shortened(path: Path) -> str:
    """A path that a reader can take in."""
    text = str(path)
    return text if len(text) <= 200 else f"{text[:80]}…{text[-40:]}"
