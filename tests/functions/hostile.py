"""Calls that mean harm, one a function, for `tests/hostile.rs`, which says how each must end."""

import asyncio
import faasm


def recursion():
    recursion()


def recursion_without_limit():
    import sys

    sys.setrecursionlimit(2**31 - 1)
    recursion()


def recursion_in_c():
    import sys

    sys.setrecursionlimit(2**31 - 1)

    class Endless:
        def __repr__(self):
            return repr([self])

    repr(Endless())


def recursion_of_attributes():
    class Endless:
        def __getattr__(self, name):
            return getattr(self, name + "x")

    Endless().x


def nested_json():
    import json

    json.loads("[" * 100_000)


def nested_source():
    compile("(" * 100_000, "", "eval")


def nested_lists():
    inner = []
    for _ in range(200_000):
        inner = [inner]
    del inner
    return "freed"


def calls_itself_through_the_host():
    from faasm import _guest

    return _guest.call("calls_itself_through_the_host")


def allocates_at_once():
    bytearray(10**9)


def allocates_many_lists():
    [0] * 10**8


def allocates_a_number():
    1 << (2 * 10**9)


def allocates_slowly():
    kept = []
    while True:
        kept.append(bytearray(1 << 20))


def allocates_and_catches():
    while True:
        try:
            kept = bytes(10 << 20)
            while True:
                kept += kept
        except MemoryError:
            return "caught"


def decompresses():
    import zlib

    zlib.decompress(zlib.compress(bytes(30 << 20)), bufsize=1 << 30)


def allocates_tasks():
    async def one():
        await asyncio.sleep(0)

    async def all():
        await asyncio.gather(*[one() for _ in range(10**7)])

    asyncio.run(all())


def floods_output():
    while True:
        print("x" * 10_000)


def floods_errors():
    import os

    while True:
        os.write(2, b"x" * 10_000)


def floods_result():
    return bytes(2 << 20)


def floods_log():
    while True:
        faasm.log(10, "x" * 100_000)


def floods_failures():
    raise ValueError("x" * (2 << 20))


def opens_files():
    kept = []
    while True:
        kept.append(open("/lib/python3.13/os.py"))


def opens_directories():
    import os

    kept = []
    while True:
        kept.append(os.open("/", os.O_RDONLY))


def chains_deeply():
    return faasm.chain(chains_deeply).output()


def chains_widely():
    while True:
        faasm.chain(nothing)


def chains_much():
    while True:
        faasm.chain(waits_a_little, bytes(16 << 20))


def chains_to_others():
    faasm.chain("somebody/else")


async def chains_asynchronously():
    await asyncio.gather(*[faasm.chain(chains_asynchronously) for _ in range(10)])


def waits_a_little():
    import time

    time.sleep(0.2)


def nothing():
    pass


def waits_for_nothing():
    faasm.Call(10**18).wait()


def locks_everything():
    for number in range(10**6):
        faasm.state.lock(str(number)).__enter__()


def fills_state():
    for number in range(10**6):
        faasm.state.write(str(number), bytes(1 << 20))


def writes_far_away():
    faasm.state.write_at("far", 2**61, b"x", 2**62)


def loops():
    while True:
        pass


def sleeps():
    import time

    time.sleep(1000)


async def sleeps_asynchronously():
    await asyncio.sleep(1000)


async def waits_for_itself():
    await asyncio.Event().wait()


def catches_the_limit():
    try:
        loops()
    except BaseException:
        return "caught"


def raises_something_else_at_the_limit():
    try:
        loops()
    finally:
        raise ValueError("instead")


def catches_every_limit():
    while True:
        try:
            loops()
        except BaseException:
            pass


def loops_in_a_regex():
    import re

    re.match(r"(a+)+$", "a" * 60 + "b")


def loops_in_a_number():
    pow(3, 10**8)


def loops_in_an_iterator():
    import itertools

    sum(itertools.repeat(1))


def finalizers_raise():
    class Raises:
        def __del__(self):
            raise ValueError("in a finalizer")

    for _ in range(100):
        Raises()
    return "went on"


def finalizers_resurrect():
    kept = []

    class Returns:
        def __del__(self):
            kept.append(self)

    for _ in range(100):
        Returns()
    kept.clear()
    return "went on"


def finalizers_breed():
    class Breeds:
        def __del__(self):
            Breeds()

    Breeds()


def collector_calls_back():
    import gc

    gc.callbacks.append(lambda *_: 1 / 0)
    gc.collect()
    return "went on"


def exits():
    import sys

    sys.exit(3)


def exits_with_text():
    raise SystemExit("text")


def exits_at_once():
    import os

    os._exit(5)


def aborts():
    import os

    os.abort()


def kills_itself():
    import os

    os.kill(os.getpid(), 9)


