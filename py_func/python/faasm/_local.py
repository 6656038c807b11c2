"""The host for ordinary Pythons: what `_faasm` is in the sandbox, within this process, for as long as it lives.

State has both of its tiers, so that a forgotten push shows in tests. A chained call runs before `chain` returns. The
functions that `_faasm` does not have are for `faasm` itself and for `faasm.testing`.
"""

from __future__ import annotations

import itertools
import os
import sys

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import CoroutineType, ModuleType
    from typing import Any, TypeVar

    from typing_extensions import Buffer

    Hook = TypeVar("Hook", bound=Callable[[], object])

INFO_USER, INFO_FUNCTION, INFO_ENTRY, INFO_CALL = range(4)

_DEFAULT_ENTRY = "faasm_main"
_KEY_LIMIT = 512


class _Call:
    def __init__(self, user: str, function: str, entry: str, data: bytes, module: ModuleType | None) -> None:
        self.id = next(_ids)
        self.user, self.function, self.entry, self.module = user, function, entry, module
        self.input, self.output = data, b""
        self.status = 0
        self.failure: str | None = None
        _calls[self.id] = self


def begin(data: Buffer = b"", *, user: str = "python", function: str = "local", entry: str = _DEFAULT_ENTRY) -> int:
    """Makes what follows a new call, with that input and identity and with no output yet. Returns its number.

    For tests that call an entry point themselves instead of chaining to it.
    """
    global _current
    _current = _Call(user, function, entry, _bytes(data), _modules.get((user, function)))
    return _current.id


def finish(status: int) -> None:
    """Sets the status that others get who wait for this call."""
    _current.status = status


def register(module: ModuleType, function: str | None = None, *, user: str = "python") -> None:
    """Makes a module a function that can be chained to by name, which is the module's own if none is given."""
    _modules[user, function or module.__name__.rpartition(".")[2]] = module


def reset() -> None:
    """Forgets all state, calls, registered functions and restore hooks, and begins a call."""
    for kept in (_values, _pushed, _logs, _locks, _calls, _modules, _hooks):
        kept.clear()
    begin()


class TimeLimit(KeyboardInterrupt):
    """The call has reached its time limit; there is none in local mode."""

    __module__ = "faasm"


def on_restore(hook: Hook) -> Hook:
    """Has `hook()` run at the start of every chained call, before the entry point; see the same function of the guest."""
    _hooks.append(hook)
    return hook


# The call at hand.


def input() -> bytes:
    return _current.input


def output(data: Buffer) -> None:
    _current.output = _bytes(data)


def get_output() -> bytes:
    """Returns the output that was last set in this call; empty if there was none."""
    return _current.output


def info(what: int) -> str:
    call = _current
    return (call.user, call.function, call.entry, str(call.id))[what]


def config(name: str) -> str | None:
    return os.environ.get(name)


def log(level: int, text: str) -> None:
    import logging

    # Not through that module: its handlers may be what brought the text here.
    print(f"{logging.getLevelName(level)}: {text}", file=sys.stderr)


def digest(name: str, data: Buffer) -> bytes:
    import hashlib

    return hashlib.new(name, _bytes(data)).digest()


# Chaining.


def chain(function: str, entry: str, data: Buffer) -> int:
    if not function:
        return chain_in(_current.module or sys.modules["__main__"], entry, data)
    user, slash, name = function.rpartition("/")
    user = user if slash else _current.user
    module = _modules.get((user, name))
    if module is None:
        raise KeyError(f"no function {user}/{name}: in local mode, faasm.testing.register makes it known")
    return _run(_Call(user, name, entry or _DEFAULT_ENTRY, _bytes(data), module))


def chain_in(module: ModuleType, entry: str, data: Buffer) -> int:
    """Chains to an entry point of the function of the present call, or of `module` where no function was called yet."""
    function = _current.function if _current.module else module.__name__.rpartition(".")[2]
    return _run(_Call(_current.user, function, entry or _DEFAULT_ENTRY, _bytes(data), module))


