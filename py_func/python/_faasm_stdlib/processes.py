"""What programs expect of `subprocess` where there are no processes."""

import errno
import os


def install(subprocess):
    """Lets `Popen` say of a program that is not there what it says everywhere. Packages look for programs that they can do without, and
    take `FileNotFoundError` for an answer. CPython answers with another error whatever the name."""
    refused = subprocess.Popen.__init__

    def __init__(self, *args, **kwargs):
        import inspect

        asked = inspect.signature(refused).bind(self, *args, **kwargs).arguments
        missing = _missing(asked)
        if missing is not None:
            error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), missing)
            error.add_note("There are no processes in a sandbox.")
            raise error
        refused(self, *args, **kwargs)

    __init__.__doc__ = refused.__doc__
    subprocess.Popen.__init__ = __init__


def _missing(asked):
    """The program or directory of a call of `Popen` that is not there, or `None`."""
    directory = os.fsdecode(asked.get("cwd") or "")
    if directory and not os.path.isdir(directory):
        return directory
    program = asked.get("executable")
    if program is None:
        arguments = "/bin/sh" if asked.get("shell") else asked["args"]
        program = arguments if isinstance(arguments, (str, bytes, os.PathLike)) else list(arguments)[0]
    program = os.fsdecode(program)
    if os.path.dirname(program):
        places = [directory]
    else:
        places = os.get_exec_path(asked.get("env"))
    if any(os.path.isfile(os.path.join(place, program)) for place in places):
        return None
    return program
