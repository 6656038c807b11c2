"""The package `faasm` but for state, in local mode."""

import array
import asyncio
import contextlib
import functools
import io
import logging
import os
import re
import subprocess
import sys
import types
import unittest
from unittest import mock

from support import REPOSITORY, TestCase

import faasm
import faasm.logging
import faasm.testing
from faasm import _local


def shout(text):
    return text.upper()


def status():
    faasm.output(faasm.input())
    return 7


def results(kind):
    return {b"none": None, b"text": "ü", b"array": bytearray(b"array"), b"view": memoryview(b"view"), b"wrong": 1.5}[kind]


def exits(code):
    sys.exit(eval(code))


def fails():
    raise LookupError("of the chained call")


def who():
    return f"{faasm.user()}/{faasm.function()} {faasm.entry()} {faasm.call_id()}"


def nested(depth):
    depth = int(depth)
    faasm.output(str(depth))
    if depth:
        inner = faasm.chain(nested, str(depth - 1))
        assert inner.output() == str(depth - 1).encode()


async def later(data):
    await asyncio.sleep(0)
    return data.upper()


async def gathers():
    async with asyncio.timeout(60) if hasattr(asyncio, "timeout") else contextlib.nullcontext():
        return b" ".join(await asyncio.gather(faasm.chain(later, b"a"), faasm.chain_async(later, b"b"), faasm.chain(shout, b"c")))


def chains_elsewhere():
    faasm.chain(faasm.log)


unnamed = lambda data: data[::-1]


class Interface(unittest.TestCase):
    def test_coroutines_are_run_and_calls_are_awaited(self):
        self.assertEqual(faasm.chain(gathers).output(), b"A B C")
        self.assertEqual(asyncio.run(gathers()), b"A B C")

    def test_every_host_function_is_emulated(self):
        source = (REPOSITORY / "py_func" / "guest" / "_faasm.c").read_text()
        names = set(re.findall(r'^ *\{"(\w+)", module_', source, re.MULTILINE))
        self.assertIn("output", names)
        # Those are for the guest's own side.
        names -= {"fail", "fcntl", "flock", "lock_range", "settle", "is_numpy_twister"}
        names -= {"reseed_numpy", "reseed_random", "reseed_sqlite"}
        self.assertEqual(sorted(name for name in names if not hasattr(_local, name)), [])

    def test_all_names_exist_and_are_documented(self):
        for module in (faasm, faasm.state, faasm.testing, faasm.logging):
            for name in module.__all__:
                self.assertTrue(name == "LOCAL" or getattr(module, name).__doc__, name)

    def test_import_loads_little(self):
        program = "import sys; before = set(sys.modules); import faasm; print(*sorted(set(sys.modules) - before))"
        environment = {"PYTHONPATH": str(REPOSITORY / "py_func" / "python"), "PYTHONDONTWRITEBYTECODE": "1"}
        loaded = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
        allowed = {"__future__", "itertools", "faasm", "faasm._local", "faasm.state"}
        self.assertLessEqual(set(loaded.stdout.split()), allowed)

    def test_the_real_host_is_taken_if_there_is_one(self):
        host = types.ModuleType("_faasm")
        host.input = lambda: b"from the host"
        guest = types.ModuleType("faasm._guest")
        guest.on_restore, guest.TimeLimit = print, KeyboardInterrupt
        others = {name: module for name, module in sys.modules.items() if not name.startswith("faasm")}
        with mock.patch.dict(sys.modules, {**others, "_faasm": host, "faasm._guest": guest}, clear=True):
            import faasm as again

            self.assertFalse(again.LOCAL)
            self.assertEqual(again.input(), b"from the host")
            self.assertIs(again.on_restore, print)
            with self.assertRaisesRegex(ImportError, "a real one"):
                import faasm.testing
            with self.assertRaisesRegex(RuntimeError, "still being loaded"):
                again.chain(shout)

            # The guest keeps the function's module there, and the host is told names.
            sys.modules["faasm._function"] = sys.modules[__name__]
            chained = []
            host.chain = lambda *arguments: chained.append(arguments) or len(chained)
            host.await_output = lambda id: (id, b"output %d" % id)
            self.assertEqual(again.chain(shout, "x").output(), b"output 1")
            self.assertEqual(again.chain(unnamed).output(), b"output 2")
            self.assertEqual(again.chain("ada/f", b"x", entry="e").output(), b"output 3")
            self.assertEqual(chained, [("", "shout", b"x"), ("", "unnamed", b""), ("ada/f", "e", b"x")])
            with self.assertRaisesRegex(ValueError, "no name at the top level"):
                again.chain(lambda: None)


