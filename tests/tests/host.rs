//! What functions ask of their host: state, other calls, who they are. The functions are the original's, written anew.

use std::sync::Arc;
use std::time::Duration;

use faasm_tests::{call, function_source, limits, load, run, run_failure, runtime, text, traceback};
use py_func::state::{self, Durable, State};
use py_func::{CallError, Function, Runtime};

/// A function of `tests/functions`, by its file's name.
fn original(runtime: &Runtime, user: &str, name: &str) -> Function {
    runtime.function(user, name).source(function_source(name)).load().unwrap()
}

#[test]
fn state_is_written_in_one_call_and_read_in_another() {
    for entry in ["faasm_main", "with_faasm"] {
        let runtime = runtime();
        let (write, read) =
            (original(&runtime, "python", "state_write"), original(&runtime, "python", "state_read"));
        write.call("").entry(entry).wait().unwrap();
        let output = read.call("").entry(entry).wait().unwrap();
        assert_eq!(text(&output.output), "0199956789", "{entry}");
    }
}

#[test]
fn chained_calls_get_their_input_and_give_status_and_output() {
    let chain = original(&runtime(), "python", "chain");
    assert_eq!(call(&chain, b"").status, 0);
    assert_eq!(text(&chain.call("").entry("with_faasm").wait().unwrap().output), "CHAINED");
}

#[test]
fn a_dictionary_goes_through_state_and_a_chained_call() {
    let function = original(&runtime(), "python", "dict_state");
    for entry in ["faasm_main", "with_faasm"] {
        assert_eq!(function.call("").entry(entry).wait().unwrap().status, 0, "{entry}");
    }
}

#[test]
fn matrices_are_multiplied_by_dividing_them() {
    for splits in 0..=3 {
        let runtime = limits().memory_limit(256 << 20).build().unwrap();
        let function = original(&runtime, "python", "mat_mul");
        let output = call(&function, format!("16 {splits}").as_bytes());
        assert_eq!(text(&output.output), format!("16x16 in {splits} splits"));
    }
}

#[test]
fn of_appends_at_the_same_time_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let limits = state::Limits { user_quota: 1 << 20, local: 8 << 20 };
    let state = State::new(Arc::new(Durable::open(directory.path()).unwrap()), limits);
    let runtime = faasm_tests::limits().state(state).build().unwrap();
    let append = original(&runtime, "python", "append");
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let append = &append;
            scope.spawn(move || {
                for number in 0..50 {
                    append.call(format!("{}", thread * 50 + number)).wait().unwrap();
                }
            });
        }
    });
    let output = append.call("").entry("listed").wait().unwrap().output;
    let mut numbers: Vec<u32> = text(&output).lines().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
}

#[test]
fn users_do_not_see_each_other() {
    let runtime = runtime();
    let source = "import faasm\ndef faasm_main(data):\n    faasm.state.append('log', data)\n    \
                  return b' '.join(faasm.state.appended('log')) + f' {faasm.user()} {faasm.state.keys()}'.encode()\n\
                  def chained(data):\n    return faasm.chain('alice/f', data).output()\n";
    let of = |user: &str| runtime.function(user, "f").source(source).load().unwrap();
    let (alice, bob) = (of("alice"), of("bob"));
    assert_eq!(text(&call(&alice, b"secret").output), "secret alice ['log']");
    assert_eq!(text(&call(&bob, b"mine").output), "mine bob ['log']");
    let failure = bob.call("x").entry("chained").wait().unwrap_err();
    assert!(traceback(&failure).contains("functions of other users cannot be called"), "{failure}");
    assert_eq!(
        text(&alice.call("more").entry("chained").wait().unwrap().output),
        "secret more alice ['log']"
    );
}

