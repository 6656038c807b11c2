//! `cargo faasm serve` as a process of its own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A server that is killed when this is dropped.
pub struct Served {
    pub process: Child,
    pub url: String,
}

/// Starts it on a free port, and waits until it listens.
pub fn serve(home: &Path, arguments: &[&str]) -> Served {
    let mut process = Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"))
        .args(["faasm", "--quiet", "serve", "--listen", "127.0.0.1:0", "--message-format", "json", "--image"])
        .arg(faasm_tests::image())
        .args(arguments)
        .env("FAASM_HOME", home)
        .env_remove("FAASM_URL")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let listening: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
    Served { process, url: listening["url"].as_str().unwrap().to_owned() }
}

/// A line of a process's `status` below `/proc`, in bytes.
pub fn memory(status: &str, line: &str) -> usize {
    let status = std::fs::read_to_string(status).unwrap();
    let size = status.lines().find_map(|it| it.strip_prefix(line)).unwrap();
    size.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() << 10
}

impl Drop for Served {
    fn drop(&mut self) {
        // As `kill -9` does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
