"""The names of the original library, in local mode and with the emulator."""

import contextlib
import io
import json
import sys
import unittest

from support import TestCase

import faasm
import faasm.testing
from pyfaasm import core

#: Names by generation, old and new, and what both have.
NAMES = """
check_python_bindings
get_input set_output get_state_size get_state get_state_offset set_state set_state_offset chain_this_with_input
get_input_len read_input write_output read_state_size read_state read_state_offset write_state write_state_offset chain
is_local_chaining is_local_output
get_output push_state push_state_partial pull_state await_call set_local_chaining set_local_input_output
set_emulator_message set_emulator_status get_emulator_async_response
"""

received = []


def receives(data):
    received.append((data, faasm.entry()))
    return 5


def fails(data):
    raise LookupError("of the chained call")


class PyFaasmTest(TestCase):
    def setUp(self):
        super().setUp()
        received.clear()
        self.addCleanup(core.set_local_chaining, core.is_local_chaining())
        self.addCleanup(core.set_local_input_output, core.is_local_output())
        core.set_local_chaining(False)
        core.set_local_input_output(False)


class Names(unittest.TestCase):
    def test_all_are_there(self):
        self.assertEqual([name for name in NAMES.split() if not callable(getattr(core, name, None))], [])


class InputAndOutput(PyFaasmTest):
    def test_input(self):
        for message, expected in [({"input_data": "blah ü"}, "blah ü".encode()), ({}, b"")]:
            core.set_emulator_message(json.dumps(message))
            self.assertEqual((core.get_input(), core.read_input(), core.get_input_len()), (expected, expected, len(expected)))
            self.assertEqual((core.read_input(4), core.read_input(100)), (expected[:4], expected))

    def test_output(self):
        for local, none in [(True, None), (False, b"")]:
            core.set_local_input_output(local)
            core.set_emulator_message('{"user": "foo", "function": "bar"}')
            self.assertEqual(core.get_output(), none)
            for write in (core.set_output, core.write_output):
                write(output := write.__name__.encode() + b"\0")
                self.assertEqual(core.get_output(), output)
            self.assertEqual(faasm.testing.get_output(), b"" if local else output)

    def test_bindings(self):
        core.set_emulator_message('{"user": "foo", "function": "bar", "input_data": "12345"}')
        with contextlib.redirect_stdout(io.StringIO()) as seen:
            core.check_python_bindings()
        self.assertEqual(seen.getvalue(), "The host interface answers: foo/bar, 5 bytes of input\n")


class State(PyFaasmTest):
    def check(self, size, read, read_at, write, write_at):
        self.assertEqual(size("key"), 0)
        write("key", b"0123456789")
        core.push_state("key")
        self.assertEqual(size("key"), 10)
        core.pull_state("key", 10)
        self.assertEqual(read("key", 10), b"0123456789")
        write_at("key", 10, 2, b"999")
        core.push_state_partial("key")
        core.pull_state("key", 10)
        self.assertEqual((read("key", 10), read("key"), read("key", 4)), (b"0199956789", b"0199956789", b"0199"))
        # The total is not looked at, as the original's own test gave a wrong one.
        for total, offset, length, expected in [(10, 2, 3, b"999"), (3, 0, 3, b"019"), (4, 4, 4, b"9567")]:
            self.assertEqual(read_at("key", total, offset, length), expected)
        write_at("new", 6, 4, b"ab")
        self.assertEqual(read("new", 6), b"\0\0\0\0ab")

    def test_old_names(self):
        self.check(core.get_state_size, core.get_state, core.get_state_offset, core.set_state, core.set_state_offset)

    def test_new_names(self):
        self.check(core.read_state_size, core.read_state, core.read_state_offset, core.write_state, core.write_state_offset)


class Chaining(PyFaasmTest):
    def test_chained_calls(self):
        calls = [core.chain(receives, b"1234"), core.chain_this_with_input(receives, b"5678")]
        self.assertEqual([core.await_call(call) for call in calls], [5, 5])
        self.assertEqual(received, [(b"1234", "receives"), (b"5678", "receives")])
        self.assertEqual(len({0, *calls}), 3)

    def test_failed_calls_have_a_status(self):
        call = core.chain(fails, b"")
        with contextlib.redirect_stderr(io.StringIO()) as seen:
            self.assertEqual(core.await_call(call), 1)
        self.assertIn("LookupError: of the chained call", seen.getvalue())

    def test_by_name(self):
        # As `pyfaasm.matrix` needs it: the function of another module, for which the caller's has one of the same name.
        faasm.testing.register(sys.modules[__name__], "f")
        call = faasm.chain("f", entry="chains_to_a_namesake")
        self.assertEqual(call.wait(), 0)
        self.assertEqual(received, [(b"data", "receives")])

    def test_local_chaining(self):
        core.set_local_chaining(True)
        closure = []
        # Called directly: closures work, identity stays the caller's, and there is no status.
        self.assertEqual(core.await_call(core.chain(closure.append, b"data")), 0)
        self.assertEqual(closure, [b"data"])
        self.assertEqual(core.chain_this_with_input(receives, b"data"), 0)
        self.assertEqual(received, [(b"data", "faasm_main")])
        with self.assertRaises(LookupError):
            core.chain(fails, b"")


def chains_to_a_namesake():
    def receives(data):
        raise AssertionError("the function itself was called")

    return 0 if core.await_call(core.chain(receives, b"data")) == 5 else 1


class Emulator(PyFaasmTest):
    def test_messages(self):
        for message, expected in [
            ({"user": "foo", "function": "bar"}, ("foo", "bar", "faasm_main")),
            ({"user": "u", "function": "py_func", "py_user": "ada", "py_func": "f", "py_entry": "e"}, ("ada", "f", "e")),
            ({}, ("python", "local", "faasm_main")),
        ]:
            id = core.set_emulator_message(json.dumps(message))
            self.assertGreater(id, 0)
            self.assertEqual((faasm.user(), faasm.function(), faasm.entry()), expected)
            self.assertEqual(core.get_emulator_async_response(), str(id))

    def test_statuses(self):
        id = core.set_emulator_message("{}")
        for success, status in [(True, 0), (False, 1)]:
            core.set_emulator_status(success)
            self.assertEqual(core.await_call(id), status)


if __name__ == "__main__":
    unittest.main()
