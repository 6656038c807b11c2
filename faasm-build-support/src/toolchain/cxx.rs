//! The C++ library for WebAssembly, and what unwinds the stack for exceptions and `longjmp`. Only packages need it, so it is no part
//! of the toolchain that CPython is built with.
//!
//! zig's library is made for targets without threads, files and exceptions. Programs that only lock a mutex need that to exist, though,
//! and what stands in for threads in C serves it; WASI has files; and WebAssembly has had exceptions since its version 3. So the library
//! is compiled from zig's sources, for all three.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Toolchain, wasi_sdk, zig};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::fs_util;
use crate::progress::Context;

const RECIPE: &str = "4";

/// Flags for C and C++ that throws, catches and jumps, in the instructions that became a standard and not those of before.
const UNWINDING: [&str; 5] =
    ["-fwasm-exceptions", "-mllvm", "-wasm-use-legacy-eh=false", "-mllvm", "-wasm-enable-sjlj"];

/// What `throw` and `catch` come to with a WASI SDK, whose library has no exceptions.
const EXCEPTIONS: &str = include_str!("exceptions.cpp");

/// The C++ library.
#[derive(Clone, Debug)]
pub struct Cxx {
    /// Flags that the compiler needs for C and C++.
    pub compile: Vec<String>,
    /// Flags that the compiler needs to find the library.
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
pub fn cxx(cx: &Context, toolchain: &Toolchain) -> Result<Cxx> {
    match std::env::var_os(wasi_sdk::VARIABLE).filter(|it| !it.is_empty()) {
        Some(sdk) => of_sdk(cx, toolchain, Path::new(&sdk)),
        None => of_zig(cx, toolchain),
    }
}

fn of_sdk(cx: &Context, toolchain: &Toolchain, sdk: &Path) -> Result<Cxx> {
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("toolchain", toolchain.identity())
        .content("exceptions", EXCEPTIONS);
    let directory = cx.entry("toolchain", "wasi-c++", &key, |directory| {
        const STEP: &str = "toolchain wasi-c++";
        let log = command::new_log(cx, STEP)?;
        let source = directory.join("exceptions.cpp");
        fs::write(&source, EXCEPTIONS).map_err(Error::io("write", &source))?;
        let object = directory.join("exceptions.o");
        let mut compiler = Command::new(toolchain.cxx());
        compiler.args(["-O2", "-fno-exceptions", "-fno-rtti", "-c", "-o"]).arg(&object).arg(&source);
        command::run(STEP, &log, &mut compiler)?;
        let archive = directory.join("libexceptions.a");
        command::run(STEP, &log, Command::new(toolchain.ar()).arg("rcsD").arg(&archive).arg(&object))
    })?;
    let place = sdk.join("share/wasi-sysroot/lib").join(super::WASI_TARGET);
    let libraries =
        vec![place.join("libc++.a"), place.join("libc++abi.a"), directory.join("libexceptions.a")];
    Ok(Cxx { compile: Vec::new(), flags: Vec::new(), libraries, key })
}

fn of_zig(cx: &Context, toolchain: &Toolchain) -> Result<Cxx> {
    let key = Key::new()
        .value("recipe", RECIPE)
        .value("toolchain", toolchain.identity())
        .value("flags", UNWINDING.join(" "))
        .content("tags", TAGS);
    let zig = zig::zig(cx)?;
    let directory = cx.entry("toolchain", "wasi-c++", &key, |directory| {
        const STEP: &str = "toolchain wasi-c++";
        let log = command::new_log(cx, STEP)?;
        let work = directory.join("work");
        fs::create_dir(&work).map_err(Error::io("create the directory", &work))?;
        let flags = configuration(STEP, &log, &zig, &work)?;
        let text = flags.join("\n");
        fs::write(directory.join(FLAGS), text).map_err(Error::io("write", directory.join(FLAGS)))?;
        for library in libraries(&zig, &flags, &work)? {
            library.build(cx, STEP, &log, toolchain, directory)?;
        }
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
    })?;
    let text = fs::read_to_string(directory.join(FLAGS)).map_err(Error::io("read", directory.join(FLAGS)))?;
    let mut flags: Vec<String> = text.lines().map(str::to_owned).collect();
    flags.push("-nostdinc++".to_owned());
    for part in ["libcxx", "libcxxabi"] {
        flags.extend(["-isystem".to_owned(), format!("{}/{part}/include", zig.library().display())]);
    }
    let libraries = [CXX, ABI, UNWIND].map(|name| directory.join(format!("lib{name}.a"))).into();
    Ok(Cxx { compile: UNWINDING.map(str::to_owned).into(), flags, libraries, key })
}

const FLAGS: &str = "flags";
const CXX: &str = "c++";
const ABI: &str = "c++abi";
const UNWIND: &str = "unwind";

/// The two kinds of exceptions, which the compiler expects the libraries to define: what C++ throws, and jumps.
const TAGS: &str = "\t.globl\t__cpp_exception
\t.tagtype\t__cpp_exception i32
__cpp_exception:
\t.globl\t__c_longjmp
\t.tagtype\t__c_longjmp i32
__c_longjmp:
";

/// What the library takes WASI to have, as its C library is musl. It copies in another way when told that this one cannot.
const COPY_FILE_RANGE: &str = "#include <errno.h>
#include <sys/types.h>
static inline ssize_t copy_file_range(int, off_t *, int, off_t *, size_t, unsigned) { errno = EINVAL; return -1; }
";

struct Library {
    name: &'static str,
    sources: Vec<PathBuf>,
    flags: Vec<String>,
    is_cxx: bool,
}

fn libraries(zig: &zig::Zig, configuration: &[String], work: &Path) -> Result<[Library; 3]> {
    let at = |path: &str| zig.library().join(path);
    let include =
        |paths: &[&str]| paths.iter().map(|path| format!("-I{}", at(path).display())).collect::<Vec<_>>();
    let mut flags: Vec<String> =
        ["-std=c++23", "-nostdinc++", "-D_LIBCPP_BUILDING_LIBRARY"].map(str::to_owned).into();
    flags.extend(
        ["-DLIBCXX_BUILDING_LIBCXXABI", "-D_LIBCXXABI_BUILDING_LIBRARY", "-DNDEBUG"].map(str::to_owned),
    );
    flags.extend(configuration.iter().cloned());
    flags.extend(include(&[
        "libcxx/include",
        "libcxxabi/include",
        "libunwind/include",
        "libcxx/src",
        "libcxx/libc",
    ]));
    let missing = work.join("copy_file_range.h");
    fs::write(&missing, COPY_FILE_RANGE).map_err(Error::io("write", &missing))?;
    flags.extend(["-include".to_owned(), missing.display().to_string()]);
    let mut cxx = sources(&at("libcxx/src"))?;
    for part in ["ryu", "filesystem"] {
        cxx.extend(sources(&at("libcxx/src").join(part))?);
    }
    let mut abi = sources(&at("libcxxabi/src"))?;
    // What there is where nothing can be thrown.
    abi.retain(|file| !file.ends_with("cxa_noexception.cpp"));
    let tags = work.join("tags.s");
    fs::write(&tags, TAGS).map_err(Error::io("write", &tags))?;
    let mut unwind = include(&["libunwind/include"]);
    unwind.extend(["-std=gnu23", "-D_LIBUNWIND_HIDE_SYMBOLS", "-DNDEBUG"].map(str::to_owned));
    let jumps = at("libc/wasi/libc-top-half/musl/src/setjmp/wasm32/rt.c");
    Ok([
        Library { name: CXX, sources: cxx, flags: flags.clone(), is_cxx: true },
        Library { name: ABI, sources: abi, flags, is_cxx: true },
        Library {
            name: UNWIND,
            sources: vec![at("libunwind/src/Unwind-wasm.c"), jumps, tags],
            flags: unwind,
            is_cxx: false,
        },
    ])
}

impl Library {
    fn build(
        &self,
        cx: &Context,
        step: &str,
        log: &Path,
        toolchain: &Toolchain,
        directory: &Path,
    ) -> Result<()> {
        let out = directory.join("work").join(self.name);
        fs::create_dir(&out).map_err(Error::io("create the directory", &out))?;
        let mut settings = toolchain.settings();
        if self.is_cxx {
            settings.compiler(toolchain.cxx());
        }
        for flag in self.flags.iter().map(String::as_str).chain(["-O2", "-w"]).chain(UNWINDING) {
            settings.flag(flag);
        }
        let objects = super::compile(cx, step, log, &settings, &self.sources, &out)?;
        let archive = directory.join(format!("lib{}.a", self.name));
        command::run(step, log, Command::new(toolchain.ar()).arg("rcsD").arg(archive).args(objects))
    }
}

/// The C++ files of a directory, in the order of their names.
fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = fs_util::entries(directory)?;
    files.retain(|file| file.extension().is_some_and(|it| it == "cpp"));
    Ok(files)
}

