//! What a call costs: `cargo bench -p faasm-tests --bench calls`. Nothing is asserted; times are of this machine.

use std::time::{Duration, Instant};

use faasm_tests::{load, resident_memory, runtime};
use py_func::{Function, Runtime};

const NOOP: &str = "def faasm_main(): pass\n";

const JSON: &str = r#"
import json

def faasm_main(data):
    order = json.loads(data)
    total = sum(item["price"] * item["count"] for item in order["items"])
    return json.dumps({"id": order["id"], "total": total, "items": len(order["items"])})
"#;

/// Calls that use files.
const FILES: [(&str, &str); 4] = [
    ("one stat of a library file", "os.stat('/lib/python3.13/os.py')"),
    ("reading a library file of 40 KiB", "open('/lib/python3.13/os.py', 'rb').read()"),
    ("importing csv", "import csv"),
    (
        "writing and reading 64 KiB in /tmp",
        "open('/tmp/f', 'wb').write(bytes(65536)); open('/tmp/f', 'rb').read()",
    ),
];

fn main() {
    // `cargo test --benches` runs this, too, to see whether it works.
    let rounds = if std::env::args().any(|it| it == "--bench") { 5000 } else { 10 };
    let runtime = runtime();

    println!("{:<44} {:>10} {:>10}", "", "p50", "p95");
    let noop = load(&runtime, NOOP);
    calls("no-op", &noop, b"", rounds);
    own_memory("no-op, memory that its sandbox has for itself", &noop);
    calls("no-op, a coroutine", &load(&runtime, "async def faasm_main(): pass\n"), b"", rounds);
    calls("JSON, 10 items", &load(&runtime, JSON), &order(10), rounds);
    calls("JSON, 1000 items", &load(&runtime, JSON), &order(1000), rounds / 10);
    calls("print", &load(&runtime, "def faasm_main(): print('hello')\n"), b"", rounds);
    calls("an exception", &load(&runtime, "def faasm_main(): return 1 / 0\n"), b"", rounds / 10);
    calls(
        "1 MiB in and out",
        &load(&runtime, "def faasm_main(data): return data\n"),
        &vec![b'x'; 1 << 20],
        rounds / 10,
    );
    for (name, body) in FILES {
        let source = format!("import os\ndef faasm_main():\n    {body}\n");
        calls(name, &load(&runtime, &source), b"", rounds / 10);
    }
    throughput(&noop, rounds);
    resident(&runtime, rounds / 5);
    cold(&runtime, rounds / 50);
    in_turn(&runtime, rounds / 5);
    loads(&runtime, rounds / 50);
}

fn calls(name: &str, function: &Function, input: &[u8], rounds: usize) {
    report(name, (0..rounds + 10).map(|_| time(function, input)).collect());
}

fn own_memory(name: &str, function: &Function) {
    let own = function.call("").wait().ok().and_then(|output| output.usage.own_memory);
    println!("{name}: {} KiB", own.unwrap_or_default() >> 10);
}

/// The first call of a function, for which there is no sandbox yet.
fn cold(runtime: &Runtime, rounds: usize) {
    let functions: Vec<Function> = (0..rounds + 10).map(|_| load(runtime, NOOP)).collect();
    let times = functions.iter().map(|function| time(function, b"")).collect();
    report("no-op, first call of a function", times);
}

/// Calls of so many functions in turn, of which each has been called before.
fn in_turn(runtime: &Runtime, count: usize) {
    let functions: Vec<Function> = (0..count).map(|_| load(runtime, NOOP)).collect();
    let mut times = Vec::new();
    for round in 0..5 {
        for function in &functions {
            let time = time(function, b"");
            if round > 0 {
                times.push(time);
            }
        }
    }
    report(&format!("no-op, {count} functions in turn"), times);
    own_memory("no-op, the same of a sandbox for all of them", &functions[0]);
}

/// Calls that are made one after the other, on each of one and two threads.
fn throughput(noop: &Function, rounds: usize) {
    for threads in [1, 2] {
        let started = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| (0..rounds).for_each(|_| drop(noop.call("").wait())));
            }
        });
        let calls = (threads * rounds) as f64 / started.elapsed().as_secs_f64();
        println!("no-op, calls a second on {threads} thread(s): {calls:.0}");
    }
}

/// How long a call takes the caller.
fn time(function: &Function, input: &[u8]) -> Duration {
    let input = input.to_vec();
    let started = Instant::now();
    // Those that fail are meant to.
    let _ = function.call(input).wait();
    started.elapsed()
}

fn loads(runtime: &Runtime, rounds: usize) {
    let source = fifty_lines();
    let mut times = Vec::new();
    for _ in 0..rounds.max(5) {
        let started = Instant::now();
        let function = load(runtime, &source);
        times.push(started.elapsed());
        drop(function);
    }
    report("loading 50 lines", times);
}

/// The memory that loaded functions take while nobody calls them.
fn resident(runtime: &Runtime, count: usize) {
    for (name, source) in [("no-op", NOOP.to_owned()), ("50 lines", fifty_lines())] {
        // The first ones leave sandboxes that the others use again.
        let _first: Vec<Function> = (0..count.min(50)).map(|_| load(runtime, &source)).collect();
        let before = resident_memory();
        let functions: Vec<Function> = (0..count).map(|_| load(runtime, &source)).collect();
        let each = resident_memory().saturating_sub(before) / functions.len().max(1);
        println!("memory of a loaded function, {name}: {} KiB", each >> 10);
    }
}

/// 50 lines, none of which imports anything that the image lacks.
fn fifty_lines() -> String {
    let lines = (0..25).map(|n| format!("def f{n}(x, y={n}):\n    return [x + y for _ in range({n})]\n"));
    lines.collect::<String>() + "def faasm_main(): return None\n"
}

fn report(name: &str, mut times: Vec<Duration>) {
    // The first ones fault pages in.
    times.drain(..times.len().min(10) / 2);
    times.sort();
    let at = |share: usize| format!("{:.1} µs", times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6);
    println!("{name:<44} {:>10} {:>10}", at(50), at(95));
}

fn order(items: usize) -> Vec<u8> {
    let items: Vec<String> = (0..items)
        .map(|n| format!(r#"{{"name": "item {n}", "price": {}.5, "count": {}}}"#, n % 90, n % 7))
        .collect();
    format!(r#"{{"id": 17, "items": [{}]}}"#, items.join(", ")).into_bytes()
}
