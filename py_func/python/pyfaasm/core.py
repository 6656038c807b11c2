"""Input and output, state and chained calls under the names of the original library, both generations of them.

Arguments are in the original's order. Lengths of whole values, which its host had to be told, may be left out. What
differs is what the host does now: reading, pulling or pushing what does not exist raises KeyError, and writing with another
size than the value has raises ValueError.

There are two local modes, for running a function as a plain Python program. They are chosen with the functions below, or by
setting the environment variables of the same names to anything but nothing. With PYTHON_LOCAL_CHAINING, chained functions are
called directly; with PYTHON_LOCAL_OUTPUT, the output is kept in this module. In an ordinary Python the calls of the emulator
work as well: they set up what `faasm.testing` does, in this process.
"""

from __future__ import annotations

import os
import sys

import faasm
from faasm import _host, state

TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from typing_extensions import Buffer

PYTHON_LOCAL_CHAINING = bool(os.environ.get("PYTHON_LOCAL_CHAINING"))
PYTHON_LOCAL_OUTPUT = bool(os.environ.get("PYTHON_LOCAL_OUTPUT"))

_local_output: Buffer | None = None


def set_local_chaining(value: bool) -> None:
    """Has `chain` call functions directly from now on, or not."""
    global PYTHON_LOCAL_CHAINING
    PYTHON_LOCAL_CHAINING = bool(value)


def set_local_input_output(value: bool) -> None:
    """Has outputs be kept in this module from now on, or not."""
    global PYTHON_LOCAL_OUTPUT
    PYTHON_LOCAL_OUTPUT = bool(value)


def is_local_chaining() -> bool:
    return PYTHON_LOCAL_CHAINING


def is_local_output() -> bool:
    return PYTHON_LOCAL_OUTPUT


def check_python_bindings() -> None:
    """Prints whose call this is, or fails if the host interface does not answer."""
    print(f"The host interface answers: {faasm.user()}/{faasm.function()}, {get_input_len()} bytes of input")


# Input and output.


def get_input() -> bytes:
    """Returns the input of the call; empty when there is none."""
    return faasm.input()


def get_input_len() -> int:
    return len(faasm.input())


def read_input(input_len: int | None = None) -> bytes:
    """Returns the input, or its first `input_len` bytes."""
    return faasm.input()[:input_len]


def write_output(output: Buffer) -> None:
    """Makes `output` the output of the call. The last one counts."""
    if PYTHON_LOCAL_OUTPUT:
        global _local_output
        _local_output = output
    else:
        faasm.output(output)


def get_output() -> Buffer | None:
    """Returns the output that was last set; if none was, None where outputs are kept here, and else what is empty."""
    return _local_output if PYTHON_LOCAL_OUTPUT else _host.get_output()


set_output = write_output


# State.


def read_state_size(key: str) -> int:
    """Returns the size of a value; 0 if there is none."""
    try:
        return state.size(key)
    except KeyError:
        return 0


def read_state(key: str, state_len: int | None = None) -> bytes:
    """Returns a value, or its first `state_len` bytes."""
    return state.read_at(key, 0, _length(state_len))


def read_state_offset(key: str, total_len: int, offset: int, offset_len: int) -> bytes:
    """Returns `offset_len` bytes of a value from `offset` on. The value knows its size, so `total_len` is not looked at."""
    return state.read_at(key, int(offset), _length(offset_len))


def write_state(key: str, value: Buffer) -> None:
    state.write(key, value)


def write_state_offset(key: str, total_len: int, offset: int, value: Buffer) -> None:
    """Writes into a value of `total_len` bytes. If there is none, one of zeros is made first."""
    state.write_at(key, int(offset), value, int(total_len))


def push_state(key: str) -> None:
    state.push(key)


def push_state_partial(key: str) -> None:
    state.push_partial(key)


def pull_state(key: str, state_len: int | None = None) -> None:
    """Forgets the local copy of a value. The value knows its size, so `state_len` is not looked at."""
    state.pull(key)


get_state_size = read_state_size
get_state = read_state
get_state_offset = read_state_offset
set_state = write_state
set_state_offset = write_state_offset


# Chaining.


def chain(func: Callable[..., Any], input_data: Buffer) -> int:
    """Starts a call of this function with `func` as its entry point, and returns the number of the call.

    The entry point is found by the name of `func`. So a library's function can be chained to by a module that has a function
    of the same name, for instance by importing it.
    """
    if PYTHON_LOCAL_CHAINING:
        func(input_data)
        return 0
    if faasm.LOCAL:
        return _host.chain_in(_host.module_of(func), func.__name__, input_data)
    return _host.chain("", func.__name__, input_data)


def await_call(call_id: int) -> int:
    """Waits for a chained call and returns its status.

    That of a call that failed is 1, as in the original; its traceback goes to standard error, so that it is not lost.
    """
    if PYTHON_LOCAL_CHAINING:
        return 0
    try:
        return _host.await_call(call_id)
    except RuntimeError as failure:
        print(f"the chained call {call_id} failed: {failure}", file=sys.stderr)
        return 1


chain_this_with_input = chain


# The emulator.


def set_emulator_message(message_json: str) -> int:
    """Begins a call, as the JSON says that was the original's message, and returns its number.

    Looked at are `user` and `function`, or `py_user` and `py_func` if they are there, `py_entry` and `input_data`.
    """
    global _local_output
    import json

    from faasm import testing

    message = json.loads(message_json)
    names = {
        "user": message.get("py_user") or message.get("user"),
        "function": message.get("py_func") or message.get("function"),
        "entry": message.get("py_entry"),
    }
    _local_output = None
    return testing.begin(message.get("input_data", "").encode(), **{name: value for name, value in names.items() if value})


def set_emulator_status(success: bool) -> None:
    """Ends the call that was begun, well or not, for those who await it."""
    from faasm import testing

    testing.finish(0 if success else 1)


def get_emulator_async_response() -> str:
    """Returns what a caller who does not wait is told: the number of the call."""
    return str(faasm.call_id())


def _length(length: int | None) -> int | None:
    # The original takes all kinds of numbers, NumPy's for instance.
    return None if length is None else int(length)