class Calls(TestCase):
    def test_input_and_output(self):
        faasm.testing.begin(b"in")
        self.assertEqual((faasm.input(), faasm.testing.get_output()), (b"in", b""))
        for data, expected in [
            (b"bytes", b"bytes"),
            ("ü", b"\xc3\xbc"),
            (bytearray(b"x"), b"x"),
            (memoryview(b"xyz")[1:], b"yz"),
            (array.array("H", [0x4141]), b"AA"),
            (b"", b""),
        ]:
            faasm.output(data)
            self.assertEqual(faasm.testing.get_output(), expected)
        for wrong in (None, 5, ["x"], memoryview(b"xyz")[::2]):
            with self.assertRaises((TypeError, BufferError)):
                faasm.output(wrong)
        faasm.testing.begin()
        self.assertEqual((faasm.input(), faasm.testing.get_output()), (b"", b""))

    def test_identity(self):
        id = faasm.testing.begin(user="ada", function="f", entry="e")
        self.assertEqual((faasm.user(), faasm.function(), faasm.entry(), faasm.call_id()), ("ada", "f", "e", id))

    def test_configuration(self):
        with mock.patch.dict(os.environ, {"FLAG": ""}):
            self.assertEqual((faasm.config("FLAG"), faasm.config("FLAG", "x")), ("", ""))
        self.assertEqual((faasm.config("NO_FLAG"), faasm.config("NO_FLAG", "x")), (None, "x"))

    def test_digests(self):
        self.assertEqual(faasm.digest("md5", "abc").hex(), "900150983cd24fb0d6963f7d28e17f72")
        self.assertEqual(faasm.digest("sha1", memoryview(b"xabc")[1:]).hex(), "a9993e364706816aba3e25717850c26c9cd0d89d")
        with self.assertRaises(ValueError):
            faasm.digest("no such hash", b"")

    def test_logging(self):
        logger = logging.Logger("a.logger")
        logger.addHandler(faasm.logging.Handler())
        with contextlib.redirect_stderr(io.StringIO()) as seen:
            faasm.log(logging.INFO, "text")
            logger.warning("%d of %d", 1, 2)
        self.assertEqual(seen.getvalue(), "INFO: text\nWARNING: 1 of 2\n")


class Chaining(TestCase):
    def test_kinds_of_functions(self):
        for function, data, expected in [
            (shout, "ü text", "ü TEXT".encode()),
            (shout, memoryview(b"text"), b"TEXT"),
            (unnamed, b"123", b"321"),
            (status, b"in", b"in"),
        ]:
            self.assertEqual(faasm.chain(function, data).output(), expected)

    def test_results(self):
        for kind, expected in [(b"none", b""), (b"text", "ü".encode()), (b"array", b"array"), (b"view", b"view")]:
            call = faasm.chain(results, kind)
            self.assertEqual((call.wait(), call.output()), (0, expected))
        with self.assertRaisesRegex(RuntimeError, "returned 'float'"):
            faasm.chain(results, b"wrong").wait()
        call = faasm.chain(status, b"x")
        self.assertEqual((call.wait(), call.output()), (7, b"x"))

    def test_exit(self):
        with contextlib.redirect_stderr(io.StringIO()) as seen:
            for code, expected in [("None", 0), ("0", 0), ("3", 3), ("'a message'", 1)]:
                self.assertEqual(faasm.chain(exits, code).wait(), expected)
        self.assertEqual(seen.getvalue(), "a message\n")

    def test_failures_reach_those_who_wait(self):
        call = faasm.chain(fails)
        for wait in (call.wait, call.output):
            with self.assertRaisesRegex(RuntimeError, "(?s)Traceback.*in fails.*LookupError: of the chained call"):
                wait()
        with self.assertRaisesRegex(RuntimeError, "has no function 'nothing'"):
            faasm.chain("", entry="nothing").wait()
        with self.assertRaises(ValueError):
            faasm.Call(10**9).wait()

    def test_names(self):
        module = sys.modules[__name__]
        faasm.testing.register(module, "f")
        faasm.testing.register(module, "f", user="ada")
        for function, expected in [("f", "python/f who"), ("python/f", "python/f who"), ("ada/f", "ada/f who")]:
            call = faasm.chain(function, entry="who")
            self.assertEqual(call.output().decode(), f"{expected} {call.id}")
        for unknown in ("g", "ada/g", "bob/f"):
            with self.assertRaises(KeyError):
                faasm.chain(unknown)
        with self.assertRaisesRegex(RuntimeError, "no function 'faasm_main'"):
            faasm.chain("f").wait()

    def test_calls_nest_and_leave_the_caller_alone(self):
        id = faasm.testing.begin(b"mine")
        faasm.output(b"before")
        self.assertEqual(faasm.chain(nested, "5").output(), b"5")
        self.assertEqual((faasm.input(), faasm.testing.get_output(), faasm.call_id()), (b"mine", b"before", id))

    def test_functions_that_another_sandbox_could_not_find(self):
        def local():
            pass

        for function in (local, lambda: None, "text".upper, functools.partial(shout)):
            with self.assertRaisesRegex(ValueError, "no name at the top level"):
                faasm.chain(function)
        with self.assertRaises(TypeError):
            faasm.chain(shout, entry="who")
        with self.assertRaisesRegex(RuntimeError, "ValueError: .*no name at the top level of 'test_faasm'"):
            faasm.chain(chains_elsewhere).wait()

    def test_hooks_run_before_each_call(self):
        seen = []
        self.assertEqual(faasm.on_restore(hook := lambda: seen.append(faasm.entry())), hook)
        faasm.chain(shout)
        faasm.chain(status)
        self.assertEqual(seen, ["shout", "status"])


if __name__ == "__main__":
    unittest.main()
