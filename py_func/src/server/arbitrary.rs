//! Everything that reads what clients write, given what no client would write: good examples, changed at random.
//!
//! Which changes is the same in every run, unless `FAASM_ARBITRARY_SEED` is another number. `FAASM_ARBITRARY_ROUNDS` says how many there are of
//! each example; a million take some minutes.

use std::path::Component;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use fastrand::Rng;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::extract::{Query, flag, parsed, seconds};
use super::routes::{Message, clean_path};
use super::{access, range, tokens, trace, wire};
use crate::function::is_valid_name;
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

/// The same with headers. What can be none never gets to a parser.
fn changed_headers(examples: &[&str], check: impl Fn(&HeaderValue)) {
    let examples: Vec<&[u8]> = examples.iter().map(|it| it.as_bytes()).collect();
    changed(&examples, |bytes| {
        if let Ok(value) = HeaderValue::from_bytes(bytes) {
            check(&value);
        }
    });
}

fn changed_texts(examples: &[&str], check: impl Fn(&str)) {
    let examples: Vec<&[u8]> = examples.iter().map(|it| it.as_bytes()).collect();
    changed(&examples, |bytes| check(&String::from_utf8_lossy(bytes)));
}

#[test]
fn ranges() {
    changed_headers(&["bytes=0-99", "bytes=-5", "bytes=7-", "bytes=0-1,3-4", "lines=1-2"], |value| {
        for size in [0, 1, 10, u64::MAX] {
            match range::requested(Some(value), size) {
                Ok(None) => (),
                Ok(Some(part)) => assert!(part.start < part.end && part.end <= size, "{value:?} {part:?}"),
                Err(problem) => assert!([400, 416].contains(&problem.status().as_u16()), "{value:?}"),
            }
        }
    });
    changed_headers(&["bytes 0-99/1000", "bytes 5-5/*", "bytes */10"], |value| {
        match range::written(Some(value)) {
            Ok(part) => {
                let part = part.unwrap();
                let end = part.start.checked_add(part.length).unwrap();
                assert!(part.length > 0 && part.total.is_none_or(|total| end <= total), "{value:?} {part:?}");
            }
            Err(problem) => assert_eq!(problem.status(), 400, "{value:?}"),
        }
    });
}

#[test]
fn traces() {
    let example = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    changed_headers(&[example], |value| {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", value.clone());
        if let Some(context) = trace::given(&headers) {
            // What was understood is what was said.
            assert_eq!(context.header()[2..53], value.to_str().unwrap()[2..53]);
        }
    });
}

#[test]
fn origins_and_hosts() {
    let hosts =
        ["localhost:8080", "127.0.0.1", "[::1]:80", "a.localhost", "example.org", "localhost.example.org"];
    changed_headers(&hosts, |value| {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, value.clone());
        if access::is_local(&headers) {
            let host = value.to_str().unwrap();
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            let digits = host.contains(|c: char| c.is_ascii_digit());
            assert!(
                name.ends_with("localhost") || host.ends_with("localhost") || digits || host.contains("::"),
                "{host}"
            );
        }
    });
}

#[test]
fn token_files() {
    let line = format!("# all\n{} *\n\n{} alice, bob\n", "0".repeat(64), "a1".repeat(32));
    changed_texts(&[&line], |text| {
        // It says which users there are only if all names can be names.
        if let Ok(users) = tokens::users(text) {
            assert!(users.iter().all(|name| is_valid_name(name)), "{text:?}");
        }
    });
}

#[test]
fn messages() {
    let examples = [
        r#"{"user": "python", "function": "py_func", "py_user": "a", "py_func": "b", "python": true, "input_data": "x"}"#,
        r#"{"user": "a", "function": "b", "async": true, "id": "17", "status": true, "py_entry": null, "flush": false}"#,
        r#"{"status": true, "id": 18446744073709551615}"#,
    ];
    let examples: Vec<&[u8]> = examples.iter().map(|it| it.as_bytes()).collect();
    changed(&examples, |bytes| {
        let message: Result<Message, _> = serde_json::from_slice(bytes);
        assert!(message.is_err() || serde_json::from_slice::<IgnoredAny>(bytes).is_ok());
    });
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
    changed(&[returned.as_bytes(), failed.as_bytes()], |bytes| {
        if let Ok(result) = serde_json::from_slice::<wire::CallResult>(bytes) {
            // A client makes of it what it can.
            let _ = result.into_result();
        }
    });
}

#[test]
fn queries() {
    #[derive(Deserialize)]
    struct All {
        #[serde(default, deserialize_with = "flag")]
        flag: bool,
        #[serde(default, deserialize_with = "parsed")]
        number: Option<u64>,
        #[serde(default, deserialize_with = "seconds")]
        seconds: Option<std::time::Duration>,
    }
    changed_texts(
        &["flag&number=5&seconds=1.5", "flag=false&seconds=1e300", "a%20b=c+d&number=-1"],
        |text| {
            let Ok(uri) = Uri::try_from(format!("/?{text}")) else { return };
            if let Ok(Query(all)) = Query::<All>::of(&uri) {
                assert!(!all.flag || text.contains("flag"), "{text}");
                assert!(all.number.is_none() || text.contains("number"), "{text}");
                assert!(all.seconds.is_none_or(|it| it.as_secs() <= 3_000_000_000), "{text}");
            }
        },
    );
}

#[test]
fn names_and_paths() {
    changed_texts(&["python", "a.b-c_d", "..", "a/b", &"x".repeat(64)], |name| {
        if is_valid_name(name) {
            let mut parts = std::path::Path::new(name).components();
            assert!(matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)), "{name:?}");
            assert!(name.len() <= 64 && !name.starts_with('.') && name.is_ascii(), "{name:?}");
        }
    });
    changed_texts(&["a/b.c/d", "../a", "/a", "a/./b", "a//b/"], |path| {
        if let Ok(path) = clean_path(path) {
            assert!(path.components().all(|part| matches!(part, Component::Normal(_))), "{path:?}");
            assert!(path.components().count() > 0 && path.as_os_str().len() <= 1024, "{path:?}");
        }
    });
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
    changed(&[&gzip, &tar, &zip], |bytes| {
        if package::archive_kind(bytes).is_some()
            && let Ok(package) = package::open(bytes, "f")
        {
            assert!(package.module == "main" || is_valid_name(&package.module), "{}", package.module);
        }
    });
}
