//! `cargo faasm` as far as it needs no image: help, mistakes, new packages.

mod cli_support;

use std::fs;

use cli_support::Place;
use snapbox::cmd::OutputAssert;
use snapbox::str;

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn help() {
    Place::new().faasm("--help").assert().success().stdout_eq(str![]);
}

#[test]
fn help_of_run() {
    Place::new().faasm("run --help").assert().success().stdout_eq(str![]);
}

#[test]
fn the_word_faasm_may_be_left_out() {
    let place = Place::new();
    let with = stdout(&place.faasm("list --help").assert().success());
    let program = snapbox::cmd::Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"));
    let without = stdout(&program.args(["list", "--help"]).assert().success());
    assert_eq!(with, without);
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    for command in ["new", "build", "run", "python", "upload", "invoke", "list", "codegen", "doctor", "cache", "completions"] {
        let text = stdout(&place.faasm(&format!("{command} --help")).assert().success());
        assert!(text.contains(&format!("Usage: cargo faasm {command}")), "{text}");
    }
}

#[test]
fn completions_name_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&place.faasm(&format!("completions {shell}")).assert().success());
        assert!(script.contains("codegen") && script.contains("cargo-faasm"), "{shell}: {script}");
    }
}

#[test]
fn no_such_file() {
    Place::new().faasm("run missing.py").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn no_such_input() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --file missing").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn two_inputs() {
    Place::new().faasm("run f.py --data a --file b").assert().code(2).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn a_limit_without_unit() {
    Place::new().faasm("run f.py --timeout 5").assert().code(2).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn an_unknown_command() {
    Place::new().faasm("uplaod").assert().code(2).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn an_unknown_target() {
    Place::new().faasm("codegen --target pdp11-dec-unix").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn no_such_image() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --image missing").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn not_an_image() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --image .").assert().code(5).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn an_invalid_name() {
    Place::new().faasm("invoke .. hello").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn no_such_function() {
    Place::new().faasm("invoke python hello").assert().code(3).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn nothing_in_the_store() {
    let place = Place::new();
    place.faasm("list").assert().success().stdout_eq("").stderr_eq(str![]);
    place.faasm("list --message-format json").assert().success().stdout_eq("").stderr_eq("");
}

#[test]
fn cargo_arguments_outside_a_package() {
    Place::new().faasm("build -- --release").assert().code(2).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn a_build_without_network_and_cache() {
    let place = Place::new();
    let cache = place.path().join("cache");
    place.faasm("build --offline").env("FAASM_CACHE", &cache).env_remove("WASI_SDK_PATH").assert().code(5).stdout_eq("").stderr_eq(str![]);
}

#[test]
fn an_empty_cache() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let faasm = |arguments: &str| place.faasm(arguments).env("FAASM_CACHE", &cache).assert().success();
    faasm("cache").stdout_eq("").stderr_eq(str![]);
    faasm("cache dir").stdout_eq(format!("{}\n", cache.display()));
    faasm("cache gc --older-than 1d").stdout_eq("").stderr_eq(str![]);
}

#[test]
fn a_cache_that_is_cleaned() {
    let place = Place::new();
    let downloads = place.path().join("cache/downloads");
    fs::create_dir_all(&downloads).unwrap();
    fs::write(downloads.join("file"), [0; 2048]).unwrap();
    let faasm = |arguments: &str| place.faasm(arguments).env("FAASM_CACHE", place.path().join("cache")).assert().success();
    faasm("cache").stdout_eq(str![]);
    faasm("cache gc").stderr_eq(str![]);
    faasm("cache clear --quiet --message-format json").stderr_eq("").stdout_eq(str![]);
    assert!(!downloads.join("file").exists());
}

#[test]
fn a_new_package() {
    let place = Place::new();
    place.faasm("new greeter").assert().success().stdout_eq("").stderr_eq(str![]);
    for file in ["Cargo.toml", "build.rs", "src/main.rs", "tests/hello.rs", "functions/hello.py", ".gitignore"] {
        assert!(place.path().join("greeter").join(file).is_file(), "{file}");
    }
    place.faasm("new greeter").assert().code(3).stderr_eq(str![]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing temporary is left");
}

#[test]
fn a_new_package_with_an_invalid_name() {
    let place = Place::new();
    place.faasm("new ../escape").assert().code(3).stderr_eq(str![]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_broken_package_around() {
    let place = Place::new();
    place.file("Cargo.toml", "[package]\nname = 1\n");
    place.file("f.py", "");
    let assert = place.faasm("run f.py").assert().code(3).stdout_eq("");
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.contains("Cargo.toml") && text.contains("hint: "), "{text}");
}
