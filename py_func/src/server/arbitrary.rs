//! Everything that reads what clients write, given what no client would write: good examples, changed at random.
//!
//! Which changes is the same in every run, unless `FAASM_ARBITRARY_SEED` is another number. `FAASM_ARBITRARY_ROUNDS` says how many there are of
//! each example; a million take some minutes.

use fastrand::Rng;

use super::checks;
use crate::package;

/// Calls `check` with examples and what becomes of them.
fn changed(examples: &[&[u8]], check: impl Fn(&[u8])) {
    let number = |name: &str| std::env::var(name).ok().and_then(|it| it.parse().ok());
    let rounds = number("FAASM_ARBITRARY_ROUNDS").unwrap_or(300);
    let mut random = Rng::with_seed(number("FAASM_ARBITRARY_SEED").unwrap_or(1));
    for example in examples {
        check(example);
        for _ in 0..rounds {
            let mut bytes = example.to_vec();
            for _ in 0..random.usize(1..5) {
                change(&mut bytes, examples, &mut random);
            }
            check(&bytes);
        }
    }
}

/// Changes something.
fn change(bytes: &mut Vec<u8>, examples: &[&[u8]], random: &mut Rng) {
    /// What parsers may take for something special.
    const SPECIAL: [&[u8]; 14] = [
        b"\0",
        b"\xff",
        b"-",
        b"/",
        b"..",
        b",",
        b"%",
        b"\"",
        b"{",
        b" ",
        b"0",
        b"18446744073709551615",
        b"1e999",
        b"\xc3\xa9",
    ];
    let at = random.usize(0..=bytes.len());
    let end = random.usize(at..=bytes.len().min(at + 16));
    let with: Vec<u8> = match random.u8(0..6) {
        0 => Vec::new(),
        1 => vec![random.u8(..)],
        2 => random.choice(SPECIAL).unwrap_or_default().to_vec(),
        3 => bytes[at..end].repeat(2),
        4 => bytes[at..end].iter().map(|byte| byte ^ (1 << random.u8(0..8))).collect(),
        // The end of another example.
        _ => {
            let other = random.choice(examples).copied().unwrap_or_default();
            bytes.truncate(at);
            other[random.usize(0..=other.len())..].to_vec()
        }
    };
    bytes.splice(at..end.min(bytes.len()), with);
}

#[test]
fn ranges() {
    changed(&[b"bytes=0-99", b"bytes=-5", b"bytes=7-", b"bytes=0-1,3-4", b"lines=1-2"], checks::range);
    changed(&[b"bytes 0-99/1000", b"bytes 5-5/*", b"bytes */10"], checks::content_range);
}

#[test]
fn traces() {
    changed(&[b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"], checks::traceparent);
}

#[test]
fn origins_and_hosts() {
    changed(
        &[
            b"localhost:8080",
            b"127.0.0.1",
            b"[::1]:80",
            b"a.localhost",
            b"example.org",
            b"localhost.example.org",
        ],
        checks::host,
    );
}

#[test]
fn token_files() {
    let line = format!("# all\n{} *\n\n{} alice, bob\n", "0".repeat(64), "a1".repeat(32));
    changed(&[line.as_bytes()], checks::tokens);
}

#[test]
fn messages() {
    changed(
        &[
            br#"{"user": "python", "function": "py_func", "py_user": "a", "py_func": "b", "python": true, "input_data": "x"}"#,
            br#"{"user": "a", "function": "b", "async": true, "id": "17", "status": true, "py_entry": null, "flush": false}"#,
            br#"{"status": true, "id": 18446744073709551615}"#,
        ],
        checks::message,
    );
}

#[test]
fn results() {
    let usage = r#"{"wall_time_seconds": 1e-5, "cpu_time_seconds": 0, "memory_bytes": 1, "own_memory_bytes": null, "state_read_bytes": 0, "state_written_bytes": 0, "output_bytes": 3, "chained_calls": 0}"#;
    let returned = format!(
        r#"{{"id": 1, "status": 0, "output": "x", "stdout": {{"base64": "/w=="}}, "stderr": "", "usage": {usage}}}"#
    );
    let failed = format!(
        r#"{{"id": 2, "error": {{"kind": "time-limit", "message": "m", "text": "t", "limit": 1.5}}, "output": "", "stdout": "", "stderr": "", "usage": {usage}}}"#
    );
    changed(&[returned.as_bytes(), failed.as_bytes()], checks::result);
}

#[test]
fn queries() {
    changed(
        &[b"flag&number=5&seconds=1.5", b"flag=false&seconds=1e300", b"a%20b=c+d&number=-1"],
        checks::query,
    );
}

#[test]
fn names_and_paths() {
    changed(&[b"python", b"a.b-c_d", b"..", b"a/b", &[b'x'; 64]], checks::name);
    changed(&[b"a/b.c/d", b"../a", b"/a", b"a/./b", b"a//b/"], checks::path);
}

#[test]
fn archives() {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in [("main.py", "import helper\n"), ("helper.py", "x = 1\n"), ("data.txt", "text")] {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let gzip = package::pack(directory.path()).unwrap();
    let mut tar = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(gzip.as_slice()), &mut tar).unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["main.py", "a/helper.py"] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        std::io::Write::write_all(&mut zip, &[b'#'; 300]).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    changed(&[&gzip, &tar, &zip], checks::archive);
}
