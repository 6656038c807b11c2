"""What of the standard library's `fcntl` means something in the sandbox: locks of files, descriptors and their flags.

Locks on files that calls share hold off other calls. Those on other files, which nobody else has, are always granted.
"""

import errno
import os

import _faasm

LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN = 1, 2, 4, 8
F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL = range(5)
F_DUPFD_CLOEXEC = 1030
F_GETLK, F_SETLK, F_SETLKW = 12, 13, 14
F_RDLCK, F_WRLCK, F_UNLCK = range(3)
FD_CLOEXEC = 1


def flock(fd, operation, /):
    """Locks or unlocks an open file: one of LOCK_SH, LOCK_EX and LOCK_UN, with LOCK_NB so as not to wait."""
    _faasm.flock(_descriptor(fd), operation)


def lockf(fd, cmd, len=0, start=0, whence=0, /):
    """Locks or unlocks a part of a file, with the same operations."""
    kinds = {LOCK_SH: F_RDLCK, LOCK_EX: F_WRLCK, LOCK_UN: F_UNLCK}
    if (kind := kinds.get(cmd & ~LOCK_NB)) is None:
        raise ValueError("unrecognized lockf argument")
    command = F_SETLK if cmd & LOCK_NB else F_SETLKW
    _faasm.lock_range(_descriptor(fd), command, kind, start, len, whence)


def fcntl(fd, cmd, arg=0, /):
    """Duplicates a descriptor, or asks for or sets its flags. Of locks, use lockf()."""
    if cmd not in (F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL) or not isinstance(arg, int):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return _faasm.fcntl(_descriptor(fd), cmd, arg)


def ioctl(fd, request, arg=0, mutate_flag=True, /):
    """Nothing here is a device that could be asked for something."""
    os.fstat(_descriptor(fd))
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))


def _descriptor(file):
    return file if isinstance(file, int) else file.fileno()
