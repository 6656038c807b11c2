"""Appends its input to a log, once, and with the entry `listed` says what is in it, one entry a line."""

import faasm

KEY = "append_test"


def faasm_main(entry):
    faasm.state.append(KEY, entry)


def listed():
    return b"\n".join(faasm.state.appended(KEY))
