//! Calls that mean harm: each ends with the name of what ended it, and the process goes on as if nothing had been.
//!
//! A thousand of them belong to the ordinary tests. `HOSTILE_CALLS=100000 cargo test -p faasm-tests --test hostile -- --nocapture` makes
//! as many, and says what became of them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use faasm_tests::{call, function_source, load, text};
use py_func::state::{self, Memory, State};
use py_func::{Function, Runtime};

/// How many calls are made if nothing else is said, and from how many threads.
const CALLS: usize = 1000;
const THREADS: usize = 4;

/// Functions in `functions/hostile.py`: their names, the ways in which they may end, each a kind and some of the text that is left, and how
/// often they are called among others, the more the cheaper they are.
const CASES: &[(&str, &[&str], usize)] = &[
    ("recursion", &["exception RecursionError"], 30),
    ("recursion_without_limit", &["memory-limit ", "stack-limit ", "exception Error"], 10),
    ("recursion_in_c", &["exception RecursionError", "stack-limit ", "memory-limit "], 30),
    ("recursion_of_attributes", &["exception RecursionError"], 30),
    ("nested_json", &["exception RecursionError"], 100),
    ("nested_source", &["exception MemoryError: Parser stack overflowed"], 300),
    ("nested_lists", &["returned 0 freed"], 30),
    ("calls_itself_through_the_host", &["exception RecursionError"], 30),
    ("allocates_at_once", &["memory-limit MemoryError"], 1000),
    ("allocates_many_lists", &["memory-limit MemoryError"], 1000),
    ("allocates_a_number", &["memory-limit MemoryError"], 1000),
    ("allocates_slowly", &["memory-limit MemoryError"], 30),
    ("allocates_and_catches", &["returned 0 caught"], 30),
    ("decompresses", &["memory-limit "], 10),
    ("allocates_tasks", &["memory-limit ", "time-limit "], 3),
    ("floods_output", &["output-limit "], 300),
    ("floods_errors", &["output-limit "], 300),
    ("floods_result", &["output-limit "], 300),
    ("floods_log", &["output-limit "], 300),
    ("floods_failures", &["output-limit "], 100),
    ("opens_files", &["exception OSError", "time-limit ", "memory-limit "], 3),
    ("opens_directories", &["exception OSError", "time-limit ", "memory-limit "], 3),
    ("chains_deeply", &["exception calls may be chained 4 deep"], 100),
    ("chains_widely", &["exception of one call 20 others may come"], 100),
    ("chains_much", &["exception take more memory than one call may have"], 3),
    ("chains_to_others", &["exception functions of other users cannot be called"], 300),
    ("chains_asynchronously", &["exception of one call 20 others may come"], 30),
    ("waits_for_nothing", &["exception this call has not made a call"], 1000),
    ("locks_everything", &["exception a call may have 1000 locks"], 100),
    ("fills_state", &["exception RuntimeError"], 100),
    ("writes_far_away", &["exception ValueError"], 1000),
    ("loops", &["time-limit loops"], 10),
    ("sleeps", &["time-limit time.sleep(1000)"], 10),
    ("sleeps_asynchronously", &["time-limit await asyncio.sleep(1000)"], 10),
    ("waits_for_itself", &["exception nothing can wake the event loop"], 300),
    ("catches_the_limit", &["returned 0 caught"], 10),
    ("raises_something_else_at_the_limit", &["exception ValueError: instead"], 10),
    ("catches_every_limit", &["time-limit "], 1),
    ("loops_in_a_regex", &["time-limit "], 1),
    ("loops_in_a_number", &["time-limit "], 1),
    ("loops_in_an_iterator", &["time-limit "], 1),
    ("finalizers_raise", &["returned 0 went on"], 300),
    ("finalizers_resurrect", &["returned 0 went on"], 1000),
    ("finalizers_breed", &["returned "], 1000),
    ("collector_calls_back", &["returned 0 went on"], 1000),
    ("exits", &["returned 3"], 1000),
    ("exits_with_text", &["returned 1"], 1000),
    ("exits_at_once", &["returned 5"], 1000),
    ("aborts", &["fault abort"], 1000),
    ("kills_itself", &["exception AttributeError"], 1000),
    ("raises_a_signal", &["fault abort"], 1000),
    ("starts_a_thread", &["exception can't start new thread"], 1000),
    ("starts_a_process", &["exception OSError"], 1000),
    ("forks", &["exception AttributeError"], 1000),
    ("connects", &["exception "], 1000),
    ("loads_code", &["exception OSError"], 1000),
    ("writes_files", &["exception Error"], 1000),
    ("leaves_the_root", &["returned 0 stayed", "exception PermissionError"], 1000),
    ("clears_modules", &["exception ", "returned "], 100),
    ("clears_builtins", &["exception ", "returned "], 1000),
    ("replaces_the_guest", &["exception "], 300),
    ("closes_the_streams", &["returned 0 went on"], 1000),
    ("traces", &["exception ZeroDivisionError"], 1000),
    ("fails_falsely", &["exception "], 1000),
    ("asks_wrongly", &["returned 0 True True"], 30),
    (
        "runs_bad_bytecode",
        &["fault ", "returned ", "exception ", "memory-limit ", "time-limit ", "stack-limit ", "result "],
        300,
    ),
    ("reads_past_constants", &["fault ", "exception ", "returned "], 1000),
    (
        "scribbles",
        &["fault ", "exception ", "time-limit ", "memory-limit ", "stack-limit ", "returned "],
        300,
    ),
];