#[test]
fn what_is_wrong_with_a_request_is_an_exception() {
    let runtime = limits().config("colour", "blue").build().unwrap();
    for (body, expected) in [
        ("faasm.state.read('absent')", "KeyError"),
        ("faasm.state.write('', b'')", "ValueError"),
        ("faasm.state.write('k' * 513, b'')", "ValueError"),
        ("faasm.state.write('\\ud800', b'')", "UnicodeEncodeError"),
        ("faasm.state.write('k', b'12'); faasm.state.write('k', b'123')", "ValueError"),
        ("faasm.state.write('k', b'12'); faasm.state.write_at('k', 1, b'12')", "ValueError"),
        ("faasm.state.read_at('k', -1, 2)", "ValueError"),
        ("faasm.state.write_at('huge', 0, b'', 1 << 40)", "ValueError"),
        ("faasm.digest('crc', b'')", "ValueError"),
        ("faasm.chain('nobody')", "KeyError"),
        ("faasm.chain('a/b/c')", "ValueError"),
        ("faasm.Call(10**9).wait()", "ValueError"),
        ("faasm.Call(-1).wait()", "OverflowError"),
        ("import _faasm; _faasm.info(77)", "ValueError"),
        ("faasm.state.lock('k').__enter__(); faasm.state.lock('k').__enter__()", "RuntimeError"),
    ] {
        let source = format!("import faasm\ndef faasm_main():\n    {body}\n");
        let failure = run_failure(&runtime, &source);
        let last = traceback(&failure).lines().last().unwrap_or_default();
        assert!(last.starts_with(expected), "{body}: {failure}");
    }
    let flags = "import faasm\ndef faasm_main(): return f\"{faasm.config('colour')} {faasm.config('size', 'none')}\"\n";
    assert_eq!(run(&runtime, flags), "blue none");
}

#[test]
fn digests_are_those_of_hashlib() {
    let source = "import faasm, hashlib\ndef faasm_main():\n    data = bytes(range(256)) * 1000\n    \
                  for name in ('sha224', 'sha256', 'sha384', 'sha512'):\n        \
                  assert faasm.digest(name, data) == hashlib.new(name, data).digest()\n    return 'equal'\n";
    assert_eq!(run(&runtime(), source), "equal");
}

#[test]
fn calls_that_chain_without_end_reach_a_limit() {
    let runtime = limits().chain_limits(5, 40).build().unwrap();
    let deep = "import faasm\ndef faasm_main(data): return faasm.chain(faasm_main, data + b'x').output()\n";
    let failure = load(&runtime, deep).call("").wait().unwrap_err();
    assert!(traceback(&failure).contains("calls may be chained 5 deep"), "{failure}");
    let wide = "import faasm\ndef nothing(): pass\ndef faasm_main():\n    while True: faasm.chain(nothing)\n";
    let failure = load(&runtime, wide).call("").wait().unwrap_err();
    assert!(traceback(&failure).contains("of one call 40 others may come"), "{failure}");
    // A call of its own has a count of its own.
    assert_eq!(
        run(
            &runtime,
            "import faasm\ndef f(): return 'x'\ndef faasm_main(): return faasm.chain(f).output()\n"
        ),
        "x"
    );
}

#[test]
fn a_call_that_waits_keeps_nobody_from_computing() {
    // With one thread, and one call that waits for another that waits for another.
    let runtime = limits().threads(1.try_into().unwrap()).build().unwrap();
    let source = "import faasm\ndef faasm_main(data):\n    left = int(data)\n    \
                  return faasm.chain(faasm_main, str(left - 1)).output() + b'.' if left else b'done'\n";
    assert_eq!(text(&call(&load(&runtime, source), b"10").output), "done..........");
}

#[test]
fn waiting_ends_with_the_time_limit() {
    let runtime = runtime();
    let source = "import faasm, time\ndef slow(): time.sleep(5)\ndef faasm_main(): faasm.chain(slow).wait()\n\
                  def locked():\n    with faasm.state.lock('k'): time.sleep(5)\n";
    let function = load(&runtime, source);
    let failure = function.call("").timeout(Duration::from_millis(200)).wait().unwrap_err();
    let CallError::TimeLimit { text, .. } = &failure.error else { panic!("{failure}") };
    assert_eq!(text, "it was waiting for a chained call");
    // A lock is given back by a call that dies with it.
    for _ in 0..3 {
        let failure =
            function.call("").entry("locked").timeout(Duration::from_millis(500)).wait().unwrap_err();
        let CallError::TimeLimit { text, .. } = &failure.error else { panic!("{failure}") };
        assert!(text.contains("time.sleep(5)"), "{text}");
    }
}

