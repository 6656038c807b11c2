"""The event loop of the sandbox: timers, and calls that this one has chained to.

The host waits for both, and suspends the guest meanwhile. Nothing else can wake a sandbox: it has one thread, gets no signals, and
has no descriptor that becomes ready.
"""

import errno
import sys
import traceback
from asyncio import base_events, tasks

import _faasm

# Longer than any call; more would not fit into 63 bits of nanoseconds.
_LONGEST = 10.0**9

# Of tasks that were waiting when the time limit was reached, and of the coroutines of each.
_SHOWN_TASKS = 10
_SHOWN_ENTRIES = 100


def install(unix_events):
    """Puts this event loop in the place of the one in asyncio's module for the platform, before others take it from there."""
    unix_events.SelectorEventLoop = unix_events.EventLoop = EventLoop
    unix_events.DefaultEventLoopPolicy._loop_factory = EventLoop


class EventLoop(base_events.BaseEventLoop):
    """asyncio's event loop, which waits in the host."""

    def __init__(self):
        super().__init__()
        self._selector = _Selector(self)

    def wait_for_call(self, number):
        """Waits for a chained call to end; a generator, for `__await__`."""
        self._check_closed()
        futures = self._selector.calls.setdefault(number, [])
        future = self.create_future()
        futures.append(future)
        try:
            yield from future
        finally:
            futures.remove(future)
            # Whoever comes after the last one has started a list of their own.
            if not futures and self._selector.calls.get(number) is futures:
                del self._selector.calls[number]

    def _process_events(self, ended):
        for number in ended:
            for future in self._selector.calls.pop(number, ()):
                if not future.done():
                    future.set_result(None)

    def _write_to_self(self):
        # It would wake a loop that waits. In a sandbox, nobody runs while it does.
        pass

    def run_in_executor(self, executor, func, *args):
        if executor is None and self._default_executor is None:
            self._check_closed()
            raise RuntimeError("a sandbox has one thread, so nothing can run in another one: call the function itself")
        return super().run_in_executor(executor, func, *args)


class _Selector:
    """What the event loop asks for events. The calls that are waited for are here, each with the futures of those who wait."""

    def __init__(self, loop):
        self._loop = loop
        self.calls = {}

    def select(self, timeout):
        if timeout is None:
            if not self.calls:
                # An interrupt between two steps of a task is not the task's: nobody schedules the next step any more. So it still
                # is pending when asyncio.run, which handles the interrupt meanwhile, waits for it to be cancelled.
                if isinstance(interrupt := sys.exception(), KeyboardInterrupt):
                    raise interrupt
                raise RuntimeError(
                    "nothing can wake the event loop any more: no task is ready, and none waits for a timer or a chained call"
                )
            nanoseconds = -1
        else:
            if timeout <= 0 and not self.calls:
                return ()
            # Rounded up, since a timer must not be early.
            nanoseconds = int(min(timeout, _LONGEST) * 1e9) + 1 if timeout > 0 else 0
        try:
            return _faasm.await_any(self.calls, nanoseconds)
        except Exception:
            raise
        except BaseException as interrupt:
            # The time limit: its traceback ends here, where nobody has anything to look for.
            interrupt.add_note(_who_waits(self._loop))
            raise


def _who_waits(loop):
    """Where the tasks of a loop are, as the traceback of each."""
    lines = []
    waiting = tasks.all_tasks(loop)
    # Names are numbers unless somebody has given others.
    for task in sorted(waiting, key=lambda task: (len(task.get_name()), task.get_name()))[:_SHOWN_TASKS]:
        lines.append(f"{task.get_name()} was waiting here:\n")
        frames, coroutine = [], task.get_coro()
        while (frame := getattr(coroutine, "cr_frame", None)) is not None and len(frames) < _SHOWN_ENTRIES:
            frames.append((frame, frame.f_lineno))
            coroutine = coroutine.cr_await
        lines += traceback.StackSummary.extract(frames).format()
    if len(waiting) > _SHOWN_TASKS:
        lines.append(f"and {len(waiting) - _SHOWN_TASKS} other tasks")
    return "".join(lines).rstrip()


def _without(what, error, *names):
    for name in names:

        def method(self, *args, **kwargs):
            raise error()

        method.__name__, method.__qualname__ = name, f"EventLoop.{name}"
        method.__doc__ = f"Always fails: {what}."
        setattr(EventLoop, name, method)


_NO_NETWORK = "a sandbox has no network"
_without(
    _NO_NETWORK,
    lambda: OSError(errno.ENOTSUP, _NO_NETWORK),
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "connect_accepted_socket",
    "getaddrinfo",
    "getnameinfo",
    "sendfile",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendfile",
    "sock_sendto",
    "start_tls",
)

_NO_PROCESSES = "a sandbox cannot start processes"
_without(_NO_PROCESSES, lambda: NotImplementedError(_NO_PROCESSES), "subprocess_exec", "subprocess_shell")

_NO_DESCRIPTORS = "no file of a sandbox can be waited for: reading and writing never block"
_without(
    _NO_DESCRIPTORS,
    lambda: NotImplementedError(_NO_DESCRIPTORS),
    "add_reader",
    "remove_reader",
    "add_writer",
    "remove_writer",
    "connect_read_pipe",
    "connect_write_pipe",
)

_NO_SIGNALS = "signals never arrive in a sandbox"
_without(_NO_SIGNALS, lambda: NotImplementedError(_NO_SIGNALS), "add_signal_handler", "remove_signal_handler")
