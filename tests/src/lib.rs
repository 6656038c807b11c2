//! What the end-to-end tests share: the image they run on, and short ways to load and call functions.

use std::path::Path;
use std::time::Duration;

use faasm_build_support::{Built, Context, GuestSources, Image};
use py_func::{CallError, CallFailure, Error, Function, Output, Runtime, RuntimeBuilder};

/// The directory of the image that the build script of `py_func` built.
pub fn image() -> &'static Path {
    Path::new(env!("FAASM_TEST_IMAGE"))
}

/// An image with NumPy, which is imported in it. The first time it takes minutes.
pub fn numpy_image() -> Result<Built, faasm_build_support::Error> {
    let guest = GuestSources::read(py_func_package())?;
    Image::new(guest).packages(["numpy"]).preload(["numpy"]).build_in(&Context::from_env()?)
}

/// The directory of the package `py_func`.
pub fn py_func_package() -> &'static Path {
    Path::new(env!("FAASM_TEST_PY_FUNC"))
}

/// The source of a function in `tests/functions`, named without `.py`.
pub fn function_source(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("functions/{name}.py"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A runtime whose limits a misbehaving function reaches soon and a busy machine does not.
pub fn runtime() -> Runtime {
    limits().build().expect("the image that was built can be run")
}

/// The settings of [`runtime`], for tests that change one.
pub fn limits() -> RuntimeBuilder {
    Runtime::builder()
        .image(image())
        .memory_limit(128 << 20)
        .timeout(Duration::from_secs(30))
        .output_limit(4 << 20)
}

/// Loads a function that must load.
#[track_caller]
pub fn load(runtime: &Runtime, source: &str) -> Function {
    match runtime.function("python", "f").source(source).load() {
        Ok(function) => function,
        Err(error) => panic!("{}\n--- of\n{source}", chain(&error)),
    }
}

/// Why a function did not load, which it must not, although nothing but its own code is wrong.
#[track_caller]
pub fn load_failure(runtime: &Runtime, source: &str) -> CallFailure {
    match runtime.function("python", "f").source(source).load() {
        Ok(_) => panic!("this was loaded:\n{source}"),
        Err(Error::Load { source, .. }) => source,
        Err(error) => panic!("{}", chain(&error)),
    }
}

/// Makes a call that must return.
#[track_caller]
pub fn call(function: &Function, input: &[u8]) -> Output {
    match function.call(input).wait() {
        Ok(output) => output,
        Err(failure) => panic!("{failure}\n--- stderr\n{}", text(&failure.stderr)),
    }
}

/// The output, as text, of a function that is loaded and called once without input.
#[track_caller]
pub fn run(runtime: &Runtime, source: &str) -> String {
    text(&call(&load(runtime, source), b"").output).to_owned()
}

/// What ended the call of a function that is loaded, called once, and must not return.
#[track_caller]
pub fn run_failure(runtime: &Runtime, source: &str) -> CallFailure {
    match load(runtime, source).call("").wait() {
        Ok(output) => panic!("this returned {output:?}:\n{source}"),
        Err(failure) => failure,
    }
}

/// The traceback of a failure that must be an exception.
#[track_caller]
pub fn traceback(failure: &CallFailure) -> &str {
    match &failure.error {
        CallError::Exception { traceback } => traceback,
        error => panic!("this is no exception: {error}"),
    }
}

/// Bytes that must be UTF-8.
#[track_caller]
pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the bytes are text")
}

/// An error as people see it: `failed to`, the message, and its causes, each after a colon.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    format!("failed to {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

/// The memory that this process has in use, in bytes; zero where the system does not say.
pub fn resident_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    status.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4096
}
