//! The packages `faasm` and `pyfaasm` in an ordinary Python, where an emulator stands in for the host: their unit tests, run by the
//! Python that the image was built with.

use std::process::Command;

use faasm_build_support::{Context, cpython};
use faasm_tests::py_func_package;

#[test]
fn unit_tests_pass_in_local_mode() {
    let python = cpython::native(&Context::from_env().unwrap()).unwrap();
    let output = Command::new(python.python())
        .args(["-W", "error", "-m", "unittest", "discover", "-s"])
        .arg(py_func_package().join("python_tests"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    // A run that finds no tests is no success.
    let count =
        text.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(count >= Some(50), "{text}");
}
