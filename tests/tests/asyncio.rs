//! `asyncio` in functions: an event loop that waits in the host, for timers and for chained calls.

use std::time::{Duration, Instant};

use faasm_build_support::{Context, cpython, toolchain};
use faasm_tests::{image, limits, load, run, run_failure, runtime, text, traceback};
use py_func::{CallError, Runtime};

/// What the functions of these tests have in common.
const HEAD: &str = "
import asyncio, faasm, time
def echo(data): return data
def slowly(data): time.sleep(float(data)); return data
def fails(): raise ValueError('on purpose')
async def spins():
    while True: pass
";

#[test]
fn what_asyncio_does() {
    let runtime = runtime();
    let cases = [
        // An entry point that is a coroutine is run, and its result is what others return.
        ("async def faasm_main(data): return b'<' + data + b'>'", "<>"),
        ("async def faasm_main(): await asyncio.sleep(0.01); return 'slept'", "slept"),
        ("async def one(): return 'run'\ndef faasm_main(): return asyncio.run(one())", "run"),
        (
            "async def faasm_main():\n    order = []\n    async def after(seconds):\n        await asyncio.sleep(seconds)\n        \
             order.append(str(seconds))\n    await asyncio.gather(after(.3), after(.1), after(.2))\n    return ' '.join(order)",
            "0.1 0.2 0.3",
        ),
        (
            "async def faasm_main():\n    queue = asyncio.Queue(2)\n    async def put():\n        for number in range(5): await \
             queue.put(number)\n        queue.shutdown()\n    got = []\n    async with asyncio.TaskGroup() as group:\n        \
             group.create_task(put())\n        try:\n            while True: got.append(await queue.get())\n        \
             except asyncio.QueueShutDown: return str(got)",
            "[0, 1, 2, 3, 4]",
        ),
        (
            "async def faasm_main():\n    try:\n        async with asyncio.timeout(0.01): await asyncio.sleep(100)\n    \
             except TimeoutError: return 'too late'",
            "too late",
        ),
        (
            "async def faasm_main():\n    loop = asyncio.get_running_loop()\n    done = loop.create_future()\n    \
             loop.call_soon_threadsafe(done.set_result, 'woken')\n    return await done",
            "woken",
        ),
        (
            "async def numbers():\n    try:\n        for n in range(9): yield n\n    finally: print('closed')\n\
             async def faasm_main():\n    async for n in numbers():\n        if n == 3: return str(n)",
            "3",
        ),
        // Chained calls, as they end, while timers run.
        ("async def faasm_main(): return await faasm.chain(echo, 'x')", "x"),
        (
            "async def faasm_main():\n    order = []\n    async def one(seconds): order.append((await faasm.chain(slowly, \
             seconds)).decode())\n    async def tick():\n        await asyncio.sleep(0.3); order.append('tick')\n    \
             async with asyncio.TaskGroup() as group:\n        for seconds in ('0.5', '0.1', '0.9'): \
             group.create_task(one(seconds))\n        group.create_task(tick())\n    return ' '.join(order)",
            "0.1 tick 0.5 0.9",
        ),
        (
            "async def faasm_main():\n    calls = [faasm.chain(echo, str(n)) for n in range(200)]\n    \
             return str(sum(map(int, await asyncio.gather(*calls))))",
            "19900",
        ),
        (
            "async def faasm_main():\n    async with asyncio.TaskGroup() as group:\n        tasks = \
             [group.create_task(faasm.chain_async(echo, str(n))) for n in range(3)]\n    \
             return b''.join(task.result() for task in tasks)",
            "012",
        ),
        (
            "async def faasm_main():\n    ended = [await call for call in asyncio.as_completed([faasm.chain(slowly, '0.5'), \
             faasm.chain(echo, 'first')])]\n    return b' '.join(ended)",
            "first 0.5",
        ),
        (
            "async def faasm_main():\n    call = faasm.chain(slowly, '0.3')\n    try: await asyncio.wait_for(call, 0.05)\n    \
             except TimeoutError: pass\n    both = await asyncio.gather(call, call)\n    return both[0] + both[1] + call.output()",
            "0.30.30.3",
        ),
        (
            "async def faasm_main():\n    ok, bad = await asyncio.gather(faasm.chain(echo, 'a'), faasm.chain(fails), \
             return_exceptions=True)\n    return ok + type(bad).__name__.encode() + str('on purpose' in str(bad)).encode()",
            "aRuntimeErrorTrue",
        ),
        // A call that somebody waited for already, and one that ended unseen.
        (
            "async def faasm_main():\n    call = faasm.chain(echo, 'b')\n    call.wait()\n    return await call + await call",
            "bb",
        ),
        // A loop for everyone who asks.
        (
            "async def faasm_main():\n    loop = asyncio.get_running_loop()\n    return f'{type(loop) is asyncio.EventLoop is \
             not None} {isinstance(loop, asyncio.SelectorEventLoop)} {loop.get_debug()}'",
            "True True False",
        ),
        (
            "async def main(): return str(asyncio.get_running_loop().get_debug())\n\
             def faasm_main(): return asyncio.run(main(), debug=True)",
            "True",
        ),
        (
            "RESULT = asyncio.run(asyncio.sleep(0.01, 'at import'))\ndef faasm_main(): return RESULT",
            "at import",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(run(&runtime, &format!("{HEAD}{source}\n")), expected, "{source}");
    }
}

#[test]
fn what_a_sandbox_does_not_have_is_said() {
    let runtime = runtime();
    for (body, error) in [
        ("await asyncio.to_thread(print)", "RuntimeError: a sandbox has one thread"),
        (
            "await asyncio.get_running_loop().run_in_executor(None, print)",
            "RuntimeError: a sandbox has one thread",
        ),
        ("await asyncio.open_connection('localhost', 80)", "a sandbox has no network"),
        ("await asyncio.start_server(print, 'localhost', 80)", "a sandbox has no network"),
        ("await asyncio.get_running_loop().getaddrinfo('localhost', 80)", "a sandbox has no network"),
        (
            "await asyncio.create_subprocess_exec('true')",
            "NotImplementedError: a sandbox cannot start processes",
        ),
        ("asyncio.get_running_loop().add_reader(0, print)", "NotImplementedError: no file of a sandbox"),
        (
            "asyncio.get_running_loop().add_signal_handler(2, print)",
            "NotImplementedError: signals never arrive",
        ),
        // Nobody could ever wake these, so they are not left to wait for the time limit.
        ("await asyncio.Event().wait()", "RuntimeError: nothing can wake the event loop any more"),
        (
            "await asyncio.gather(asyncio.Queue().get(), asyncio.Queue().get())",
            "RuntimeError: nothing can wake",
        ),
        ("await faasm.Call(10**9)", "ValueError"),
        ("import _faasm; _faasm.await_any([1], -1)", "ValueError: this call has not made a call 1"),
        ("import _faasm; _faasm.await_any([], -1)", "ValueError: there is nothing to wait for"),
        ("import _faasm; _faasm.await_any(5, 5)", "TypeError"),
        ("import _faasm; _faasm.await_any([-1], 5)", "OverflowError"),
        (
            "asyncio.run(asyncio.sleep(0))",
            "RuntimeError: asyncio.run() cannot be called from a running event loop",
        ),
    ] {
        let failure = run_failure(&runtime, &format!("{HEAD}async def faasm_main():\n    {body}\n"));
        assert!(traceback(&failure).lines().last().unwrap_or_default().contains(error), "{body}: {failure}");
    }
}

#[test]
fn the_time_limit_ends_it_and_shows_where() {
    let runtime = runtime();
    for (body, place) in [
        ("await asyncio.sleep(100)", "await asyncio.sleep(100)"),
        ("while True: pass", "while True: pass"),
        ("await asyncio.gather(asyncio.sleep(100), asyncio.sleep(100))", "was waiting here:"),
        (
            "async with asyncio.TaskGroup() as group:\n        group.create_task(asyncio.sleep(100))\n        while True: pass",
            "while True: pass",
        ),
        ("await faasm.chain(slowly, '3')", "was waiting here:"),
        ("while True: await asyncio.sleep(0)", ""),
        // A task that nobody awaits keeps its exceptions for itself.
        ("task = asyncio.create_task(spins()); await asyncio.sleep(100)", "while True: pass"),
    ] {
        let function = load(&runtime, &format!("{HEAD}async def faasm_main():\n    {body}\n"));
        let started = Instant::now();
        let failure = function.call("").timeout(Duration::from_millis(500)).wait().unwrap_err();
        let CallError::TimeLimit { text, .. } = &failure.error else { panic!("{body}: {failure}") };
        assert!(text.contains(place) && text.contains("TimeLimit"), "{body}: {text}");
        assert!(started.elapsed() < Duration::from_secs(20), "{body}");
    }
    // It may be reached between two steps of a task, which then is never woken again. Here it always is.
    let source = "def interrupted(*args, **kwargs): raise faasm.TimeLimit\nasync def faasm_main():\n    \
                  asyncio.get_running_loop().call_soon = interrupted\n    await asyncio.sleep(0)\n";
    let failure = run_failure(&runtime, &format!("{HEAD}{source}"));
    let CallError::TimeLimit { text: shown, .. } = &failure.error else { panic!("{failure}") };
    assert!(shown.contains("in interrupted"), "{shown}");
    // Tasks are cancelled, and may clean up.
    let source = "async def other():\n    try: await asyncio.sleep(100)\n    finally: print('cleaned up')\n\
                  async def faasm_main():\n    task = asyncio.create_task(other())\n    await asyncio.sleep(0)\n    while True: pass\n";
    let function = load(&runtime, &format!("{HEAD}{source}"));
    let failure = function.call("").timeout(Duration::from_millis(500)).wait().unwrap_err();
    assert_eq!(text(&failure.stdout), "cleaned up\n", "{failure}");
}

#[test]
fn who_waits_keeps_nobody_from_computing() {
    // With one thread, and calls that all wait at the same time.
    let runtime = limits().threads(1.try_into().unwrap()).build().unwrap();
    let source = format!(
        "{HEAD}async def nap(): await asyncio.sleep(0.5)\nasync def faasm_main():\n    started = time.monotonic()\n    \
         await asyncio.gather(*[faasm.chain(nap) for _ in range(20)])\n    return str(time.monotonic() - started < 5)\n"
    );
    assert_eq!(run(&runtime, &source), "True");
}

#[test]
fn functions_without_coroutines_do_not_pay_for_it() {
    let source = "import sys\ndef faasm_main(): return str('asyncio' in sys.modules)\n";
    assert_eq!(run(&runtime(), source), "False");
}

/// What CPython's own tests skip where there are no sockets, although most of them need none: those of asyncio. Whatever fails must
/// need a thread or a socket.
#[test]
#[ignore = "takes a minute"]
fn cpythons_own_tests() {
    let cx = Context::from_env().unwrap();
    let wasm = cpython::wasm(&cx, &toolchain::wasi(&cx).unwrap()).unwrap();
    let tests = cpython::stdlib(&cx, &cpython::native(&cx).unwrap(), &wasm).unwrap().tests;
    let script = "
import io, sys, unittest
import test.support
test.support.requires_working_socket = lambda **_: None
stream, run, unexpected = io.StringIO(), 0, []
for name in ('context eager_task_factory futures futures2 locks pep492 protocols queues runners staggered taskgroups tasks '
             'timeouts transports waitfor').split():
    suite = unittest.defaultTestLoader.loadTestsFromName('test.test_asyncio.test_' + name)
    result = unittest.TextTestRunner(stream=stream, verbosity=0).run(suite)
    run += result.testsRun
    for case, text in result.failures + result.errors:
        if not (\"can't start new thread\" in text or 'a sandbox has one thread' in text):
            unexpected.append(text)
print(*unexpected, run, sep='\\n', file=sys.stderr)
sys.exit(bool(unexpected) or run < 1000)
";
    let runtime = Runtime::builder().image(image()).build().unwrap();
    let interpreter = runtime.interpreter().arguments(["-c", script]);
    let interpreter = interpreter.read_only(tests, "/usr/lib/python-tests");
    let status = interpreter.variable("PYTHONPATH", "/usr/lib/python-tests").run().unwrap().unwrap();
    assert_eq!(status, 0);
}
