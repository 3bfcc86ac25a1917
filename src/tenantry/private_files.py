"""Files and folders that only their owner may read, even if others can write to the folder above.

Logs, reports, dumps and specs contain personal data. Each is a new file of mode 0600, whatever the umask is; a link in
its place is not followed, and an existing file is replaced as a whole. What others must not be able to replace, such as
the folder of a server, is only accepted in a place where nobody else can do that.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from tenantry.errors import Refused

MOST_LINKS = 40


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Create a folder, and those above it that are missing; an existing one keeps its mode. Raises OSError."""
    try:
        folder.mkdir(mode)
    except FileNotFoundError:
        make_folder(folder.parent, mode)
        folder.mkdir(mode)
    except FileExistsError:
        if not folder.is_dir():
            raise
        return
    _add_mode(folder, mode)


def _add_mode(folder: Path, mode: int) -> None:
    with folder_descriptor(folder) as descriptor:
        found = os.fstat(descriptor)
        if found.st_mode & mode != mode and found.st_uid == os.geteuid():
            os.fchmod(descriptor, stat.S_IMODE(found.st_mode) | mode)


@contextmanager
def folder_descriptor(folder: Path) -> Iterator[int]:
    """A descriptor of the folder itself; a link in its place is not followed. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create(path: Path) -> TextIO:
    """A new file for writing lines, each written at once. Raises OSError, also if the name exists already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which becomes `path` when the block ends without an error: a reader, or a crash, finds the old
    file or the new one.

    Raises OSError, also if `path` is something else than a file, such as a link or a device.
    """
    _refuse_no_file(path)
    # With an unpredictable name, created as a new file of mode 0600.
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            yield file
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)  # noqa: PTH105 (a name, not a path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)  # noqa: PTH108 (the same)
        raise


def _refuse_no_file(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "no file"
        raise FileExistsError(errno.EEXIST, f"{kind} of that name exists", str(path))


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole, replacing an existing one. Raises OSError."""
    with replacing(path) as file:
        file.write(text.encode())


def open_existing(path: Path, *, owners: Collection[int] | None = None) -> BinaryIO:
    """A file to read: not a link or a pipe, and one of the owners' if they are given. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_file(descriptor, path, owners)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def open_lock(path: Path) -> int:
    """The descriptor of a file that exists only to be locked, created if it is missing. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        _require_file(descriptor, path, {os.geteuid()})
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _require_file(descriptor: int, path: Path, owners: Collection[int] | None) -> None:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise FileExistsError(errno.EEXIST, "that name is not a regular file", str(path))
    if owners is not None and found.st_uid not in owners:
        raise PermissionError(errno.EPERM, f"it belongs to {user_name(found.st_uid)}", str(path))


def require_trusted(path: Path, *, owner: int | None = None) -> None:
    """Refuse a place in which users other than root and the current one could put something else: `path`, as far as it
    exists, and each folder and link on the way must belong to one of the two, and nobody else may write to it.

    A folder above may be writable by everybody if it is sticky, such as /tmp: the current user's files there are safe.
    `path` itself may belong to `owner` instead. Raises Refused, and OSError if it cannot be examined.
    """
    # In a user namespace the files of root have another user as owner; the owner of / can do everything.
    trusted = {0, os.geteuid(), os.lstat("/").st_uid}
    for place, found, last in _path_components(path.absolute()):
        if found.st_uid not in trusted | ({owner} if last and owner is not None else set()):
            raise Refused(
                f"{path} is not safe from other users: {place} belongs to {user_name(found.st_uid)}",
                remedy="Choose a folder below one that is yours, or run the command as that user.",
            )
        if not stat.S_ISLNK(found.st_mode) and _others_write(found) and (last or not found.st_mode & stat.S_ISVTX):
            raise Refused(
                f"{path} is not safe from other users: they may write to {place}",
                remedy=f"chmod go-w {place}, or choose another folder.",
            )


def _path_components(path: Path) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Each folder and link on the way to `path`, including those behind links, and whether it is the last."""
    at, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    yield at, at.lstat(), not left
    while left:
        part = left.pop()
        if part == "..":
            at = at.parent
            continue
        at /= part
        try:
            found = at.lstat()
        except FileNotFoundError:
            return
        is_link = stat.S_ISLNK(found.st_mode)
        yield at, found, not (left or is_link)
        if is_link:
            links += 1
            if links > MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = at.readlink()
            left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            at = Path("/") if target.is_absolute() else at.parent


def _others_write(found: os.stat_result) -> bool:
    group = bool(found.st_mode & stat.S_IWGRP) and found.st_gid != 0 and not _is_own_group(found.st_gid)
    return group or bool(found.st_mode & stat.S_IWOTH)


def _is_own_group(gid: int) -> bool:
    """Whether it is a group of the current user alone, as many systems create for each user."""
    try:
        user, group = pwd.getpwuid(os.geteuid()), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}


def user_name(uid: int) -> str:
    """A user's name, or number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
