//! Calls with NumPy and its kernels: `cargo bench -p faasm-tests --bench numpy`. Where `FAASM_NUMPY_PYTHON` names a native
//! Python with NumPy, the kernels run there in turn, too, and the ratios are shown. Nothing is asserted.

use std::process::Command;
use std::time::{Duration, Instant};

use faasm_tests::{image, load, numpy_image, text};
use py_func::{Function, Runtime};

/// Functions whose calls are measured, on the image with NumPy.
const CALLS: [(&str, &str); 4] = [
    ("no-op", "def faasm_main(): pass\n"),
    ("no-op, NumPy used at import", "import numpy\nA = numpy.eye(3)\ndef faasm_main(): pass\n"),
    ("solve 3×3", SOLVE),
    ("random(10)", "import numpy\ndef faasm_main(): numpy.random.random(10)\n"),
];
const SOLVE: &str = "import numpy as np\nA = np.array([[4.0, 1, 2], [1, 5, 3], [2, 3, 6]])\n\
                     def faasm_main(): return np.linalg.solve(A, [1.0, 2.0, 3.0]).tobytes()\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo test --benches` runs this, too, to see whether it works.
    let rounds = if std::env::args().any(|it| it == "--bench") { 3000 } else { 10 };
    let plain = Runtime::builder().image(image()).build()?;
    let built = numpy_image()?;
    let builder = Runtime::builder().image(built.directory()).memory_limit(1 << 30);
    let runtime = builder.timeout(Duration::from_secs(120)).build()?;

    println!("{:<44} {:>10} {:>10}", "", "p50", "p95");
    calls("no-op, an image without packages", &load(&plain, CALLS[0].1), rounds);
    for (name, source) in CALLS {
        calls(name, &load(&runtime, source), rounds);
    }
    for (name, source) in [CALLS[0], CALLS[2]] {
        let functions: Vec<Function> = (0..rounds / 50 + 10).map(|_| load(&runtime, source)).collect();
        report(&format!("{name}, first call of a function"), functions.iter().map(time).collect());
    }
    kernels(&runtime, if rounds > 10 { 5 } else { 1 })
}

fn calls(name: &str, function: &Function, rounds: usize) {
    report(name, (0..rounds + 10).map(|_| time(function)).collect());
}

/// How long a call takes the caller.
fn time(function: &Function) -> Duration {
    let started = Instant::now();
    drop(function.call("").wait());
    started.elapsed()
}

fn report(name: &str, mut times: Vec<Duration>) {
    // The first ones fault pages in.
    times.drain(..times.len().min(10) / 2);
    times.sort();
    let at = |share: usize| format!("{:.1} µs", times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6);
    println!("{name:<44} {:>10} {:>10}", at(50), at(95));
}

/// The lowest times of the kernels in `numpy.py`, in the sandbox and outside.
fn kernels(runtime: &Runtime, rounds: usize) -> Result<(), Box<dyn std::error::Error>> {
    let source = include_str!("numpy.py");
    let function = load(runtime, source);
    let python = std::env::var_os("FAASM_NUMPY_PYTHON");
    let mut lowest: Vec<(String, f64, f64)> = Vec::new();
    for _ in 0..rounds {
        // In turn, so that whatever else the machine does meets both.
        let ours = function.call("").wait()?.output;
        let theirs = match &python {
            Some(python) => Command::new(python).args(["-c", source]).output()?.stdout,
            None => Vec::new(),
        };
        for (number, line) in text(&ours).lines().enumerate() {
            let (name, seconds) = line.split_once(' ').ok_or("a line has no time")?;
            let native = text(&theirs).lines().nth(number).and_then(|it| it.split_once(' ')?.1.parse().ok());
            let (seconds, native) = (seconds.parse()?, native.unwrap_or(f64::NAN));
            match lowest.get_mut(number) {
                Some((_, ours, theirs)) => (*ours, *theirs) = (ours.min(seconds), theirs.min(native)),
                None => lowest.push((name.to_owned(), seconds, native)),
            }
        }
    }
    println!("\n{:<16} {:>12} {:>12} {:>7}", "", "sandbox", "native", "ratio");
    for (name, ours, theirs) in lowest {
        println!("{name:<16} {:>9.3} ms {:>9.3} ms {:>7.2}", ours * 1e3, theirs * 1e3, ours / theirs);
    }
    Ok(())
}
