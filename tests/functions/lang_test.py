"""A tour of the language: the kinds of statement and expression there are, each used once."""

from __future__ import annotations

import contextlib
import enum


class Shape:
    registry = {}

    def __init_subclass__(cls, **options):
        super().__init_subclass__()
        Shape.registry[options.get("name", cls.__name__)] = cls

    @property
    def area(self):
        raise NotImplementedError

    def __lt__(self, other):
        return self.area < other.area


class Square(Shape, name="square"):
    __match_args__ = ("side",)

    def __init__(self, side):
        self.side = side

    @property
    def area(self):
        return self.side**2


class Circle(Shape):
    __match_args__ = ("radius",)

    def __init__(self, radius):
        self.radius = radius

    @property
    def area(self):
        return 3 * self.radius**2


class Colour(enum.Flag):
    RED = enum.auto()
    GREEN = enum.auto()


def describe(value):
    match value:
        case Square(side) if side > 10:
            return f"large square {side}"
        case Square(side=side) | Circle(side):
            return f"shape {side}"
        case {"name": str(name), **rest}:
            return f"{name} with {len(rest)}"
        case [first, *_, last]:
            return f"{first}..{last}"
        case None | True | False:
            return "singleton"
        case _:
            return "other"


def averager():
    total, count, average = 0, 0, None
    while True:
        try:
            value = yield average
        except ValueError:
            return total
        total, count = total + value, count + 1
        average = total / count


def delegate():
    result = yield from averager()
    yield "total", result


class Step:
    def __await__(self):
        return (yield "suspended")


async def numbers():
    for number in range(3):
        yield number


async def coroutine():
    seen = [number async for number in numbers()]
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(seen.append, "closed")
        seen.append(await Step())
    return seen


def run_by_hand(awaitable):
    """What an event loop does, for one coroutine. The standard one needs sockets."""
    message = None
    while True:
        try:
            event = awaitable.send(message)
        except StopIteration as stop:
            return stop.value
        message = event.upper()


def counter(start=0, /, *args, step=1, **options):
    count = start

    def more():
        nonlocal count
        count += step
        return count, args, options

    return more


def check_generators():
    send = averager()
    next(send)
    assert [send.send(value) for value in (10, 20, 60)] == [10, 15, 30]
    outer = delegate()
    next(outer)
    outer.send(4)
    assert outer.throw(ValueError) == ("total", 4)
    outer.close()
    assert sum(number * number for number in range(10) if number % 2) == 165


def check_exceptions():
    order = []
    try:
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise RuntimeError("outer") from error
        finally:
            order.append("finally")
    except RuntimeError as error:
        order.append(repr(error.__cause__))
    try:
        raise ExceptionGroup("several", [ValueError(1), TypeError(2), ValueError(3)])
    except* ValueError as group:
        order.append(len(group.exceptions))
    except* TypeError:
        order.append("type")
    with contextlib.suppress(ZeroDivisionError):
        1 // 0
    else_ran = False
    for _ in ():
        break
    else:
        else_ran = True
    assert order == ["finally", "KeyError('inner')", 2, "type"] and else_ran, order


def check_expressions():
    assert (chunk := [1, 2, 3, 4])[::-2] == [4, 2] and chunk is not None
    first, *middle, last = chunk
    assert (first, middle, last) == (1, [2, 3], 4)
    assert {**{"a": 1}, "b": 2} | {"a": 3} == {"a": 3, "b": 2}
    assert {n % 3 for n in range(9)} == {0, 1, 2} and {n: n**2 for n in (1, 2)} == {1: 1, 2: 4}
    assert f"{first=} {'nested' f'{last:>3}'} {3.14159:.2f} {255:#06x} {1234567:,}" == (
        "first=1 nested  4 3.14 0x00ff 1,234,567"
    )
    assert 1 < 2 < 3 != 4 and not (1 < 2 > 3)
    assert -7 // 2 == -4 and -7 % 2 == 1 and 2**100 == 1267650600228229401496703205376 and divmod(7, -2) == (-4, -1)
    assert (lambda *a, k=2: sum(a) * k)(1, 2, k=3) == 9
    assert 0b1010 ^ 0o17 == 5 and ~5 == -6 and 1 << 70 >> 68 == 4
    assert (1 + 2j) * (3 - 1j) == 5 + 5j and abs(3 + 4j) == 5
    assert 0.1 + 0.2 == 0.30000000000000004 and float("1e308") * 10 == float("inf") and round(2.5) == 2
    assert (0.1).hex() == "0x1.999999999999ap-4" and float.fromhex("0x1p-1074") == 5e-324
    assert str(1e16) == "1e+16" and repr(1e22) == "1e+22" and int(1e22) == 10**22
    assert b"\x00\xff"[1] == 255 and bytearray(b"abc").translate(bytes.maketrans(b"a", b"x")) == b"xbc"
    assert memoryview(b"abcdef")[1:5:2].tolist() == [98, 100]


def check_text():
    assert "Straße".casefold() == "strasse" and "ǆ".title() == "ǅ" and "İ".lower() == "i̇"
    assert len("👩‍👩‍👧") == 5 and "naïve"[::-1] == "evïan" and "e\u0301" != "é"
    assert "日本".encode() == b"\xe6\x97\xa5\xe6\x9c\xac" and "日本".encode("shift_jis") == b"\x93\xfa\x96\x7b"
    assert b"\xff\xfe".decode("utf-8", "replace") == "\ufffd\ufffd"
    assert b"\xff".decode("utf-8", "surrogateescape").encode("utf-8", "surrogateescape") == b"\xff"
    assert "{0!r:>8}|{key[a]}".format("x", key={"a": 1}) == "     'x'|1" and "%-5d|%05.1f" % (3, 2.25) == "3    |002.2"
    ñandú = "identifiers, too"
    assert ñandú


def check_classes():
    assert sorted([Circle(2), Square(3), Circle(1)])[0].radius == 1
    assert Shape.registry == {"square": Square, "Circle": Circle}
    assert (Colour.RED | Colour.GREEN) & Colour.RED is Colour.RED and Colour.RED | Colour.GREEN in Colour
    Point = type("Point", (tuple,), {"x": property(lambda self: self[0]), "__slots__": ()})
    assert Point((1, 2)).x == 1
    assert [cls.__name__ for cls in type("D", (type("B", (), {}), type("C", (), {})), {}).__mro__] == ["D", "B", "C", "object"]
    more = counter(5, "x", step=2, flag=True)
    more()
    assert more() == (9, ("x",), {"flag": True})


def generic[T: (int, str)](value: T) -> list[T]:
    return [value]


def check_types():
    type Pair[A] = tuple[A, A]
    assert Pair.__name__ == "Pair" and generic.__type_params__[0].__constraints__ == (int, str)
    assert generic.__annotations__ == {"value": "T", "return": "list[T]"}


def faasm_main():
    check_generators()
    check_exceptions()
    check_expressions()
    check_text()
    check_classes()
    check_types()
    assert run_by_hand(coroutine()) == [0, 1, 2, "SUSPENDED", "closed"]
    values = [Square(11), Square(2), Circle(1), {"name": "n", "a": 1}, [1, 2, 3], None, 5]
    return "; ".join(describe(value) for value in values)
