"""The modules of the standard library that functions use most, each asked something with a known answer."""

import bz2
import collections
import csv
import ctypes.util
import dataclasses
import datetime
import decimal
import errno
import functools
import gc
import hashlib
import io
import itertools
import json
import lzma
import math
import operator
import os
import pickle
import re
import sqlite3
import statistics
import string
import struct
import subprocess
import sys
import textwrap
import threading
import typing
import unicodedata
import weakref
import zlib
import zoneinfo

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


@dataclasses.dataclass(frozen=True, order=True, slots=True)
class Item:
    name: str
    price: decimal.Decimal = decimal.Decimal("1.10")
    tags: list[str] = dataclasses.field(default_factory=list, compare=False)


@check
def check_json():
    value = {"a": [1, 2.5, None, True, "ü\n\U0001f600"], "": {}}
    assert json.loads(json.dumps(value)) == value
    assert json.dumps(value, sort_keys=True) == '{"": {}, "a": [1, 2.5, null, true, "\\u00fc\\n\\ud83d\\ude00"]}'
    try:
        json.loads('{"a": }')
    except json.JSONDecodeError as error:
        assert (error.lineno, error.colno) == (1, 7)


@check
def check_re():
    pattern = re.compile(r"(?P<year>\d{4})-(?P<month>\d\d)(?:-(\d\d))?", re.ASCII)
    assert pattern.search("on 2024-02-29!").groupdict() == {"year": "2024", "month": "02"}
    assert re.sub(r"(?<=a)b+(?!c)", lambda match: str(len(match[0])), "abbb abc abbd") == "a3 abc a2d"
    assert re.split(r"\W+", "Größe, zwei") == ["Größe", "zwei"] and re.fullmatch("(?i)ſ", "S")


@check
def check_numbers():
    assert math.comb(60, 30) == 118264581564861424 and math.isqrt(10**40) == 10**20 and math.fsum([0.1] * 10) == 1
    assert math.sqrt(2) == 1.4142135623730951 and math.fma(2, 3, 4) == 10 and math.nextafter(1, 2) == 1 + 2**-52
    assert statistics.median([3, 1, 2]) == 2 and statistics.fmean([1, 2, 4]) == 7 / 3 and statistics.stdev([2, 4]) == 2**0.5
    with decimal.localcontext(prec=50):
        assert str(decimal.Decimal(2).sqrt()) == "1.4142135623730950488016887242096980785696718753769"
    assert decimal.Decimal("1.1") + decimal.Decimal("2.2") == decimal.Decimal("3.3")


@check
def check_time():
    spring = datetime.datetime(2024, 3, 31, 1, 30, tzinfo=datetime.UTC)
    assert (spring + datetime.timedelta(days=366)).isoformat() == "2025-04-01T01:30:00+00:00"
    assert datetime.datetime.strptime("29 Feb 2024", "%d %b %Y").strftime("%A %j") == "Thursday 060"
    assert datetime.date.fromisoformat("2024-W09-4") == datetime.date(2024, 2, 29)
    try:
        berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    except zoneinfo.ZoneInfoNotFoundError:
        # The database is a file of the system, which the sandbox does not show.
        assert zoneinfo.available_timezones() == set()
    else:
        assert spring.astimezone(berlin).hour == 3


@check
def check_containers():
    assert collections.Counter("mississippi").most_common(2) == [("i", 4), ("s", 4)]
    queue = collections.deque(range(5), maxlen=3)
    queue.rotate(1)
    assert list(queue) == [4, 2, 3]
    assert list(collections.ChainMap({"a": 1}, {"b": 2})) == ["b", "a"]
    assert list(itertools.batched("abcde", 2)) == [("a", "b"), ("c", "d"), ("e",)]
    assert ["".join(group) for _, group in itertools.groupby("aabccc")] == ["aa", "b", "ccc"]
    assert next(itertools.islice(itertools.permutations(range(8)), 40319, None)) == (7, 6, 5, 4, 3, 2, 1, 0)
    assert functools.reduce(lambda a, b: a * b, range(1, 21)) == math.factorial(20)

    @functools.cache
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(200) == 280571172992510140037611932413038677189525


@check
def check_binary():
    assert struct.pack("<hQd4s?", -2, 2**63, 0.5, b"ab", True).hex() == "feff0000000000000080000000000000e03f6162000001"
    assert struct.calcsize("P") == 4
    data = bytes(range(256)) * 400
    for module in (zlib, bz2, lzma):
        packed = module.compress(data)
        assert len(packed) < len(data) / 10 and module.decompress(packed) == data, module
    assert zlib.crc32(b"123456789") == 0xCBF43926 and zlib.adler32(b"Wikipedia") == 0x11E60398


