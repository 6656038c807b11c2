"""What a function may ask of its host.

    import faasm

    def shout(text):
        return text.upper()

    def faasm_main():
        name = faasm.input().decode() or "world"
        call = faasm.chain(shout, name)
        faasm.state.append("greeted", name.encode())
        faasm.output(b"Hello, " + call.output())

In an ordinary Python, 3.10 or later, the same package works in local mode: an emulator within the process stands in for
the host, and the module `faasm.testing` sets it up.

Data that is given to the host may be anything with the buffer protocol, as long as it is contiguous: `bytes`, `bytearray`,
`memoryview`, `array.array`, NumPy's arrays. It is not copied on the way out of Python.
"""

from __future__ import annotations

import sys

# Type checkers take this name for true. The module `typing` takes longer to import than all of this package.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import ModuleType
    from typing import Any

    from typing_extensions import Buffer

    from faasm import _local as _host
    from faasm._local import TimeLimit, on_restore
else:
    try:
        import _faasm as _host
    except ModuleNotFoundError:
        from faasm import _local as _host
        from faasm._local import TimeLimit, on_restore
    else:
        from faasm._guest import TimeLimit, on_restore

from faasm import state

__all__ = [
    "LOCAL",
    "Call",
    "TimeLimit",
    "call_id",
    "chain",
    "chain_async",
    "config",
    "digest",
    "entry",
    "function",
    "input",
    "log",
    "on_restore",
    "output",
    "state",
    "user",
]

#: Whether this is an ordinary Python, in which an emulator stands in for the host.
LOCAL: bool = _host.__name__ == "faasm._local"


def input() -> bytes:
    """Returns the input of this call; empty when there is none."""
    return _host.input()


def output(data: Buffer | str) -> None:
    """Makes `data` the output of this call, text as UTF-8. The last output counts.

    A `bytes` or `str` that the entry point returns does the same.
    """
    _host.output(_encoded(data))


def user() -> str:
    """Returns the name of the user to whom the function belongs. State belongs to the same user."""
    return _host.info(_host.INFO_USER)


def function() -> str:
    """Returns the name of the function."""
    return _host.info(_host.INFO_FUNCTION)


def entry() -> str:
    """Returns the name of the entry point that was called."""
    return _host.info(_host.INFO_ENTRY)


def call_id() -> int:
    """Returns the number of this call, which no other call of the runtime has."""
    return int(_host.info(_host.INFO_CALL))


def config(name: str, default: str | None = None) -> str | None:
    """Returns the configuration flag `name` as the runtime was given it, or `default` if it was not.

    In local mode the flags are the environment variables of the process.
    """
    value = _host.config(name)
    return default if value is None else value


def log(level: int, text: str) -> None:
    """Writes `text` to the log of the host. The levels are those of the module `logging`, where 20 is INFO.

    `faasm.logging.Handler` does the same for whatever is logged through that module.
    """
    _host.log(level, text)


def digest(name: str, data: Buffer | str) -> bytes:
    """Returns the hash `name` (`sha224`, `sha256`, `sha384` or `sha512`) of `data`, computed by the host.

    Within the sandbox that is several times as fast as `hashlib`, for data that is large. Raises ValueError if the host
    does not know the hash.
    """
    return _host.digest(name, _encoded(data))


class Call:
    """A chained call, as `chain` returns it."""

    __slots__ = ("id",)

    def __init__(self, id: int) -> None:
        #: The number of the call: what `faasm.call_id()` is in it.
        self.id = id

    def __repr__(self) -> str:
        return f"<faasm.Call {self.id}>"

    def wait(self) -> int:
        """Waits for the call to end and returns its status, 0 unless its entry point returned or exited with another.

        Raises RuntimeError if the call failed: with the traceback if it was an exception, or with the limit it reached.
        """
        return _host.await_call(self.id)

    def output(self) -> bytes:
        """Waits for the call to end and returns its output, whatever its status. Fails like `wait`."""
        return _host.await_output(self.id)[1]

    def __await__(self) -> Generator[Any, None, bytes]:
        """Does what `output` does, and lets other tasks run meanwhile. Whoever stops waiting leaves the call as it is."""
        if not LOCAL:
            from asyncio import get_running_loop

            yield from get_running_loop().wait_for_call(self.id)
        return self.output()


def chain(function: Callable[..., Any] | str, data: Buffer | str = b"", *, entry: str | None = None) -> Call:
    """Starts another call, with `data` as its input, and returns without waiting for it.

    `function` is the name of a function of this user, `user/name`, or "" for this function again; `entry` is the name of the
    entry point, if it is not the function's own. Or it is one of this function's Python functions, which then is the entry
    point. The call runs in a sandbox of its own, in which that function is looked up by its name; so it must have one at the
    top level of the function's module, and sees nothing that was changed in this call.

    In local mode the call runs at once, within this process.

    Raises ValueError if the Python function has no such name, and whatever the host raises when it cannot start the call.
    """
    if isinstance(function, str):
        return Call(_host.chain(function, entry or "", _encoded(data)))
    if entry is not None:
        raise TypeError("a Python function is an entry point already: give `entry` only with the name of a function")
    if LOCAL:
        own = _host.module_of(function)
        return Call(_host.chain_in(own, _top_level_name(function, own), _encoded(data)))
    # Where the guest keeps the module whose entry points are called. It is not there yet while that is imported.
    module = sys.modules.get("faasm._function")
    if module is None:
        raise RuntimeError("this function is still being loaded: chain from an entry point, not when the module is imported")
    return Call(_host.chain("", _top_level_name(function, module), _encoded(data)))


async def chain_async(
    function: Callable[..., Any] | str, data: Buffer | str = b"", *, entry: str | None = None
) -> bytes:
    """Makes another call and returns its output: `await chain(…)`, as a coroutine, which is what becomes a task.

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(faasm.chain_async(square, str(n))) for n in range(10)]

    Fails like `chain` and like `Call.wait`. Cancelling it does not end the call.
    """
    return await chain(function, data, entry=entry)


def _top_level_name(function: Callable[..., Any], module: ModuleType) -> str:
    names = vars(module)
    usual: str | None = getattr(function, "__name__", None)
    if usual is not None and names.get(usual) is function:
        return usual
    # A lambda, a partial, or a function that was decorated without its name.
    for name, value in names.items():
        if value is function:
            return name
    raise ValueError(f"{function!r} has no name at the top level of {module.__name__!r}, by which a call could find it")


def _encoded(data: Buffer | str) -> Buffer:
    return data.encode() if isinstance(data, str) else data
