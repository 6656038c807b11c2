//! Images that were damaged, or made by another version: each is refused with what is wrong, where, and what to do.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use faasm_tests::{chain, image, limits, run};
use serde_json::{Value, json};
use tempfile::TempDir;

const FILES: [&str; 5] = ["manifest.json", "py_func.wasm", "py_func.cwasm", "boot.mem", "base.mem"];

/// A copy of the image, to be damaged. Its library, which is not checked, is that of the original.
fn copy() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in FILES {
        fs::copy(image().join(file), directory.path().join(file)).unwrap();
    }
    symlink(image().join("root"), directory.path().join("root")).unwrap();
    directory
}

fn open(directory: &Path) -> Result<(), py_func::Error> {
    let runtime = limits().image(directory).build()?;
    assert_eq!(run(&runtime, "import json\ndef faasm_main(): return json.dumps([1])"), "[1]");
    Ok(())
}

/// The image must be refused, with these words in the message, and the hint to build it again.
#[track_caller]
fn assert_refused(directory: &Path, expected: &[&str]) {
    let error = open(directory).unwrap_err();
    let text = chain(&error);
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("cargo faasm build"), "{text} has the hint {hint:?}");
}

#[test]
fn a_whole_copy_is_taken() {
    open(copy().path()).unwrap();
}

#[test]
fn truncated_files() {
    let directory = copy();
    for name in FILES {
        let path = directory.path().join(name);
        let full = fs::metadata(&path).unwrap().len();
        for length in [0, 1, full / 2, full - 2] {
            File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            assert_refused(directory.path(), &[name]);
        }
        fs::copy(image().join(name), &path).unwrap();
        open(directory.path()).unwrap();
    }
}

#[test]
fn missing_files() {
    let directory = copy();
    for name in FILES {
        let path = directory.path().join(name);
        fs::remove_file(&path).unwrap();
        assert_refused(directory.path(), &[name]);
        fs::copy(image().join(name), &path).unwrap();
    }
}

#[test]
fn a_missing_library() {
    let directory = copy();
    fs::remove_file(directory.path().join("root")).unwrap();
    assert_refused(directory.path(), &["root"]);
}

#[test]
fn no_image_at_all() {
    let directory = tempfile::tempdir().unwrap();
    assert_refused(directory.path(), &["find an image in", directory.path().to_str().unwrap()]);
    assert_refused(&directory.path().join("nowhere"), &["find an image in", "nowhere"]);
}

#[test]
fn files_that_are_too_long() {
    let directory = copy();
    for name in FILES.into_iter().filter(|name| *name != "manifest.json") {
        let path = directory.path().join(name);
        let full = fs::metadata(&path).unwrap().len();
        File::options().write(true).open(&path).unwrap().set_len(full + 65536).unwrap();
        assert_refused(directory.path(), &[name, "bytes where the manifest says"]);
        fs::copy(image().join(name), &path).unwrap();
    }
}

#[test]
fn manifests_that_say_something_else() {
    let directory = copy();
    let original: Value = serde_json::from_slice(&fs::read(image().join("manifest.json")).unwrap()).unwrap();
    let cases = [
        ("/format", json!(999), "format 999"),
        ("/format", json!("one"), "manifest.json"),
        ("/format", Value::Null, "manifest.json"),
        ("/code/engine", json!("1.0.0"), "engine version 1.0.0"),
        ("/code/backend", json!("wasm2c"), "backend wasm2c"),
        ("/code/target", json!("riscv64gc-unknown-linux-gnu"), "target riscv64gc-unknown-linux-gnu"),
        ("/code/target", json!("nonsense"), "target nonsense"),
        ("/code/settings", json!("00"), "engine settings 00"),
        ("/code/file", json!("/etc/passwd"), "/etc/passwd"),
        ("/base/file", json!("../base.mem"), "../base.mem"),
        ("/base/file", json!(""), "not a plain file name"),
        ("/base/len", json!(65536), "base.mem"),
        ("/base", json!([]), "manifest.json"),
        ("/inputs", json!(5), "manifest.json"),
    ];
    let path = directory.path().join("manifest.json");
    for (pointer, value, expected) in cases {
        let mut manifest = original.clone();
        *manifest.pointer_mut(pointer).unwrap() = value;
        fs::write(&path, manifest.to_string()).unwrap();
        assert_refused(directory.path(), &[expected]);
    }
    for text in ["", "{", "[]", "null", "{\"format\": 1}"] {
        fs::write(&path, text).unwrap();
        assert_refused(directory.path(), &["manifest.json"]);
    }
    fs::write(&path, original.to_string()).unwrap();
    open(directory.path()).unwrap();
}

#[test]
fn machine_code_of_the_right_length_that_is_none() {
    let directory = copy();
    let path = directory.path().join("py_func.cwasm");
    let length = fs::metadata(&path).unwrap().len() as usize;
    for content in [vec![0; length], vec![b'x'; length], fs::read("/proc/self/exe").unwrap()] {
        let mut content = content;
        content.resize(length, 0);
        fs::write(&path, content).unwrap();
        assert_refused(directory.path(), &["load the machine code", "py_func.cwasm"]);
    }
}

#[test]
fn changed_content_is_found_when_it_is_looked_for() {
    use std::os::unix::fs::FileExt as _;

    let directory = copy();
    for name in FILES.into_iter().filter(|name| *name != "manifest.json") {
        let path = directory.path().join(name);
        let file = File::options().read(true).write(true).open(&path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 5000).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
        let error = faasm_image::Image::open(directory.path()).unwrap().verify().unwrap_err();
        assert!(chain(&error).contains(name), "{error}");
        assert_eq!(error.hint(), Some("run `cargo faasm build` again"));
        file.write_all_at(&byte, 5000).unwrap();
        faasm_image::Image::open(directory.path()).unwrap().verify().unwrap();
    }
}
