"""Bytes that outlive a call and are shared by all functions of a user: `faasm.state`.

    faasm.state.write("weights", array("f", [0.0] * 1000))        # the first write fixes the size
    faasm.state.write_at("weights", 4 * 17, struct.pack("f", 0.5))
    faasm.state.push_partial("weights")

A value has a key, a text of 1 to 512 bytes of UTF-8, and bytes of a fixed number. There are two tiers. The local one is
shared by all calls of one runtime, which see what others write at once. The global one is behind it, shared by runtimes
and durable where the runtime's is; `push` and `pull` go from one to the other. A value that is only in the global tier is
fetched when it is read, as far as it is read.

Unless it says otherwise, a function raises KeyError when there is no value under the key.
"""

from __future__ import annotations

from faasm import _host

TYPE_CHECKING = False

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer

__all__ = [
    "append",
    "appended",
    "clear_appended",
    "delete",
    "keys",
    "lock",
    "pull",
    "push",
    "push_partial",
    "read",
    "read_at",
    "read_into",
    "resize",
    "size",
    "write",
    "write_at",
]


def keys() -> list[str]:
    """Returns the keys under which this user has a value or a log, sorted."""
    return sorted(_host.state_keys())


def size(key: str) -> int:
    """Returns how many bytes the value has."""
    return _host.state_size(key)


def read(key: str) -> bytes:
    """Returns the whole value."""
    return _host.state_read(key)


def read_at(key: str, offset: int, length: int | None = None) -> bytes:
    """Returns `length` bytes of the value from `offset` on, or all that follow. Past the end of the value there are fewer."""
    return _host.state_read(key, offset, -1 if length is None else length)


def read_into(key: str, buffer: Buffer, offset: int = 0) -> int:
    """Fills `buffer`, which must be writable, from the value and returns the number of bytes that were there to be read.

    Saves the copy that `read` makes: a NumPy array or a `memoryview` of a part of one can be filled in place.
    """
    return _host.state_read_into(key, offset, buffer)


def write(key: str, data: Buffer) -> None:
    """Replaces the whole value, or makes one.

    Raises ValueError if the value has another size; `resize` changes that.
    """
    _host.state_write(key, data)


def write_at(key: str, offset: int, data: Buffer, total: int | None = None) -> None:
    """Writes into the value. If there is none and `total` is given, one of that size, of zeros, is made first.

    Writes of several calls into different parts are all kept. Raises ValueError if the data goes beyond the value's end, or if
    there is a value of another size than `total`.
    """
    _host.state_write_at(key, offset, data, -1 if total is None else total)


def resize(key: str, size: int) -> None:
    """Gives the value another size: cuts it off, or adds zeros at its end."""
    _host.state_resize(key, size)


def delete(key: str) -> None:
    """Removes the value from both tiers, and the log, if there are any."""
    _host.state_delete(key)


def push(key: str) -> None:
    """Copies the whole value from the local tier to the global one."""
    _host.state_push(key)


def push_partial(key: str) -> None:
    """Copies those parts of the value to the global tier that were written since the last push or pull."""
    _host.state_push_partial(key)


def pull(key: str) -> None:
    """Forgets the local tier's copy, so that the value is the global tier's. What was written and not pushed is lost.

    Only a value that was never pushed at all stays as it is.
    """
    _host.state_pull(key)


def append(key: str, data: Buffer) -> None:
    """Adds an entry to the log of that key, which lives in the global tier, beside the value of the same key, if any."""
    _host.state_append(key, data)


def appended(key: str, count: int | None = None) -> list[bytes]:
    """Returns the entries of the log, or the first `count` of them, oldest first; none if nothing was appended."""
    return _host.state_appended(key, -1 if count is None else count)


def clear_appended(key: str) -> None:
    """Removes all entries of the log."""
    _host.state_clear_appended(key)


def lock(key: str, *, shared: bool = False) -> Lock:
    """Returns the lock of a key, to be used in a `with` statement; there need not be a value.

        with faasm.state.lock("counter"):
            ...

    Entering waits until no other call holds the lock; with `shared`, until none holds it exclusively. Locks bind those who
    ask for them, and hinder nobody else from reading and writing. A call that ends gives up its locks, however it ends.
    """
    return Lock(key, not shared)


class Lock:
    """What `lock` returns."""

    __slots__ = ("_exclusive", "_key")

    def __init__(self, key: str, exclusive: bool) -> None:
        self._key = key
        self._exclusive = exclusive

    def __enter__(self) -> None:
        _host.state_lock(self._key, self._exclusive)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _host.state_unlock(self._key, self._exclusive)
