"""The one user that there is, who has the private directory for a home. So `pathlib.Path.home()` and `getpass.getuser()` answer
something although the environment is empty."""

from collections import namedtuple

struct_passwd = namedtuple("struct_passwd", "pw_name pw_passwd pw_uid pw_gid pw_gecos pw_dir pw_shell")

# The numbers are those that `os.getuid()` and `os.getgid()` answer.
_USER = struct_passwd("faasm", "*", 1000, 1000, "", "/tmp", "")


def getpwuid(uid, /):
    if not isinstance(uid, int):
        raise TypeError("uid should be integer, not " + type(uid).__name__)
    if uid != _USER.pw_uid:
        raise KeyError(f"getpwuid(): uid not found: {uid}")
    return _USER


def getpwnam(name, /):
    if not isinstance(name, str):
        raise TypeError(f"getpwnam() argument must be str, not {type(name).__name__}")
    if name != _USER.pw_name:
        raise KeyError(f"getpwnam(): name not found: {name!r}")
    return _USER


def getpwall():
    return [_USER]