#[test]
fn more_calls_than_may_wait_are_turned_away() {
    let runtime = limits().threads(1.try_into().unwrap()).queue(2).build().unwrap();
    let busy = load(&runtime, "def faasm_main():\n    while True: pass\n");
    let results: Vec<_> = std::thread::scope(|scope| {
        let calls = (0..8).map(|_| scope.spawn(|| busy.call("").timeout(Duration::from_secs(2)).wait()));
        calls.collect::<Vec<_>>().into_iter().map(|call| call.join().unwrap().unwrap_err().error).collect()
    });
    let busy = results.iter().filter(|error| **error == CallError::Busy { limit: 2, user: None }).count();
    assert_eq!(busy, 5, "{results:?}");
    assert!(
        results.iter().all(|error| matches!(error, CallError::Busy { .. } | CallError::TimeLimit { .. }))
    );
}

#[test]
fn a_user_has_limits_that_leave_others_alone() {
    let one = 1.try_into().unwrap();
    let runtime = limits().threads(2.try_into().unwrap()).user_limits(one, 2).build().unwrap();
    let of = |user: &str, source: &str| runtime.function(user, "f").source(source).load().unwrap();
    let (flood, other) = (
        of("flood", "def faasm_main():\n    while True: pass\n"),
        of("other", "def faasm_main(): return 'x'\n"),
    );
    let results: Vec<_> = std::thread::scope(|scope| {
        let calls: Vec<_> =
            (0..8).map(|_| scope.spawn(|| flood.call("").timeout(Duration::from_secs(2)).wait())).collect();
        // Of two threads one is left, whatever the flood.
        while !calls.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            assert_eq!(text(&call(&other, b"").output), "x");
        }
        calls.into_iter().map(|call| call.join().unwrap().unwrap_err().error).collect()
    });
    let busy = CallError::Busy { limit: 2, user: Some("flood".to_owned()) };
    assert_eq!(results.iter().filter(|error| **error == busy).count(), 5, "{results:?}");
    assert_eq!(busy.to_string(), "2 calls of flood are waiting already");
}

#[test]
fn users_take_turns() {
    // One thread, forty calls of one user that wait for it, and then three of another, one after the other.
    let runtime = limits().threads(1.try_into().unwrap()).build().unwrap();
    let of = |user: &str| {
        let source = "def faasm_main():\n    for _ in range(200_000): pass\n";
        runtime.function(user, "f").source(source).load().unwrap()
    };
    let (flood, other) = (of("flood"), of("other"));
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..40).map(|_| scope.spawn(|| call(&flood, b""))).collect();
        while !calls.iter().any(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            call(&other, b"");
        }
        // Three of theirs for three of ours, and some that ended meanwhile.
        let left = calls.iter().filter(|call| !call.is_finished()).count();
        assert!(left > 10, "{left} calls of the flood were left");
    });
}

#[test]
fn functions_that_are_called_by_name_are_looked_up() {
    use std::sync::Mutex;
    let source = Arc::new(Mutex::new("def faasm_main(data): return data.upper()\n"));
    let current = Arc::clone(&source);
    let runtime = limits()
        .threads(1.try_into().unwrap())
        .lookup(move |user, name| {
            ((user, name) == ("python", "other")).then(|| (*current.lock().unwrap()).into())
        })
        .build()
        .unwrap();
    let chain = "import faasm\ndef faasm_main(data): return faasm.chain('other', data).output()\n\
                 def absent(): faasm.chain('another')\n";
    let chain = load(&runtime, chain);
    for _ in 0..2 {
        assert_eq!(text(&call(&chain, b"abc").output), "ABC");
    }
    *source.lock().unwrap() = "def faasm_main(data): return data[::-1]\n";
    assert_eq!(text(&call(&chain, b"abc").output), "cba");
    *source.lock().unwrap() = "def faasm_main(data: return\n";
    let failure = chain.call("abc").wait().unwrap_err();
    assert!(
        traceback(&failure).contains("RuntimeError: the chained call failed: the source does not compile"),
        "{failure}"
    );
    let failure = chain.call("").entry("absent").wait().unwrap_err();
    assert!(traceback(&failure).contains("there is no function python/another"), "{failure}");
}