/// Those that are called no more often than this may reach the time limit on a machine that is busy.
const SLOW: usize = 100;

#[test]
fn hostile_calls_do_no_harm() {
    let calls = std::env::var("HOSTILE_CALLS").map_or(CALLS, |text| text.parse().unwrap());
    let state =
        State::new(Arc::new(Memory::default()), state::Limits { user_quota: 8 << 20, local: 32 << 20 });
    let runtime = faasm_tests::limits()
        .memory_limit(64 << 20)
        .output_limit(1 << 20)
        .chain_limits(4, 20)
        .threads(2.try_into().unwrap())
        .state(state)
        .build()
        .unwrap();
    let hostile = runtime.function("mallory", "hostile").source(function_source("hostile")).load().unwrap();
    let witness = load(&runtime, "import json\ndef faasm_main(data): return json.dumps(data.decode())\n");
    let check = |after: &str| assert_eq!(text(&call(&witness, b"x").output), "\"x\"", "after {after}");

    // Each in turn, with more time than it needs.
    let mut problems = Vec::new();
    for (name, expected, _) in CASES {
        let as_expected = |end: &_| expected.iter().any(|expected| is(end, expected));
        let mut end = self::end(&hostile, name, Duration::from_secs(1));
        if !as_expected(&end) {
            // The machine may be busy.
            end = self::end(&hostile, name, Duration::from_secs(30));
        }
        if !as_expected(&end) {
            problems.push(format!("{name}: {end:?}, not {expected:?}"));
        }
        check(name);
    }
    assert!(problems.is_empty(), "{problems:#?}");

    // And all at once.
    mixed(&runtime, &hostile, &witness, CALLS / 4);
    let before = Process::now();
    let started = Instant::now();
    let ends = mixed(&runtime, &hostile, &witness, calls);
    let (ended, mut after) = (Instant::now(), Process::now());
    // Threads that have been waited for may take a moment to be gone.
    while after.threads > before.threads && ended.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
        after = Process::now();
    }
    check("all of them");
    println!("{calls} calls in {:.1?}: {ends:?}\nbefore {before:?}, after {after:?}", started.elapsed());
    // A sandbox that is kept takes memory, so not every measurement is the same; a hundredth of a page for each call would be more.
    assert!(after.resident < before.resident + (64 << 20), "{before:?} {after:?}");
    assert!(after.threads <= before.threads, "{before:?} {after:?}");
    assert!(after.files <= before.files, "{before:?} {after:?}");
}

/// Calls chosen at random from several threads, and how many ended how.
fn mixed(
    runtime: &Runtime,
    hostile: &Function,
    witness: &Function,
    calls: usize,
) -> BTreeMap<&'static str, usize> {
    let left = AtomicUsize::new(calls);
    let (ends, problems) = (Mutex::new(BTreeMap::new()), Mutex::new(Vec::new()));
    let all: usize = CASES.iter().map(|(_, _, weight)| weight).sum();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (left, ends, problems) = (&left, &ends, &problems);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(thread as u64);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let mut at = random.usize(..all);
                    let (name, expected, weight) = CASES
                        .iter()
                        .find(|(_, _, weight)| {
                            let found = at < *weight;
                            at = at.saturating_sub(*weight);
                            found
                        })
                        .unwrap();
                    let is_slow = *weight <= SLOW;
                    let limit = Duration::from_millis(if is_slow { 200 } else { 10_000 });
                    let end = end(hostile, name, limit);
                    *ends.lock().unwrap().entry(end.0).or_default() += 1;
                    let late = is_slow && end.0 == "time-limit";
                    if !late && !expected.iter().any(|expected| is(&end, expected)) {
                        problems.lock().unwrap().push(format!("{name}: {end:?}, not {expected:?}"));
                    }
                    if random.u8(..) < 10 {
                        assert_eq!(text(&call(witness, b"y").output), "\"y\"", "after {name}");
                        load(runtime, "def faasm_main(): pass\n");
                    }
                }
            });
        }
    });
    let problems = problems.into_inner().unwrap();
    assert!(problems.is_empty(), "{problems:#?}");
    ends.into_inner().unwrap()
}

/// How a call ends: `returned` or the kind of its error; and its status and output, or the error's text.
fn end(function: &Function, name: &str, limit: Duration) -> (&'static str, String) {
    match function.call("").entry(name).timeout(limit).wait() {
        Ok(output) => ("returned", format!("{} {}", output.status, String::from_utf8_lossy(&output.output))),
        Err(failure) => (failure.error.kind(), failure.to_string()),
    }
}

fn is((kind, text): &(&'static str, String), expected: &str) -> bool {
    let (expected, part) = expected.split_once(' ').unwrap();
    *kind == expected && text.contains(part)
}

/// What this process has.
#[derive(Debug)]
struct Process {
    /// In bytes.
    resident: usize,
    threads: usize,
    files: usize,
}

impl Process {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = status.split(' ').nth(1).unwrap().parse().unwrap();
        let count = |directory: &str| fs::read_dir(directory).unwrap().count();
        Self { resident: pages * 4096, threads: count("/proc/self/task"), files: count("/proc/self/fd") }
    }
}