def raises_a_signal():
    import signal

    signal.raise_signal(signal.SIGABRT)


def starts_a_thread():
    import threading

    threading.Thread(target=loops).start()


def starts_a_process():
    import subprocess
    import sys

    subprocess.run([sys.executable, "-V"])


def forks():
    import os

    os.fork()


def connects():
    import socket

    socket.create_connection(("localhost", 80), 1)


def loads_code():
    import ctypes

    ctypes.CDLL("libc.so.6")


def writes_files():
    open("/lib/python3.13/os.py", "a")


def leaves_the_root():
    import os

    if os.listdir("/..") == os.listdir("/") and not os.path.exists("/../../../../../../etc/passwd"):
        return "stayed"


def clears_modules():
    import sys

    sys.modules.clear()
    1 / 0


def clears_builtins():
    import builtins

    vars(builtins).clear()


def replaces_the_guest():
    from faasm import _guest

    for name in list(vars(_guest)):
        if name != "call":
            vars(_guest)[name] = None
    1 / 0


def closes_the_streams():
    import os
    import sys

    for descriptor in range(100):
        try:
            os.close(descriptor)
        except OSError:
            pass
    sys.stdout = sys.stderr = 5
    return "went on"


def traces():
    import sys

    sys.settrace(lambda *_: 1 / 0)
    nothing()


def fails_falsely():
    import _faasm

    for kind in (0, 77, 2**32 - 1):
        _faasm.fail(kind, b"\xff\0\xfe" * 100)


def asks_wrongly():
    import _faasm

    class Odd:
        def __index__(self):
            raise ValueError

        def __len__(self):
            return -1

        def __iter__(self):
            return iter([Odd()])

    odd = [None, -1, 2**31, 2**63 - 1, 2**64, -(2**63), 1.5, "", "x", "\ud800", "\0", b"", b"\xff" * 9, [], [1], [-1], (), {}, Odd(), Odd]
    odd += [memoryview(bytes(100))[::3], bytearray(8), True]
    asked = refused = 0
    for name in sorted(vars(_faasm)):
        function = getattr(_faasm, name)
        # These report a failure, or are waited for until the time limit.
        if not callable(function) or name in ("fail", "await_any", "state_lock"):
            continue
        for first in odd:
            for arguments in ((), (first,), (first, odd[-1]), ("x", first), ("x", first, 5), ("x", 0, first), ("x", 0, b"x", first)):
                try:
                    function(*arguments)
                    asked += 1
                except Exception:
                    refused += 1
    return f"{asked > 0} {refused > 0}"


def runs_bad_bytecode():
    import os

    def victim(a, b=1, *c):
        d = a
        return [x for x in c] + [b, d]

    for _ in range(200):
        code = victim.__code__.replace(co_code=os.urandom(200), co_consts=(), co_names=(), co_stacksize=2)
        bad = type(victim)(code, globals())
        try:
            bad(5)
        except Exception:
            pass
    return "went on"


def reads_past_constants():
    import opcode

    def victim():
        return 5

    # Objects at wild addresses, used as if they were some.
    for index in range(0, 1 << 16, 64):
        code = bytes([opcode.opmap["RESUME"], 0, opcode.opmap["EXTENDED_ARG"], index >> 8, opcode.opmap["LOAD_CONST"], index & 255])
        code += bytes([opcode.opmap["RETURN_VALUE"], 0])
        bad = victim.__code__.replace(co_code=code, co_consts=())
        repr(type(victim)(bad, {})())


def scribbles():
    """Makes an object of numbers: a bytearray that is all of memory. Then overwrites that."""
    import opcode
    import struct

    # As CPython 3.13 has it on 32 bits: count, type, size, allocated, bytes, start, exports.
    size = 2**31 - 1
    fake = struct.pack("<7I", 1 << 20, id(bytearray), size, size, 0, 0, 0)
    holder = bytes(64) + fake
    address = id(holder) + bytes.__basicsize__ - 1 + 64
    pointer = struct.pack("<I", address)
    constants = tuple(range(1))
    where = id(constants) + tuple.__basicsize__
    target = id(pointer) + bytes.__basicsize__ - 1
    index = ((target - where) // 4) & 0xFFFFFFFF
    code = bytes([opcode.opmap["RESUME"], 0])
    for shift in (24, 16, 8):
        code += bytes([opcode.opmap["EXTENDED_ARG"], (index >> shift) & 255])
    code += bytes([opcode.opmap["LOAD_CONST"], index & 255, opcode.opmap["RETURN_VALUE"], 0])

    def victim():
        return 5

    memory = type(victim)(victim.__code__.replace(co_code=code, co_consts=constants), {})()
    assert type(memory) is bytearray and memory[address : address + 28] == fake
    # Where the stack ends and all else begins.
    for at in range(16 << 20, size, 256):
        memory[at] = 255