#[test]
fn what_the_host_keeps_for_calls_is_limited() {
    let runtime = limits().memory_limit(64 << 20).build().unwrap();
    for (body, expected) in [
        // Inputs of calls that have not begun, results of calls that nobody asked for, and answers.
        ("while True: faasm.chain(slow, bytes(8 << 20))", "take more memory than one call may have"),
        (
            "[faasm.chain(large) for _ in range(40)][39].wait(); [faasm.Call(n).wait() for n in range(1, 60)]",
            "the output limit",
        ),
        ("faasm.state.write_at('k', 0, b'', 100 << 20); faasm.state.read('k')", "larger than the memory"),
        ("for n in range(10**6): faasm.state.lock(str(n)).__enter__()", "1000 locks"),
        ("while True: faasm.log(10, 'x' * 100_000)", "the output limit"),
    ] {
        let source = format!(
            "import faasm, time\ndef slow(data): time.sleep(1)\ndef large(): return bytes(4 << 20)\ndef faasm_main():\n    {body}\n"
        );
        let failure = load(&runtime, &source).call("").wait().unwrap_err();
        assert!(failure.to_string().contains(expected), "{body}: {failure}");
    }
}

#[test]
fn imports_that_chain_have_the_limits_of_calls() {
    let runtime = limits()
        .threads(1.try_into().unwrap())
        .chain_limits(4, 20)
        .lookup(|_, name| match name {
            // It is looked up again by itself before it is there.
            "evil" => Some("import faasm\nfor _ in range(100): faasm.chain('evil')\n".into()),
            "helper" => Some("def faasm_main(): return 'helped'\n".into()),
            _ => None,
        })
        .build()
        .unwrap();
    let failure =
        load(&runtime, "import faasm\ndef faasm_main(): faasm.chain('evil').wait()\n").call("").wait();
    let failure = failure.unwrap_err();
    assert!(traceback(&failure).contains("of one call 20 others may come"), "{failure}");
    // An import that waits lets others compute.
    let source = "import faasm\nHELPED = faasm.chain('helper').output()\ndef faasm_main(): return HELPED\n";
    assert_eq!(run(&runtime, source), "helped");
}

#[test]
fn an_import_that_is_interrupted_does_not_load() {
    let source =
        "try:\n    while True: pass\nexcept BaseException: pass\ndef faasm_main(): return 'loaded'\n";
    let runtime = limits().timeout(Duration::from_millis(100)).build().unwrap();
    let failure = faasm_tests::load_failure(&runtime, source);
    assert!(matches!(failure.error, CallError::TimeLimit { .. }), "{failure}");
}

#[test]
fn chained_calls_run_while_their_caller_computes() {
    let runtime = limits().threads(2.try_into().unwrap()).build().unwrap();
    let source = "import faasm, time\ndef stamp(): return str(time.time())\n\
                  def faasm_main():\n    call = faasm.chain(stamp)\n    end = time.time() + 2\n    \
                  while time.time() < end: pass\n    return str(float(call.output()) < end - 1)\n";
    let function = load(&runtime, source);
    // Awaited, so that the caller is on one of the runtime's threads, which would keep what it wakes.
    let output = pollster::block_on(std::future::IntoFuture::into_future(function.call(""))).unwrap();
    assert_eq!(text(&output.output), "True");
}
