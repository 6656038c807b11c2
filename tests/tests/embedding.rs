//! `py_func` within a program: on tokio, from many threads, in several runtimes, and as a dependency of a crate outside of
//! the workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use faasm_tests::{call, limits, load, run, runtime, text};
use py_func::{CallError, Function};
use tokio::task::JoinSet;

const SQUARE: &str = "calls = 0\ndef faasm_main(data):\n    global calls\n    calls += 1\n    return f'{int(data) ** 2} {calls}'\n";

/// Runs a future on tokio with so many threads besides this one. `#[tokio::test]` would do it too, but its feature of tokio would
/// have everything that depends on tokio compiled twice, for build scripts and for the rest.
fn on_tokio(workers: usize, future: impl Future<Output = ()>) {
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if workers > 0 {
        builder.worker_threads(workers);
    }
    builder.enable_time().build().unwrap().block_on(future);
}

async fn many_calls(function: Function) {
    let mut tasks = JoinSet::new();
    for number in 0..200_u32 {
        let function = function.clone();
        tasks.spawn(async move { (number, function.call(number.to_string()).await.unwrap()) });
    }
    let mut done = 0;
    while let Some(result) = tasks.join_next().await {
        let (number, output) = result.unwrap();
        assert_eq!(text(&output.output), format!("{} 1", number * number));
        done += 1;
    }
    assert_eq!(done, 200);
}

#[test]
fn many_calls_on_many_threads() {
    on_tokio(4, many_calls(load(&runtime(), SQUARE)));
}

#[test]
fn many_calls_on_one_thread() {
    on_tokio(0, many_calls(load(&runtime(), SQUARE)));
}

#[test]
fn a_call_that_computes_does_not_hold_up_the_event_loop() {
    on_tokio(0, async {
        let busy = load(&runtime(), "def faasm_main():\n    while True: pass\n");
        let call = tokio::spawn(async move { busy.call("").timeout(Duration::from_secs(60)).await });
        // If the call ran on this thread, the ticks would only come after it.
        let mut ticks = 0;
        while !call.is_finished() && ticks < 50 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ticks += 1;
        }
        assert_eq!(ticks, 50);
        call.abort();
    });
}

#[test]
fn calls_and_functions_can_go_anywhere() {
    on_tokio(2, async {
        fn assert_send_sync<T: Send + Sync>(_: &T) {}
        let runtime = runtime();
        let function = load(&runtime, SQUARE);
        assert_send_sync(&runtime);
        assert_send_sync(&function);
        let task = tokio::spawn(async move {
            let output = function.call("3").await.unwrap();
            drop(runtime);
            (function, output)
        });
        let (function, output) = task.await.unwrap();
        assert_eq!(text(&output.output), "9 1");
        assert_eq!(text(&function.call("4").await.unwrap().output), "16 1");
    });
}

#[test]
fn a_future_that_is_dropped_costs_no_thread() {
    on_tokio(0, async {
        // One thread: if a dropped call kept it, nothing would run any more.
        let runtime = limits().threads(1.try_into().unwrap()).build().unwrap();
        let slow = load(&runtime, "def faasm_main():\n    for _ in range(10**6): pass\n    return 'slow'\n");
        for _ in 0..5 {
            // Dropped before it was polled, while it runs, and by a timeout.
            drop(slow.call(""));
            let mut future = Box::pin(std::future::IntoFuture::into_future(slow.call("")));
            let _ = tokio::time::timeout(Duration::from_millis(1), &mut future).await;
            drop(future);
        }
        assert_eq!(text(&slow.call("").await.unwrap().output), "slow");
    });
}

#[test]
fn runtimes_do_not_know_each_other() {
    let small = limits().memory_limit(64 << 20).output_limit(1 << 10).build().unwrap();
    let large = limits().memory_limit(256 << 20).build().unwrap();
    let source = "def faasm_main(data): return str(len(bytes(int(data))))\n";
    let (on_small, on_large) = (load(&small, source), load(&large, source));
    let hundred = (100 << 20).to_string();
    assert_eq!(text(&call(&on_large, hundred.as_bytes()).output), hundred);
    assert!(matches!(on_small.call(&*hundred).wait().unwrap_err().error, CallError::MemoryLimit { .. }));
    drop(large);
    assert_eq!(text(&call(&on_small, b"5").output), "5");
    // A function keeps what it needs of its runtime.
    assert_eq!(text(&call(&on_large, hundred.as_bytes()).output), hundred);
}

#[test]
fn clones_may_be_dropped_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let runtime = runtime();
        let function = load(&runtime, SQUARE);
        let (other_runtime, other_function) = (runtime.clone(), function.clone());
        let mut parts: Vec<Option<Box<dyn std::any::Any>>> =
            vec![Some(Box::new(runtime)), Some(Box::new(function)), Some(Box::new(other_runtime))];
        for part in order {
            parts[part] = None;
            assert_eq!(text(&call(&other_function, b"2").output), "4 1", "{order:?}");
        }
    }
}

