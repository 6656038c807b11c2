//! The interpreter in the sandbox against the native Python of the same build: `cargo bench -p faasm-tests --bench
//! interpreter`. Prints for each case the lowest times and their ratio, and the ratios' geometric mean. Nothing is asserted
//! but that both sides have the same results.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use faasm_build_support::{Context, cpython};
use faasm_tests::{limits, load, text};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this, too, to see whether it works.
    let rounds = if std::env::args().any(|it| it == "--bench") { 7 } else { 1 };
    let runtime = limits().memory_limit(512 << 20).timeout(Duration::from_secs(120)).build()?;
    let sandboxed = load(&runtime, include_str!("interpreter.py"));
    let mut native = Native::start(&cpython::native(&Context::from_env()?)?.python())?;

    println!("{:<14} {:>10} {:>10} {:>7}", "", "sandbox", "native", "ratio");
    let mut logarithms = Vec::new();
    let names = sandboxed.call("").entry("names").wait()?.output;
    for name in text(&names).lines() {
        let (mut ours, mut theirs) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..rounds {
            // In turn, so that whatever else the machine does meets both.
            let (seconds, result) = parse(text(&sandboxed.call(name).wait()?.output));
            let line = native.run(name)?;
            let (native_seconds, native_result) = parse(&line);
            assert_eq!(result, native_result, "{name}");
            (ours, theirs) = (ours.min(seconds), theirs.min(native_seconds));
        }
        println!("{name:<14} {:>7.1} ms {:>7.1} ms {:>7.2}", ours * 1e3, theirs * 1e3, ours / theirs);
        logarithms.push((ours / theirs).ln());
    }
    let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
    println!("{:<14} {:>10} {:>10} {mean:>7.2}", "geometric mean", "", "");
    Ok(())
}

fn parse(line: &str) -> (f64, String) {
    let (seconds, result) = line.split_once(' ').expect("a time and a result");
    (seconds.parse().expect("a time is a number"), result.to_owned())
}

/// The native Python with the cases, one process for all of them.
struct Native {
    child: Child,
    names: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Native {
    fn start(python: &Path) -> std::io::Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/interpreter.py");
        let mut child = Command::new(python)
            .args(["-I", "-S"])
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (names, answers) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut native = Self { child, names, answers: BufReader::new(answers) };
        // The names of all cases, ended by an empty line.
        while !native.read()?.is_empty() {}
        Ok(native)
    }

    fn run(&mut self, name: &str) -> std::io::Result<String> {
        writeln!(self.names, "{name}")?;
        self.read()
    }

    fn read(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            return Err(std::io::Error::other("the native Python ended"));
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
