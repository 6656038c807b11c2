"""CPU-bound cases of many kinds. `faasm_main(name)` runs one and answers how long it took, in seconds.

Run natively, it reads names from standard input, one a line, and answers each the same way.
"""

import collections
import decimal
import hashlib
import heapq
import json
import pickle
import random
import re
import sys
import time

CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


@case
def calls():
    def fibonacci(n):
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    return fibonacci(23)


@case
def floats():
    # A chaotic orbit in the plane, and how often it comes near the origin.
    x, y, near = 0.1, 0.3, 0
    for _ in range(150_000):
        x, y = 1.0 - 1.4 * x * x + y, 0.3 * x
        if x * x + y * y < 0.1:
            near += 1
    return near


@case
def integers():
    # Collatz: the start below a bound that takes longest.
    best = (0, 0)
    for start in range(1, 3000):
        number, steps = start, 0
        while number != 1:
            number = number >> 1 if not number & 1 else 3 * number + 1
            steps += 1
        best = max(best, (steps, start))
    return best


@case
def big_integers():
    a, b = 0, 1
    for _ in range(12_000):
        a, b = b, a + b
    return len(str(a)) + pow(3, 2**900, 10**300 + 7) % 2


@case
def lists():
    # A sieve, by slices and by loops.
    size = 300_000
    sieve = [True] * size
    for number in range(2, int(size**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = [False] * len(range(number * number, size, number))
    return sum(1 for number in range(2, size) if sieve[number])


@case
def dictionaries():
    counts = {}
    for number in range(120_000):
        key = f"key {number * 7919 % 4001}"
        counts[key] = counts.get(key, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[0]


class Vector:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y)

    def scaled(self, factor):
        return Vector(self.x * factor, self.y * factor)


@case
def objects():
    position, speed = Vector(0.0, 0.0), Vector(1.0, 0.5)
    for step in range(60_000):
        position = position + speed.scaled(0.01)
        if step % 100 == 0:
            speed = speed.scaled(-0.99)
    return position.x


@case
def generators():
    def numbers(limit):
        yield from range(limit)

    def odd(source):
        return (number for number in source if number & 1)

    def pairs(source):
        iterator = iter(source)
        return zip(iterator, iterator)

    return sum(a * b for a, b in pairs(odd(numbers(250_000))))


@case
def exceptions():
    caught = 0
    for number in range(80_000):
        try:
            if number % 3 == 0:
                raise ValueError(number)
            {}[number]
        except (ValueError, KeyError) as error:
            caught += error.args[0] & 1
    return caught


@case
def text():
    words = [f"{number:x}-{number * 31 % 977}" for number in range(15_000)]
    joined = " ".join(words).upper().replace("A", "ä").title()
    return len(joined.split()) + joined.count("Ä") + len(joined.encode("utf-8")) + joined.find("zzz")


LOG = "\n".join(f"2024-{n % 12 + 1:02}-{n % 28 + 1:02} host{n % 17} GET /path/{n}?q={n * n % 1000} {200 + n % 5}" for n in range(3000))


@case
def regex():
    lines = re.findall(r"^(\d{4})-(\d\d)-(\d\d) (\w+) GET (/[^\s?]*)\?q=(\d+) (\d{3})$", LOG, re.MULTILINE)
    return len(lines) + len(re.sub(r"host(\d)(\d?)", lambda match: match[2] or match[1], LOG)) + len(re.split(r"[\s/?=]+", LOG))


DOCUMENT = [{"id": n, "name": f"name {n}", "tags": ["a", "bc", None], "score": n / 7, "ok": n % 3 == 0} for n in range(600)]


@case
def json_text():
    value = DOCUMENT
    for _ in range(6):
        value = json.loads(json.dumps(value))
    return len(json.dumps(value, indent=1, sort_keys=True))


@case
def pickles():
    value = DOCUMENT
    for _ in range(12):
        value = pickle.loads(pickle.dumps(value))
    return len(value)


@case
def sorting():
    numbers = random.Random(1).choices(range(10**6), k=40_000)
    heap = numbers[:20_000]
    heapq.heapify(heap)
    return sorted(numbers)[100] + sorted(numbers, key=str)[100] + sum(heapq.heappop(heap) for _ in range(5_000))


@case
def decimals():
    with decimal.localcontext(prec=300):
        total = decimal.Decimal(0)
        for number in range(1, 1500):
            total += decimal.Decimal(number).sqrt() / number
        return str(total)[:20]


@case
def graph():
    # Breadth first through a grid with walls.
    size, walls = 150, random.Random(2)
    free = {(x, y) for x in range(size) for y in range(size) if walls.random() > 0.25} | {(0, 0)}
    distances, queue = {(0, 0): 0}, collections.deque([(0, 0)])
    while queue:
        x, y = queue.popleft()
        for place in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
            if place in free and place not in distances:
                distances[place] = distances[x, y] + 1
                queue.append(place)
    return max(distances.values())


@case
def sha256():
    digest = bytes(1 << 16)
    for _ in range(20):
        digest = hashlib.sha256(digest * 1).digest() * (1 << 11)
    return digest[:4]


def faasm_main(name):
    function = CASES[name.decode()]
    # Both sides use this clock, which here does not stop while another program runs; the lowest of several counts.
    started = time.perf_counter()
    result = function()
    return f"{time.perf_counter() - started} {result!r}"


def names():
    return "\n".join(CASES)


if __name__ == "__main__":
    print("\n".join(CASES), end="\n\n", flush=True)
    for line in sys.stdin:
        print(faasm_main(line.strip().encode()), flush=True)
