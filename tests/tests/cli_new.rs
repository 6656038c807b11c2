//! A package made by `cargo faasm new`: it builds, its image is laid out, and its own test passes.

mod cli_support;

use std::fs;
use std::path::Path;
use std::process::Command;

use cli_support::Place;
use snapbox::cmd::OutputAssert;

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn a_new_package_builds_and_passes_its_test() {
    let place = Place::new();
    place.faasm("new greeter").assert().success();
    let package = place.path().join("greeter");
    // The versions that this workspace was tested with, and the place where it has compiled them.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock");
    place.file("greeter/Cargo.lock", fs::read(lock).unwrap());
    let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let target = place.path().join("target");
    let faasm = |arguments: &str| {
        let command = place.faasm(arguments).current_dir(&package);
        command.env("CARGO_TARGET_DIR", &target).env("CARGO_BUILD_BUILD_DIR", compiled).assert().success()
    };

    let image = target.join("faasm");
    assert_eq!(stdout(&faasm("build")), format!("{}\n", image.display()));
    for file in
        ["py_func.wasm", "py_func.cwasm", "boot.mem", "base.mem", "manifest.json", "root/lib/python3.13"]
    {
        assert!(image.join(file).exists(), "{file}");
    }
    let output = stdout(&faasm("run functions/hello.py --data you"));
    assert_eq!(output, "Hello, you! This is Python 3.13.5 in a sandbox.");

    // An image that was removed is laid out again, although Cargo has nothing to do.
    fs::remove_dir_all(&image).unwrap();
    faasm("build --quiet");
    assert!(image.join("manifest.json").exists());

    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let test = cargo
        .args(["test", "--quiet"])
        .current_dir(&package)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_BUILD_BUILD_DIR", compiled)
        .output()
        .unwrap();
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stderr));
    assert!(String::from_utf8_lossy(&test.stdout).contains("1 passed"));
}