@check
def check_hashes():
    expected = {
        "md5": "900150983cd24fb0d6963f7d28e17f72",
        "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "sha3_256": "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
        "blake2s": "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982",
    }
    assert {name: hashlib.new(name, b"abc").hexdigest() for name in expected} == expected


@check
def check_pickle():
    item = Item("a", tags=["x"])
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps([item, item, {1, 2}, 2**70, -0.0, None], protocol))
        assert again[0] == item and again[0].tags == ["x"] and again[0] is again[1] and again[3] == 2**70


@check
def check_dataclasses():
    assert Item("a") < Item("b") and dataclasses.asdict(Item("a"))["tags"] == []
    assert typing.get_type_hints(Item)["tags"] == list[str] and not hasattr(Item("a"), "__dict__")
    try:
        Item("a").name = "b"
    except dataclasses.FrozenInstanceError:
        return
    raise AssertionError("a frozen instance was changed")


@check
def check_text():
    assert unicodedata.name("ß") == "LATIN SMALL LETTER SHARP S" and unicodedata.lookup("SNOWMAN") == "☃"
    assert unicodedata.normalize("NFC", "e\u0301") == "é" and unicodedata.east_asian_width("日") == "W"
    assert string.Template("$who owes $$${sum}").substitute(who="A", sum=5) == "A owes $5"
    assert textwrap.fill("the quick brown fox", 10) == "the quick\nbrown fox" and textwrap.dedent("  a\n  b") == "a\nb"
    table = io.StringIO(newline="")
    csv.writer(table).writerows([["a", 'say "x"'], ["1,5", "two\nlines"]])
    assert table.getvalue() == 'a,"say ""x"""\r\n"1,5","two\nlines"\r\n'
    assert list(csv.DictReader(io.StringIO("k,v\n1,2\n"))) == [{"k": "1", "v": "2"}]
    with io.TextIOWrapper(io.BytesIO("zwölf\r\n".encode("latin-1")), encoding="latin-1") as stream:
        assert stream.read() == "zwölf\n"


@check
def check_garbage():
    class Held:
        pass

    # What CPython 3.13 has to empty a methodcaller is no function of the type that the collector calls. The collector begins with the
    # oldest object that it knows, and it does not know dictionaries that are empty.
    held = {}
    held["call"] = operator.methodcaller("upper", held)
    held["held"] = Held()
    gone = weakref.ref(held["held"])
    del held
    gc.collect()
    assert gone() is None


@check
def check_sqlite():
    with sqlite3.connect(":memory:") as database:
        database.create_function("double", 1, lambda x: x * 2)
        database.execute("create table t (id integer primary key, name text, data blob)")
        database.executemany("insert into t (name, data) values (?, ?)", [("ä", b"\0"), ("b", None)])
        assert database.execute("select double(count(*)), max(length(data)) from t").fetchone() == (4, 1)
        assert database.execute("select json_extract('{\"a\": [1, 2]}', '$.a[1]')").fetchone() == (2,)


@check
def check_processes():
    """There are none, and programs that are not there are not found all the same."""
    for arguments, missing in [
        ({"args": ["ls", "-l"]}, "ls"),
        ({"args": "ls"}, "ls"),
        ({"args": ["./hooks/pre-commit"]}, "./hooks/pre-commit"),
        ({"args": "ls -l", "shell": True}, "/bin/sh"),
        ({"args": [sys.executable], "cwd": "/missing"}, "/missing"),
        ({"args": [os.path.basename(sys.executable)], "env": {"PATH": "/lib:/tmp"}}, os.path.basename(sys.executable)),
    ]:
        try:
            subprocess.run(**arguments)
        except FileNotFoundError as error:
            assert error.filename == missing, arguments
        else:
            raise AssertionError(arguments)
    for arguments in [
        {"args": [sys.executable]},
        {"args": ["python"], "executable": sys.executable},
        {"args": [os.path.basename(sys.executable)], "env": {"PATH": os.path.dirname(sys.executable)}},
    ]:
        try:
            subprocess.check_output(**arguments)
        except OSError as error:
            assert error.errno == errno.ENOTSUP, arguments
        else:
            raise AssertionError(arguments)


@check
def check_libraries():
    assert ctypes.util.dllist() == []


@check
def check_threading():
    assert threading.get_native_id() == threading.current_thread().native_id == threading.get_ident()


def faasm_main():
    for function in CHECKS:
        function()
    return f"{len(CHECKS)} checks"
