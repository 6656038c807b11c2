"""`faasm.state` in local mode, where it has the semantics of the host's."""

import array
import sys
import unittest

from support import TestCase

import faasm
import faasm.testing
from faasm import state


def locks(mode):
    faasm.state.lock("key", shared=mode == b"shared").__enter__()


def writes_its_own():
    assert state.keys() == state.appended("key") == []
    with state.lock("key"):
        state.write("key", b"hers")


def locks_and_fails():
    locks(b"exclusive")
    raise LookupError


class Values(TestCase):
    def test_whole_values(self):
        with self.assertRaises(KeyError):
            state.size("key")
        for data in (b"12345678", bytearray(b"abcdefgh"), memoryview(b"0ABCDEFGH")[1:], array.array("d", [1.5])):
            state.write("key", data)
            self.assertEqual((state.size("key"), state.read("key")), (8, bytes(data)))
        state.write("empty", b"")
        self.assertEqual((state.size("empty"), state.read("empty")), (0, b""))
        self.assertEqual(state.keys(), ["empty", "key"])

    def test_the_size_is_fixed(self):
        state.write("key", b"12345")
        for wrong in (b"", b"1234", b"123456"):
            with self.assertRaisesRegex(ValueError, "resize"):
                state.write("key", wrong)
        state.resize("key", 7)
        self.assertEqual(state.read("key"), b"12345\0\0")
        state.resize("key", 2)
        self.assertEqual(state.read("key"), b"12")
        state.write("key", b"ab")
        with self.assertRaises(ValueError):
            state.resize("key", -1)
        self.assertEqual(state.read("key"), b"ab")

    def test_parts(self):
        state.write_at("key", 2, b"99", 6)
        self.assertEqual(state.read("key"), b"\0\x0099\0\0")
        state.write_at("key", 4, memoryview(b"xy"), 6)
        for total in (0, 5, 100):
            with self.assertRaisesRegex(ValueError, "has 6 bytes"):
                state.write_at("key", 0, b"", total)
        for offset, length, expected in [(0, 2, b"\0\0"), (2, None, b"99xy"), (4, 9, b"xy"), (6, 1, b""), (7, None, b"")]:
            self.assertEqual(state.read_at("key", offset, length), expected)
        for offset, data in [(5, b"ab"), (7, b""), (-1, b"a")]:
            with self.assertRaises(ValueError):
                state.write_at("key", offset, data)
        with self.assertRaises(ValueError):
            state.read_at("key", -1)
        with self.assertRaises(KeyError):
            state.write_at("no key", 0, b"")

    def test_reading_into_buffers(self):
        state.write("key", bytes(range(8)))
        numbers = array.array("H", [0, 0, 0])
        self.assertEqual(state.read_into("key", memoryview(numbers)[1:]), 4)
        self.assertEqual(numbers.tobytes(), b"\0\0\0\1\2\3")
        short = bytearray(b"....")
        self.assertEqual(state.read_into("key", short, 6), 2)
        self.assertEqual(short, b"\6\7..")
        with self.assertRaises(TypeError):
            state.read_into("key", b"not writable")

    def test_keys(self):
        state.write("ü" * 256, b"")
        for wrong in ("", "ü" * 256 + "x"):
            with self.assertRaisesRegex(ValueError, "1 to 512 bytes"):
                state.write(wrong, b"")

    def test_users_have_their_own(self):
        state.write("key", b"python's")
        state.append("key", b"python's")
        faasm.testing.register(sys.modules[__name__], "other", user="ada")
        with state.lock("key"):
            self.assertEqual(faasm.chain("ada/other", entry="writes_its_own").wait(), 0)
        self.assertEqual((state.read("key"), state.appended("key")), (b"python's", [b"python's"]))


class Tiers(TestCase):
    def test_what_was_not_pushed_is_lost_by_pulling(self):
        for push in (state.push, state.push_partial):
            faasm.testing.reset()
            state.write("key", b"0123456789")
            push("key")
            state.write_at("key", 2, b"999")
            self.assertEqual(state.read("key"), b"0199956789")
            state.pull("key")
            self.assertEqual(state.read("key"), b"0123456789")
            state.write_at("key", 2, b"999")
            push("key")
            state.pull("key")
            self.assertEqual((state.keys(), state.size("key")), (["key"], 10))
            self.assertEqual(state.read("key"), b"0199956789")

    def test_sizes_are_pushed(self):
        state.write("key", b"0123")
        state.push("key")
        state.resize("key", 2)
        state.pull("key")
        self.assertEqual(state.size("key"), 4)
        state.resize("key", 2)
        state.push("key")
        state.pull("key")
        self.assertEqual(state.read("key"), b"01")

    def test_nothing_to_push_or_pull(self):
        for operation in (state.push, state.push_partial, state.pull):
            with self.assertRaises(KeyError):
                operation("key")
        # There is nothing in the global tier that could win.
        state.write("key", b"1")
        state.pull("key")
        self.assertEqual(state.read("key"), b"1")

    def test_deletion(self):
        state.delete("key")
        state.write("key", b"1")
        state.push("key")
        state.append("key", b"entry")
        state.delete("key")
        self.assertEqual((state.keys(), state.appended("key")), ([], []))
        state.write("key", b"of another size")


class Logs(TestCase):
    def test_appending(self):
        self.assertEqual(state.appended("log"), [])
        for entry in (b"one", bytearray(b""), memoryview(b"three")):
            state.append("log", entry)
        self.assertEqual(state.appended("log"), [b"one", b"", b"three"])
        for count, expected in [(0, []), (2, [b"one", b""]), (9, [b"one", b"", b"three"])]:
            self.assertEqual(state.appended("log", count), expected)
        self.assertEqual(state.keys(), ["log"])
        state.clear_appended("log")
        state.clear_appended("log")
        self.assertEqual((state.appended("log"), state.keys()), ([], []))


class Locks(TestCase):
    def test_who_may_hold_a_lock_together(self):
        for held, asked, allowed in [
            (True, b"shared", True),
            (True, b"exclusive", False),
            (False, b"shared", False),
            (False, b"exclusive", False),
        ]:
            with state.lock("key", shared=held), state.lock("another key"):
                call = faasm.chain(locks, asked)
                if allowed:
                    self.assertEqual(call.wait(), 0)
                else:
                    with self.assertRaisesRegex(RuntimeError, "wait for ever"):
                        call.wait()

    def test_locks_end(self):
        with self.assertRaises(LookupError), state.lock("key"):
            raise LookupError
        # Those of a call end with it, however it ends.
        for function in (locks, locks_and_fails):
            faasm.chain(function)
            with state.lock("key"):
                pass
        with self.assertRaisesRegex(RuntimeError, "not locked"):
            state.lock("key").__exit__(None, None, None)


if __name__ == "__main__":
    unittest.main()
