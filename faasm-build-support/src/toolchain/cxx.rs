//! The C++ library for WebAssembly. Only packages need one, so it is no part of the toolchain that CPython is built with.
//!
//! zig's has neither threads nor mutexes where the target has none. Programs that only lock a mutex need that to exist, though, and
//! what stands in for threads in C serves it. So what it leaves out is compiled from its sources, and the headers are configured so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{wasi_sdk, zig};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;

const RECIPE: &str = "2";

/// What `throw` and `catch` come to.
const EXCEPTIONS: &str = include_str!("exceptions.cpp");

/// The C++ library.
#[derive(Clone, Debug)]
pub struct Cxx {
    /// Flags that the compiler needs to find it.
    pub flags: Vec<String>,
    /// What an executable with C++ code is linked with.
    pub libraries: Vec<PathBuf>,
    /// What it was made from.
    pub key: Key,
}

/// The C++ library of the toolchain that [`wasi`](super::wasi) answers.
///
/// # Errors
///
/// When it cannot be built.
pub fn cxx(cx: &Context, toolchain: &super::Toolchain) -> Result<Cxx> {
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("toolchain", toolchain.identity())
        .content("exceptions", EXCEPTIONS);
    let sdk = std::env::var_os(wasi_sdk::VARIABLE).filter(|it| !it.is_empty());
    let zig = if sdk.is_some() { None } else { Some(zig::zig(cx)?) };
    let directory = cx.entry("toolchain", "wasi-c++", &key, |directory| {
        const STEP: &str = "toolchain wasi-c++";
        let log = command::new_log(cx, STEP)?;
        let flags = match &zig {
            Some(zig) => build_libraries(STEP, &log, zig, toolchain, directory)?,
            None => Vec::new(),
        };
        let text = flags.join("\n");
        fs::write(directory.join(FLAGS), text).map_err(Error::io("write", directory.join(FLAGS)))?;
        let source = directory.join("exceptions.cpp");
        fs::write(&source, EXCEPTIONS).map_err(Error::io("write", &source))?;
        let object = directory.join("exceptions.o");
        let compiler = Command::new(toolchain.cxx());
        let mut compiler = compiler;
        compiler.args(["-O2", "-fno-exceptions", "-fno-rtti", "-c", "-o"]).arg(&object).arg(&source);
        command::run(STEP, &log, &mut compiler)?;
        let archive = directory.join("libexceptions.a");
        command::run(STEP, &log, Command::new(toolchain.ar()).arg("rcsD").arg(&archive).arg(&object))
    })?;
    let text = fs::read_to_string(directory.join(FLAGS)).map_err(Error::io("read", directory.join(FLAGS)))?;
    let mut flags: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut libraries = Vec::new();
    if let Some(zig) = &zig {
        flags.push("-nostdinc++".to_owned());
        for part in ["libcxx", "libcxxabi"] {
            flags.extend(["-isystem".to_owned(), format!("{}/{part}/include", zig.library().display())]);
        }
        libraries.extend([THREADS, CXX, ABI].map(|name| directory.join(name)));
    } else if let Some(sdk) = &sdk {
        let place = Path::new(sdk).join("share/wasi-sysroot/lib").join(super::WASI_TARGET);
        libraries.extend([CXX, ABI].map(|name| place.join(name)));
    }
    libraries.push(directory.join("libexceptions.a"));
    Ok(Cxx { flags, libraries, key })
}

const FLAGS: &str = "flags";
const CXX: &str = "libc++.a";
const ABI: &str = "libc++abi.a";
const THREADS: &str = "libc++threads.a";

/// The sources of libc++ that do something else with threads than without. Their members come before those of `libc++.a`, of which
/// they have all symbols.
const THREAD_SOURCES: [&str; 11] = [
    "atomic",
    "barrier",
    "call_once",
    "condition_variable",
    "condition_variable_destructor",
    "future",
    "memory",
    "mutex",
    "mutex_destructor",
    "shared_mutex",
    "thread",
];

