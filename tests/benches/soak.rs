//! All kinds of functions at full load, for as long as `SOAK_SECONDS` says, ten minutes if it says nothing: does memory stay flat, and does
//! every call end as it should? `cargo bench -p faasm-tests --bench soak`

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use faasm_tests::{function_source, limits, load, resident_memory};
use py_func::{CallError, CallFailure, Function, Output};

/// Functions, what they are given, and what becomes of it: the output, or the kind of error.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("no-op", "def faasm_main(): pass\n", "", ""),
    ("echo", "def faasm_main(data): return data\n", "hello", "hello"),
    (
        "JSON",
        "import json\ndef faasm_main(data): return json.dumps(sorted(json.loads(data)))\n",
        "[3, 1, 2]",
        "[1, 2, 3]",
    ),
    ("print", "def faasm_main():\n    for n in range(100): print(n)\n", "", ""),
    (
        "memory",
        "def faasm_main(data): return str(len(bytearray(int(data)) + b'x'))\n",
        "30000000",
        "30000001",
    ),
    ("compute", "def faasm_main(): return str(sum(n * n for n in range(20_000)))\n", "", "2666466670000"),
    ("sleep", "import time\ndef faasm_main(): time.sleep(0.01)\n", "", ""),
    (
        "state",
        "import faasm\ndef faasm_main():\n    with faasm.state.lock('n'):\n        keys = faasm.state.keys()\n        \
         n = int.from_bytes(faasm.state.read('n'), 'big') if 'n' in keys else 0\n        \
         faasm.state.write('n', (n + 1).to_bytes(8, 'big'))\n        faasm.state.push('n')\n    return 'counted'\n",
        "",
        "counted",
    ),
    (
        "chain",
        "import faasm\ndef double(data): return data + data\n\
         def faasm_main(data): return b''.join(faasm.chain(double, data).output() for _ in range(3))\n",
        "x",
        "xxxxxx",
    ),
    (
        "asyncio",
        "import asyncio, faasm\ndef double(data): return data + data\nasync def faasm_main(data):\n    \
         got = await asyncio.gather(*[faasm.chain(double, data) for _ in range(3)], asyncio.sleep(0.001, b'.'))\n    \
         return b''.join(got)\n",
        "x",
        "xxxxxx.",
    ),
    ("files", "import os\ndef faasm_main(): return str(len(os.listdir('/lib')) > 0)\n", "", "True"),
    ("exception", "def faasm_main(): return 1 / 0\n", "", "exception"),
    ("exit", "import os\ndef faasm_main(): os._exit(0)\n", "", ""),
    ("too long", "def faasm_main():\n    while True: pass\n", "", "time-limit"),
    ("too much", "def faasm_main(): bytearray(10**9)\n", "", "memory-limit"),
    ("too loud", "def faasm_main():\n    while True: print('x' * 10_000)\n", "", "output-limit"),
];

fn main() -> ExitCode {
    // `cargo test --benches` runs this, too, to see whether it works.
    let default = if std::env::args().any(|it| it == "--bench") { 600 } else { 5 };
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let runtime = limits().build().expect("the image that was built can be run");
    let mut functions: Vec<(&str, Function, &str, &str)> = CASES
        .iter()
        .map(|(name, source, input, expected)| (*name, load(&runtime, source), *input, *expected))
        .collect();
    let source = function_source("lang_test");
    let lang = runtime.function("python", "lang").source(source).load().expect("a test loads");
    functions.push(("language", lang, "", "*"));

    let failed: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let made: Mutex<usize> = Mutex::default();
    let stop = AtomicBool::new(false);
    let started = Instant::now();
    let callers = 2 * std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    // Calls in flight have tens of MiB at one moment and none at the next, hence medians of many samples.
    const SAMPLES: u32 = 20;
    let mut tenths = Vec::new();
    std::thread::scope(|scope| {
        for caller in 0..callers {
            let (functions, failed, made, stop, runtime) = (&functions, &failed, &made, &stop, &runtime);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(caller as u64);
                while !stop.load(Ordering::Relaxed) {
                    let (name, function, input, expected) = &functions[random.usize(..functions.len())];
                    // Those that are meant to reach the limit are to reach it soon.
                    let limit = Duration::from_millis(if *expected == "time-limit" { 20 } else { 30_000 });
                    let call = function.call(*input).timeout(limit);
                    // On this thread, or on one of the runtime's.
                    let result = if random.bool() {
                        call.wait()
                    } else {
                        pollster::block_on(std::future::IntoFuture::into_future(call))
                    };
                    if let Some(problem) = problem(&result, expected) {
                        let mut failed = failed.lock().unwrap();
                        *failed.entry(format!("{name}: {problem}")).or_default() += 1;
                    }
                    if random.u8(..) == 0 {
                        // Functions come and go.
                        drop(load(runtime, &format!("x = {}\n", random.u64(..))));
                    }
                    *made.lock().unwrap() += 1;
                }
            });
        }
        let total = Duration::from_secs(seconds);
        for tenth in 0..10 {
            let mut samples: Vec<_> = (1..=SAMPLES)
                .map(|sample| {
                    let at = started + total * (tenth * SAMPLES + sample) / (10 * SAMPLES);
                    std::thread::sleep(at.saturating_duration_since(Instant::now()));
                    resident_memory()
                })
                .collect();
            samples.sort_unstable();
            let resident = samples[samples.len() / 2];
            tenths.push(resident);
            let calls = *made.lock().unwrap();
            println!(
                "{:>6.1} s: {calls:>9} calls, {} MiB resident",
                started.elapsed().as_secs_f64(),
                resident >> 20
            );
        }
        stop.store(true, Ordering::Relaxed);
    });
    let failed = failed.into_inner().unwrap();
    let (warm, resident) = (tenths[1], tenths[9]);
    let growth = resident as f64 / warm as f64 - 1.0;
    println!(
        "after warm-up {} MiB, at the end {} MiB ({:+.1} %)",
        warm >> 20,
        resident >> 20,
        growth * 100.0
    );
    println!("{} calls did not end as they should", failed.values().sum::<usize>());
    for (problem, count) in &failed {
        println!("{count} × {problem}");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// What is wrong with how a call has ended.
fn problem(result: &Result<Output, CallFailure>, expected: &str) -> Option<String> {
    match result {
        Ok(output) if expected == "*" || output.output == expected.as_bytes() => None,
        Ok(output) => Some(format!("it returned {:?}", String::from_utf8_lossy(&output.output))),
        Err(failure) if failure.error.kind() == expected => None,
        Err(CallFailure { error: CallError::Busy { .. }, .. }) => Some("busy".to_owned()),
        Err(failure) => Some(failure.to_string()),
    }
}
