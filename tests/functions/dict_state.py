"""Gives a dictionary to a chained call and gets another one back, both pickled in state."""

import pickle

import faasm
from pyfaasm.core import await_call, chain, read_state, read_state_size, write_state

KEY_IN, KEY_OUT = "dict_in", "dict_out"

GIVEN = {"alpha": "beta", "gamma": ("delta", 5)}
EXPECTED = {**GIVEN, "epsilon": "zeta"}


def load(key):
    return pickle.loads(read_state(key, read_state_size(key)))


def extend(data):
    """Returns None, which is success."""
    assert data == b"", data
    write_state(KEY_OUT, pickle.dumps({**load(KEY_IN), "epsilon": "zeta"}))


def faasm_main():
    write_state(KEY_IN, pickle.dumps(GIVEN))
    assert await_call(chain(extend, b"")) == 0
    assert load(KEY_OUT) == EXPECTED, load(KEY_OUT)


def with_faasm():
    faasm.state.write(KEY_IN, pickle.dumps(GIVEN))
    assert faasm.chain(extend).wait() == 0
    assert pickle.loads(faasm.state.read(KEY_OUT)) == EXPECTED