/// Has zig build its C++ library, and answers the macros by which it is configured.
fn build_libraries(
    step: &str,
    log: &Path,
    zig: &zig::Zig,
    toolchain: &super::Toolchain,
    directory: &Path,
) -> Result<Vec<String>> {
    let work = directory.join("work");
    fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
    let program = work.join("empty.cpp");
    fs::write(&program, "int main() { return 0; }\n").map_err(Error::io("write", &program))?;
    // Only the command lines of its compiler and linker say how it is configured and where it is.
    let output = command::output(
        step,
        log,
        Command::new(zig.program())
            .args(["c++", "-target", "wasm32-wasi", "-O2", "empty.cpp", "-o", "empty.wasm"])
            .current_dir(&work)
            .env("ZIG_GLOBAL_CACHE_DIR", work.join("cache"))
            .env("ZIG_LOCAL_CACHE_DIR", work.join("cache"))
            .env("ZIG_VERBOSE_LINK", "1")
            .env("ZIG_VERBOSE_CC", "1"),
    )?;
    for name in [CXX, ABI] {
        let file = zig::linked_files(&output).find(|file| file.ends_with(name));
        let file = file.ok_or_else(|| missing(name, log))?;
        let from = work.join(file);
        fs::copy(&from, directory.join(name)).map_err(Error::io("copy", &from))?;
    }
    let flags = with_threads(configuration(&output));
    if flags.is_empty() {
        return Err(missing("the configuration of libc++", log));
    }
    build_threads(step, log, zig, toolchain, &flags, directory)?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
    Ok(flags)
}

/// Compiles what `libc++.a` lacks of threads.
fn build_threads(
    step: &str,
    log: &Path,
    zig: &zig::Zig,
    toolchain: &super::Toolchain,
    flags: &[String],
    directory: &Path,
) -> Result<()> {
    let sources = zig.library().join("libcxx/src");
    let mut archive = Command::new(toolchain.ar());
    archive.arg("rcsD").arg(directory.join(THREADS));
    for name in THREAD_SOURCES {
        let object = directory.join("work").join(name).with_extension("o");
        let mut compile = Command::new(toolchain.cxx());
        compile.args([
            "-O2",
            "-std=c++23",
            "-w",
            "-fno-exceptions",
            "-nostdinc++",
            "-D_LIBCPP_BUILDING_LIBRARY",
        ]);
        compile.args(["-DLIBCXX_BUILDING_LIBCXXABI", "-DNDEBUG"]).args(flags);
        for include in ["libcxx/include", "libcxxabi/include", "libcxx/src", "libcxx/libc"] {
            compile.arg("-I").arg(zig.library().join(include));
        }
        compile.args(["-c", "-o"]).arg(&object).arg(sources.join(name).with_extension("cpp"));
        command::run(step, log, &mut compile)?;
        archive.arg(object);
    }
    command::run(step, log, &mut archive)
}

/// The configuration of libc++ as it is for systems with threads.
fn with_threads(flags: Vec<String>) -> Vec<String> {
    flags.into_iter().map(|it| it.replace("_LIBCPP_HAS_THREADS=0", "_LIBCPP_HAS_THREADS=1")).collect()
}

fn missing(what: &str, log: &Path) -> Error {
    Error::Lookup {
        what: format!("{what} of zig"),
        reason: format!("its command lines do not have it; see {}", log.display()),
    }
}

/// The macros of libc++ in the command line that compiles `empty.cpp`.
fn configuration(output: &str) -> Vec<String> {
    let line = output.lines().find(|line| line.split_whitespace().any(|word| word.ends_with("empty.cpp")));
    let words = line.unwrap_or_default().split_whitespace();
    words.filter(|it| it.starts_with("-D_LIBC")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_is_that_of_our_file() {
        let output = "zig clang -D_LIBCPP_A=0 /x/any.cpp\nzig clang -O2 -D_LIBCPP_A=1 -D_LIBCXXABI_B -DNDEBUG /w/empty.cpp -o x";
        assert_eq!(configuration(output), ["-D_LIBCPP_A=1", "-D_LIBCXXABI_B"]);
        assert!(configuration("").is_empty());
        assert_eq!(with_threads(vec!["-D_LIBCPP_HAS_THREADS=0".to_owned()]), ["-D_LIBCPP_HAS_THREADS=1"]);
    }
}
