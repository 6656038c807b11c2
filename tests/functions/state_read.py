"""Reads what `state_write` left."""

import faasm
from pyfaasm.core import read_state, read_state_offset

KEY = "state_test"


def faasm_main():
    # The two parts are asked for as the original's function did, with a total that is not the value's.
    parts = read_state_offset(KEY, 3, 0, 3), read_state_offset(KEY, 4, 4, 4)
    assert parts == (b"019", b"9567"), parts
    return read_state(KEY, 10)


def with_faasm():
    state = faasm.state
    with state.lock(KEY, shared=True), state.lock(KEY, shared=True):
        parts = state.read_at(KEY, 0, 3), state.read_at(KEY, 4, 4)
    assert parts == (b"019", b"9567"), parts
    return state.read(KEY)
