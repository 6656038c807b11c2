//! The linker that Cargo is given for packages in Rust. It only depends on the standard library, since it is compiled by a bare
//! `rustc`.
//!
//! What rustc asks for when it links a `cdylib` becomes a relocatable object: its objects are merged, with what they need of Rust's
//! libraries and of C libraries that build scripts have made. C's own library comes when the image is linked, and is not the one
//! that Rust brings along.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The toolchain's directory of programs.
const TOOLCHAIN: &str = "FAASM_TOOLCHAIN";

fn main() -> ExitCode {
    let Some(toolchain) = env::var_os(TOOLCHAIN) else {
        eprintln!("rust-ld: {TOOLCHAIN} is not set");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<String> = env::args_os().skip(1).map(|it| it.to_string_lossy().into_owned()).collect();
    let error = Command::new(Path::new(&toolchain).join("ld")).args(linker_arguments(&arguments)).exec();
    eprintln!("rust-ld: failed to start ld: {error}");
    ExitCode::FAILURE
}

/// Objects, archives and libraries in their order, with the options that say how archives are taken, and the output.
fn linker_arguments(arguments: &[String]) -> Vec<String> {
    let directories: Vec<PathBuf> =
        values(arguments, "-L").filter(|it| !is_rusts_own(it)).map(PathBuf::from).collect();
    let mut link = vec!["-r".to_owned()];
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "-flavor" | "--export" | "-z" | "-L" => drop(words.next()),
            "-l" => {
                let name = words.next().map(|name| format!("lib{name}.a")).unwrap_or_default();
                // What is not there is missed when the image is linked, if it is not there either.
                let found = directories.iter().map(|it| it.join(&name)).find(|it| it.is_file());
                link.extend(found.map(|it| it.to_string_lossy().into_owned()));
            }
            "-o" => link.extend([word].into_iter().chain(words.next()).cloned()),
            "--whole-archive" | "--no-whole-archive" => link.push(word.clone()),
            option if option.starts_with('-') => {}
            _ => link.push(word.clone()),
        }
    }
    link
}

/// The words behind an option.
fn values<'a>(arguments: &'a [String], option: &'static str) -> impl Iterator<Item = &'a String> {
    arguments.windows(2).filter(move |pair| pair[0] == option).map(|pair| &pair[1])
}

/// Whether a directory has the C library that comes with Rust.
fn is_rusts_own(directory: &str) -> bool {
    directory.ends_with("/self-contained")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_libraries_are_merged_objects() {
        let directory = tempfile::tempdir().unwrap();
        for (part, library) in [("own", "libyy.a"), ("self-contained", "libc.a")] {
            std::fs::create_dir_all(directory.path().join(part)).unwrap();
            std::fs::write(directory.path().join(part).join(library), "").unwrap();
        }
        let place = directory.path().display();
        let line = format!(
            "-flavor wasm --export PyInit_a -z stack-size=1048576 --stack-first --allow-undefined a.o -l yy libstd.rlib \
             -l c -L {place}/own -L {place}/self-contained -o a.wasm --gc-sections --no-entry -O3"
        );
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let expected = format!("-r a.o {place}/own/libyy.a libstd.rlib -o a.wasm");
        assert_eq!(linker_arguments(&arguments).join(" "), expected);
    }
}
