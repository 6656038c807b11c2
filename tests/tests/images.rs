//! Images of functions that are kept on disk.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use faasm_tests::{call, limits};
use py_func::{Function, Runtime, RuntimeBuilder};

/// Says whether the import was done in this process: what it prints then is only in the output of that import.
const SOURCE: &str = r#"
import faasm, random

faasm.state.append("imports", b"x")
drawn = random.random()

def faasm_main():
    return f"{len(faasm.state.appended('imports'))} {drawn} {random.random()}"
"#;

fn build(builder: RuntimeBuilder, directory: &Path) -> Runtime {
    builder.images(directory).build().unwrap()
}

fn load(runtime: &Runtime, source: &str) -> Function {
    runtime.function("python", "f").source(source).load().unwrap()
}

fn words(function: &Function) -> Vec<String> {
    let output = String::from_utf8(call(function, b"").output).unwrap();
    output.split(' ').map(str::to_owned).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_was_imported_is_not_imported_again() {
    let directory = tempfile::tempdir().unwrap();
    let first = words(&load(&build(limits(), directory.path()), SOURCE));
    // Another runtime, with state of its own, in which nobody has imported anything.
    let second = words(&load(&build(limits(), directory.path()), SOURCE));
    assert_eq!((first[0].as_str(), second[0].as_str()), ("1", "0"));
    assert_eq!(first[1], second[1], "what the import drew");
    assert_ne!(first[2], second[2], "what the calls drew");
    assert_eq!(files(directory.path()).len(), 1);
    let size = fs::metadata(&files(directory.path())[0]).unwrap().len();
    assert!(size < 1 << 20, "{size} bytes");
}

#[test]
fn everything_that_an_import_sees_makes_another_image() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = build(limits(), directory.path());
    let load =
        |user: &str, name: &str, source: &str| runtime.function(user, name).source(source).load().unwrap();
    for (user, name, source) in
        [("a", "f", "x = 1"), ("b", "f", "x = 1"), ("a", "g", "x = 1"), ("a", "f", "x = 2")]
    {
        load(user, name, source);
    }
    assert_eq!(files(directory.path()).len(), 4);
    runtime.function("a", "f").source("x = 1").file("h.py").load().unwrap();
    runtime.function("a", "f").source("x = 1").entry("main").load().unwrap();
    assert_eq!(files(directory.path()).len(), 6);
    build(limits().config("flag", "1"), directory.path()).function("a", "f").source("x = 1").load().unwrap();
    assert_eq!(files(directory.path()).len(), 7);
    load("a", "f", "x = 1");
    assert_eq!(files(directory.path()).len(), 7);
}

#[test]
fn damaged_images_are_made_again() {
    let directory = tempfile::tempdir().unwrap();
    words(&load(&build(limits(), directory.path()), SOURCE));
    let path = &files(directory.path())[0];
    let whole = fs::read(path).unwrap();
    for at in [0, 50, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        for content in [&damaged[..], &whole[..at]] {
            fs::write(path, content).unwrap();
            let words = words(&load(&build(limits(), directory.path()), SOURCE));
            assert_eq!(words[0], "1", "damaged at {at}, it was not imported again");
        }
    }
    assert_eq!(files(directory.path()).len(), 1);
}

#[test]
fn an_import_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = build(limits(), directory.path());
    assert!(runtime.function("python", "f").source("1 / 0").load().is_err());
    assert_eq!(files(directory.path()), [] as [PathBuf; 0]);
}

/// Set in the process that is killed: where it keeps its images.
const VICTIM: &str = "FAASM_TEST_IMAGES";

#[test]
fn a_process_that_is_killed_leaves_no_image_that_is_wrong() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        load_until_killed(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    let mut most = 0;
    for round in 0..8 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process_that_is_killed_leaves_no_image_that_is_wrong", "--nocapture"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(victim.stdout.take().unwrap());
        // Of a line that is cut off the number is not to be believed.
        let loaded = std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines
                .filter_map(|line| line.split_once("loaded ")?.1.strip_suffix('.')?.parse::<usize>().ok())
                .last()
        });
        // Some while they start, most while they make images.
        std::thread::sleep(Duration::from_millis(random.u64(..1200)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        most = loaded.join().unwrap().map_or(most, |number| most.max(number));

        let runtime = build(limits(), directory.path());
        for number in 1..=most + 1 {
            let words = words(&load(&runtime, &numbered(number)));
            assert_eq!(words[1..], [number.to_string(), (1000 + number).to_string()], "round {round}");
            // Of the one that was being made, nobody knows.
            assert!(number > most || words[0] == "0", "round {round}: {number} was imported again");
        }
        most += 1;
    }
    assert!(most > 8, "the processes were killed before they made an image");
}

/// A function with an image of some size, that says whether it was imported in this process, and what was in its image.
fn numbered(number: usize) -> String {
    format!(
        "import faasm\nfaasm.state.append('imports {number}', b'x')\n\
         numbers = list(range(1000, 21_000))\n\
         def faasm_main():\n    \
             imported = len(faasm.state.appended('imports {number}'))\n    \
             assert numbers == list(range(1000, 21_000))\n    \
             return f'{{imported}} {number} {{numbers[{number}]}}'\n"
    )
}

fn load_until_killed(directory: &Path) -> ! {
    let runtime = build(limits(), directory);
    let mut number = 0;
    loop {
        number += 1;
        load(&runtime, &numbered(number));
        println!("loaded {number}.");
    }
}