def module_of(function: Callable[..., Any]) -> ModuleType:
    """The module in which a chained call looks for `function`."""
    # Objects that are called like functions may have no module, or not know it.
    return _current.module or sys.modules.get(getattr(function, "__module__", None) or "", sys.modules["__main__"])


def await_call(id: int) -> int:
    return _finished(id).status


def await_output(id: int) -> tuple[int, bytes]:
    call = _finished(id)
    return call.status, call.output


def await_any(calls: Iterable[int], nanoseconds: int) -> list[int]:
    """Returns the calls that have ended, which all of them have."""
    return sorted(call for call in calls if _known(call))


def _known(id: int) -> _Call:
    call = _calls.get(id)
    if call is None:
        raise ValueError(f"there is no call {id}")
    return call


def _finished(id: int) -> _Call:
    call = _known(id)
    if call.failure is not None:
        raise RuntimeError(call.failure)
    return call


def _run(call: _Call) -> int:
    global _current
    caller, _current = _current, call
    try:
        target = getattr(call.module, call.entry, None)
        if callable(target):
            for hook in _hooks:
                hook()
            _finish(call, target(call.input) if _takes_input(target) else target())
        else:
            call.failure = f"{call.user}/{call.function} has no function {call.entry!r}"
    except SystemExit as exit:
        if exit.code is not None and not isinstance(exit.code, int):
            print(exit.code, file=sys.stderr)
        call.status = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    except Exception:
        import traceback

        call.failure = traceback.format_exc()
    finally:
        for held in _locks.values():
            held[:] = [(holder, exclusive) for holder, exclusive in held if holder is not call]
        _current = caller
    return call.id


def _takes_input(target: Callable[..., Any]) -> bool:
    import inspect

    try:
        inspect.signature(target).bind(b"")
    except TypeError:
        return False
    except ValueError:
        # A function of C that does not say what it takes.
        return True
    return True


def _finish(call: _Call, result: object) -> None:
    from types import CoroutineType

    if isinstance(result, CoroutineType):
        result = _run_coroutine(result)
    if result is None:
        return
    if isinstance(result, int) and not isinstance(result, bool):
        call.status = result
    elif isinstance(result, (bytes, bytearray, memoryview)):
        call.output = _bytes(result)
    elif isinstance(result, str):
        call.output = result.encode()
    else:
        call.failure = f"the entry point returned {type(result).__name__!r}; it may return None, an int status, bytes or str"


def _run_coroutine(coroutine: CoroutineType[Any, Any, object]) -> object:
    import asyncio
    import contextlib

    # Who chains may be a coroutine itself, and then there is an event loop already, which has to wait.
    running = asyncio._get_running_loop()
    with contextlib.ExitStack() as stack:
        if running is not None:
            asyncio._set_running_loop(None)
            stack.callback(asyncio._set_running_loop, running)
            stack.callback(asyncio.set_event_loop, running)
        return asyncio.run(coroutine)


# State.


def state_keys() -> list[str]:
    return list({key for user, key in [*_values, *_pushed, *_logs] if user == _current.user})


def state_size(key: str) -> int:
    return len(_value(key))


def state_read(key: str, offset: int = 0, length: int = -1) -> bytes:
    value = _value(key)
    _check_offset(offset)
    return bytes(value[offset:] if length < 0 else value[offset : offset + length])


def state_read_into(key: str, offset: int, buffer: Buffer) -> int:
    value = _value(key)
    _check_offset(offset)
    with memoryview(buffer) as view, view.cast("B") as target:
        part = value[offset : offset + len(target)]
        target[: len(part)] = part
    return len(part)


def state_write(key: str, data: Buffer) -> None:
    new = _bytes(data)
    old = _existing(key)
    if old is not None and len(old) != len(new):
        raise ValueError(f"the value of {key!r} has {len(old)} bytes, not {len(new)}: resize it first")
    _values[_name(key)] = bytearray(new)


