//! A place to run `cargo faasm` in: an empty directory and an empty store.

use std::fs;
use std::path::Path;

use snapbox::cmd::Command;
use tempfile::TempDir;

/// An empty directory that is no package, and a store of its own.
pub struct Place {
    directory: TempDir,
    home: TempDir,
}

impl Place {
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), home: tempfile::tempdir().unwrap() }
    }

    /// `cargo faasm` with arguments that are separated by spaces, as Cargo calls it.
    pub fn faasm(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"))
            .current_dir(self.directory.path())
            .env("FAASM_HOME", self.home.path())
            .stdin("")
            .arg("faasm");
        // What the shell that runs the tests has set must not matter.
        for name in ["CARGO_TERM_COLOR", "FAASM_IMAGE", "FAASM_OFFLINE", "FAASM_TOKEN", "FAASM_URL"] {
            command = command.env_remove(name);
        }
        command.args(arguments.split_whitespace())
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file into the directory.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), content).unwrap();
    }
}
