//! Keeps the name of the platform that this crate is compiled for, which the `cc` crate wants to know at run time, and
//! embeds the recipes, because a program with this crate in it is used where the crate's directory is not.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=recipes");
    println!("cargo::rustc-env=FAASM_HOST={}", env::var("TARGET").expect("Cargo sets TARGET"));

    let root =
        Path::new(&env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets CARGO_MANIFEST_DIR")).join("recipes");
    let mut files = Vec::new();
    // Each directory is a recipe; what lies beside them is for people.
    for entry in fs::read_dir(&root)? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, &mut files)?;
        }
    }
    files.sort();
    let mut code = String::from("&[\n");
    for path in files {
        let name = path.strip_prefix(&root).expect("it was found there").display().to_string();
        writeln!(code, "    ({name:?}, include_bytes!({:?})),", path.display().to_string())
            .expect("a string can be written to");
    }
    code.push_str("]\n");
    fs::write(Path::new(&env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR")).join("recipes.rs"), code)
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