#[test]
fn functions_load_while_others_do() {
    const THREADS: usize = 8;
    let runtime = runtime();
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (runtime, barrier) = (&runtime, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for round in 0..10 {
                    let source = format!(
                        "import json\nVALUE = {number}, {round}\ndef faasm_main(): return json.dumps(VALUE)\n"
                    );
                    let function =
                        runtime.function("python", &format!("f{number}")).source(source).load().unwrap();
                    assert_eq!(text(&call(&function, b"").output), format!("[{number}, {round}]"));
                }
            });
        }
    });
}

#[test]
fn many_functions_at_once() {
    let runtime = runtime();
    let functions: Vec<Function> =
        (0..100).map(|n| load(&runtime, &format!("x = {n}\ndef faasm_main(): return str(x)\n"))).collect();
    for _ in 0..3 {
        for (number, function) in functions.iter().enumerate() {
            assert_eq!(text(&call(function, b"").output), number.to_string());
        }
    }
}

#[test]
fn functions_know_their_names() {
    let function = runtime().function("alice", "greet.v1").source("def faasm_main(): pass").load().unwrap();
    assert_eq!((function.user(), function.name()), ("alice", "greet.v1"));
}

#[test]
fn usage_is_of_this_call() {
    let function = load(&runtime(), "def faasm_main(data): x = bytes(int(data))\n");
    let small = call(&function, b"0").usage.memory;
    let large = call(&function, (32 << 20).to_string().as_bytes()).usage.memory;
    // Some of it was there already.
    assert!(large >= small + (24 << 20), "{small} and {large}");
    assert_eq!(call(&function, b"0").usage.memory, small);
}

#[test]
fn a_runtime_runs_on_a_thread_with_little_stack() {
    let small = thread::Builder::new().stack_size(256 << 10);
    let check = || assert_eq!(run(&runtime(), "def faasm_main(): return 'enough'"), "enough");
    small.spawn(check).unwrap().join().unwrap();
}

const MANIFEST: &str = r#"[package]
name = "outside"
version = "0.1.0"
edition = "2024"

[dependencies]
py_func = { path = "PY_FUNC" }

# As the workspace has it, so that dependencies are compiled once, and with optimisation.
PROFILES
[workspace]
"#;

const MAIN: &str = r#"fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = py_func::Runtime::new()?;
    let hello = runtime.function("python", "hello").source("def faasm_main(name): return b'Hello, ' + name").load()?;
    println!("{}", String::from_utf8(hello.call("outside").wait()?.output)?);
    Ok(())
}
"#;

/// A crate that is no member of the workspace and depends on `py_func`.
fn crate_outside() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
    let profiles = &manifest[manifest.find("[profile.").unwrap()..];
    let py_func = faasm_tests::py_func_package().to_str().unwrap();

    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside");
    fs::create_dir_all(directory.join("src")).unwrap();
    let write = |name: &str, text: &str| {
        // Cargo goes by the time of a file, so one that is as it should be is not touched.
        let path = directory.join(name);
        if fs::read_to_string(&path).ok().as_deref() != Some(text) {
            fs::write(path, text).unwrap();
        }
    };
    write("Cargo.toml", &MANIFEST.replace("PY_FUNC", py_func).replace("PROFILES", profiles));
    write("src/main.rs", MAIN);
    // Without it, Cargo would look for newer versions. It takes out what this crate does not need.
    fs::copy(workspace.join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    directory
}

/// Runs Cargo and answers its two outputs. The crate shares the workspace's dependencies, compiled.
#[track_caller]
fn cargo(directory: &Path, arguments: &[&str]) -> (String, String) {
    let mut cargo = Command::new(env!("CARGO"));
    let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    cargo.args(arguments).current_dir(directory);
    cargo.env("CARGO_TARGET_DIR", directory.join("target")).env("CARGO_BUILD_BUILD_DIR", compiled);
    // Cargo set these for the tests, and they are not true of the other crate.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    let output = cargo.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    (String::from_utf8(output.stdout).unwrap(), stderr)
}

#[test]
fn a_crate_outside_of_the_workspace() {
    let directory = crate_outside();
    let (stdout, _) = cargo(&directory, &["run", "--offline"]);
    assert_eq!(stdout, "Hello, outside\n");

    // With nothing changed no build script runs again, nor is anything compiled.
    let (_, stderr) = cargo(&directory, &["build", "--offline", "--verbose"]);
    for name in ["py_func", "outside"] {
        assert!(stderr.contains(&format!("Fresh {name} v")), "{stderr}");
    }
    for word in ["Compiling", "Dirty", "Running"] {
        assert!(!stderr.contains(&format!("{word} ")), "{stderr}");
    }
}