def state_write_at(key: str, offset: int, data: Buffer, total: int = -1) -> None:
    new = _bytes(data)
    _check_offset(offset)
    value = _existing(key)
    size = total if value is None else len(value)
    if size < 0:
        raise KeyError(key)
    if 0 <= total != size:
        raise ValueError(f"the value of {key!r} has {size} bytes, not {total}: resize it first")
    if offset + len(new) > size:
        raise ValueError(f"bytes {offset} to {offset + len(new)} are beyond the end of {key!r}, which has {size}")
    if value is None:
        value = _values[_name(key)] = bytearray(size)
    value[offset : offset + len(new)] = new


def state_resize(key: str, size: int) -> None:
    value = _value(key)
    if size < 0:
        raise ValueError(f"a value cannot have {size} bytes")
    value[size:] = bytes(max(0, size - len(value)))


def state_delete(key: str) -> None:
    for kept in (_values, _pushed, _logs):
        kept.pop(_name(key), None)


def state_push(key: str) -> None:
    _pushed[_name(key)] = bytes(_value(key))


# Nobody else writes to this global tier, so what was not written since the last push is the same in both.
state_push_partial = state_push


def state_pull(key: str) -> None:
    _value(key)
    if _name(key) in _pushed:
        del _values[_name(key)]


def state_append(key: str, data: Buffer) -> None:
    _logs.setdefault(_name(key), []).append(_bytes(data))


def state_appended(key: str, count: int = -1) -> list[bytes]:
    entries = _logs.get(_name(key), [])
    return entries[:] if count < 0 else entries[:count]


def state_clear_appended(key: str) -> None:
    _logs.pop(_name(key), None)


def state_lock(key: str, exclusive: bool) -> None:
    held = _locks.setdefault(_name(key), [])
    if held and (exclusive or held[0][1]):
        raise RuntimeError(f"{key!r} is locked by call {held[0][0].id}, which waits for this one: both would wait for ever")
    held.append((_current, exclusive))


def state_unlock(key: str, exclusive: bool) -> None:
    held = _locks.get(_name(key), [])
    if (_current, exclusive) not in held:
        raise RuntimeError(f"{key!r} is not locked by this call")
    held.remove((_current, exclusive))


def _name(key: str) -> tuple[str, str]:
    if not 1 <= len(key.encode()) <= _KEY_LIMIT:
        raise ValueError(f"a key has 1 to {_KEY_LIMIT} bytes of UTF-8, not {len(key.encode())}")
    return _current.user, key


def _value(key: str) -> bytearray:
    value = _existing(key)
    if value is None:
        raise KeyError(key)
    return value


def _existing(key: str) -> bytearray | None:
    name = _name(key)
    if name not in _values and name in _pushed:
        _values[name] = bytearray(_pushed[name])
    return _values.get(name)


def _check_offset(offset: int) -> None:
    if offset < 0:
        raise ValueError(f"an offset cannot be {offset}")


def _bytes(data: Buffer) -> bytes:
    with memoryview(data) as view:
        if not view.c_contiguous:
            raise BufferError("the data is not contiguous in memory")
        return view.tobytes()


_ids = itertools.count(1)
_calls: dict[int, _Call] = {}
_modules: dict[tuple[str, str], ModuleType] = {}
_hooks: list[Callable[[], object]] = []
# By user and key: the local tier, the global one, logs, and who holds each lock and whether exclusively.
_values: dict[tuple[str, str], bytearray] = {}
_pushed: dict[tuple[str, str], bytes] = {}
_logs: dict[tuple[str, str], list[bytes]] = {}
_locks: dict[tuple[str, str], list[tuple[_Call, bool]]] = {}
_current = _Call("python", "local", _DEFAULT_ENTRY, b"", None)