/// The macros by which zig configures the library, for a system with threads and files.
fn configuration(step: &str, log: &Path, zig: &zig::Zig, work: &Path) -> Result<Vec<String>> {
    let program = work.join("empty.cpp");
    fs::write(&program, "int main() { return 0; }\n").map_err(Error::io("write", &program))?;
    let output = command::output(
        step,
        log,
        Command::new(zig.program())
            .args(["c++", "-target", "wasm32-wasi", "-O2", "-c", "empty.cpp", "-o", "empty.o"])
            .current_dir(work)
            .env("ZIG_GLOBAL_CACHE_DIR", work.join("cache"))
            .env("ZIG_LOCAL_CACHE_DIR", work.join("cache"))
            .env("ZIG_VERBOSE_CC", "1"),
    )?;
    let flags = macros(&output);
    if flags.is_empty() {
        return Err(Error::Lookup {
            what: "the configuration of libc++ of zig".to_owned(),
            reason: format!("its command lines do not have it; see {}", log.display()),
        });
    }
    let there_is = |flag: String| {
        ["THREADS", "FILESYSTEM"].iter().fold(flag, |flag, part| {
            flag.replace(&format!("_LIBCPP_HAS_{part}=0"), &format!("_LIBCPP_HAS_{part}=1"))
        })
    };
    Ok(flags.into_iter().map(there_is).collect())
}

/// The macros of libc++ in the command line that compiles `empty.cpp`.
fn macros(output: &str) -> Vec<String> {
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
        assert_eq!(macros(output), ["-D_LIBCPP_A=1", "-D_LIBCXXABI_B"]);
        assert!(macros("").is_empty());
    }
}
