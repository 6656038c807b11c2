"""Chains to two functions of its own, each of which checks what it was given."""

import faasm
from pyfaasm.core import await_call, chain


def chain_one(data):
    assert data == b"1234", data
    return 0


def chain_two(data):
    assert data == b"5678" == faasm.input(), data
    return 0


def shout(text):
    return text.upper()


def status(text):
    faasm.output(f"{faasm.user()}/{faasm.function()} {faasm.entry()}")
    return int(text)


def wrong():
    raise LookupError("of the chained call")


def faasm_main():
    calls = chain(chain_one, b"1234"), chain(chain_two, b"5678")
    assert calls[0] != calls[1]
    statuses = [await_call(call) for call in calls]
    assert statuses == [0, 0], statuses


def with_faasm():
    calls = [faasm.chain(chain_one, b"1234"), faasm.chain("", b"5678", entry="chain_two")]
    assert [call.wait() for call in calls] == [0, 0]
    assert faasm.call_id() not in [call.id for call in calls] and calls[0].id != calls[1].id

    identity = f"{faasm.user()}/{faasm.function()}"
    for function in ("", faasm.function(), identity):
        call = faasm.chain(function, "3", entry="status")
        assert (call.wait(), call.output()) == (3, f"{identity} status".encode())

    try:
        faasm.chain(wrong).wait()
    except RuntimeError as error:
        assert "LookupError: of the chained call" in str(error), error
    else:
        raise AssertionError("a failed call was not noticed")

    try:
        faasm.chain(lambda data: data)
    except ValueError as error:
        assert "has no name at the top level" in str(error), error
    else:
        raise AssertionError("chained to what no other call can find")
    return faasm.chain(shout, "chained").output()
