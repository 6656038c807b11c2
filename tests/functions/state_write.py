"""Writes a value and then a part of it, pushing and pulling in between. `state_read` reads it in another call."""

import faasm
from pyfaasm.core import (
    pull_state,
    push_state,
    push_state_partial,
    read_state,
    read_state_offset,
    read_state_size,
    write_state,
    write_state_offset,
)

KEY = "state_test"
SIZE = 10


def check(expected):
    pull_state(KEY, SIZE)
    actual = read_state(KEY, SIZE)
    assert actual == expected, actual


def faasm_main():
    write_state(KEY, b"0123456789")
    push_state(KEY)
    assert read_state_size(KEY) == SIZE
    check(b"0123456789")
    write_state_offset(KEY, SIZE, 2, b"999")
    push_state_partial(KEY)
    check(b"0199956789")
    assert read_state_offset(KEY, SIZE, 2, 3) == b"999"


def with_faasm():
    state = faasm.state
    with state.lock(KEY):
        state.write(KEY, memoryview(b"0123456789"))
        state.push(KEY)
        state.write_at(KEY, 2, bytearray(b"999"))
        # What was not pushed does not outlive a pull.
        state.pull(KEY)
        assert state.read(KEY) == b"0123456789"
        state.write_at(KEY, 2, bytearray(b"999"))
        state.push_partial(KEY)
        state.pull(KEY)
    part = bytearray(b"..........")
    assert state.read_into(KEY, memoryview(part)[1:4], 2) == 3
    assert part == b".999......" and state.read_at(KEY, 8, 100) == b"89" and KEY in state.keys()
