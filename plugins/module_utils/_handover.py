# Copyright: (c) 2026, Signalbox contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A file that an unprivileged program has written, handed by root to the user who fetches it.

In a directory of the program's user any name may become a link to any file while root looks at it. So root follows no
link, asks what it has opened and not what is named, and copies that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat


class NotHandedOver(Exception):
    """Why."""


def hand_over(path: str, owner: int, directory: str, receiver: int) -> str:
    """A copy of the owner's regular file in the directory, for its receiver alone; the file itself goes."""
    try:
        # Without waiting for the other end of a pipe.
        source = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        what = "is a link" if error.errno == errno.ELOOP else str(error.strerror)
        raise NotHandedOver(f"{path}: {what}") from None
    found = os.fstat(source)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
        os.close(source)
        raise NotHandedOver(f"{path}: no file of the user who writes it")
    with os.fdopen(source, "rb") as opened:
        _make(directory)
        to = os.path.join(directory, os.path.basename(path))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(to)
        target = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(target, "wb") as written:
                shutil.copyfileobj(opened, written, 1 << 20)
                os.fchown(written.fileno(), receiver, -1)
        except BaseException:
            os.unlink(to)
            raise
    os.unlink(path)
    return to


def _make(directory: str) -> None:
    """Passable for everybody on the way to it, and readable for nobody, whatever root's umask is."""
    parent = os.path.dirname(directory)
    os.makedirs(directory, exist_ok=True)
    os.chmod(directory, 0o711)  # noqa: S103  names in it are told to the receiver alone
    mode = stat.S_IMODE(os.stat(parent).st_mode)
    if not mode & 0o001:
        os.chmod(parent, mode | 0o011)  # noqa: S103  as above
