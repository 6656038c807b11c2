//! A toolchain from the `ziglang` wheel: clang, lld and the sources of the C libraries, in one file per platform.
//!
//! For WebAssembly we do not use `zig cc`, which refuses flags that clang takes (`-Wl,--stack-first`), ignores others
//! (`--wrap`) and takes headers for granted that WASI lacks. We let it build its C library once, lay that out as the sysroot of
//! a WASI SDK, and run the clang inside it on that: an ordinary cross compiler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::headers::OMITTED;
use super::{Toolchain, WASI_TARGET, symlink, write_wrapper};
use crate::cache::Key;
use crate::command;
use crate::error::{Error, Result};
use crate::progress::Context;
use crate::source::{self, crates};

/// Raised when what is done here changes what it makes.
const RECIPE: &str = "3";

/// What replaces parts of zig's C library: names and contents of C files, each of which says why.
const REPLACEMENTS: [(&str, &str); 2] =
    [("log2", include_str!("log2.c")), ("malloc", include_str!("malloc.c"))];

/// The crate that carries `dlmalloc.c`, and the directory in it.
const DLMALLOC: (&str, &str) = ("libffi-sys", "libffi/src");

/// Libraries that a build may ask for and whose functions are in `libc` here, or nowhere.
const EMPTY_LIBRARIES: [&str; 11] = [
    "c-printscan-long-double",
    "crypt",
    "dl",
    "m",
    "pthread",
    "rt",
    "util",
    "wasi-emulated-getpid",
    "wasi-emulated-mman",
    "wasi-emulated-process-clocks",
    "wasi-emulated-signal",
];

pub(crate) struct Zig {
    directory: PathBuf,
    key: Key,
    version: &'static str,
}

impl Zig {
    pub(super) fn program(&self) -> PathBuf {
        self.directory.join("zig")
    }

    pub(crate) fn library(&self) -> PathBuf {
        self.directory.join("lib")
    }

    pub(crate) fn version(&self) -> &'static str {
        self.version
    }
}

/// The wheel, unpacked.
pub(crate) fn zig(cx: &Context) -> Result<Zig> {
    let pin = source::pin::zig()?;
    let key = Key::new().value("sha256", pin.sha256);
    let directory = cx.entry("toolchain", &format!("zig-{}", pin.version), &key, |directory| {
        source::unpack(&source::fetch(cx, pin)?, directory)
    })?;
    Ok(Zig { directory: directory.join("ziglang"), key, version: pin.version })
}

pub(super) fn wasi(cx: &Context) -> Result<Toolchain> {
    let zig = zig(cx)?;
    let identity = describe(zig.key.clone());
    // Unlike the identity, which is the same on all machines, the wrappers name places.
    let key = identity.clone().value("path", cx.cache.root().to_string_lossy());
    let path = cx.cache.path("toolchain", "wasi", &key);
    let entry = cx.entry("toolchain", "wasi", &key, |directory| {
        make_sysroot(cx, &zig, directory)?;
        write_wasi_wrappers(&zig, &path, directory)
    })?;
    // Zig's version stands for all its platforms: clang makes the same code on each of them.
    let identity = describe(Key::new().value("zig", zig.version));
    Ok(Toolchain { bin: entry.join("bin"), identity: identity.hex(), target: WASI_TARGET.to_owned() })
}

/// What the sysroot is made from besides zig.
fn describe(key: Key) -> Key {
    let key = key.value("recipe", RECIPE).value("target", WASI_TARGET);
    let key = REPLACEMENTS.iter().fold(key, |key, (name, content)| key.content(name, content));
    crates::key(key, DLMALLOC.0)
}

/// Has zig build its C library, and lays it out as clang expects it below a `--sysroot`.
fn make_sysroot(cx: &Context, zig: &Zig, directory: &Path) -> Result<()> {
    const STEP: &str = "toolchain wasi";
    let log = command::new_log(cx, STEP)?;
    let (libraries, include) = (
        directory.join("sysroot/lib").join(WASI_TARGET),
        directory.join("sysroot/include").join(WASI_TARGET),
    );
    let builtins = directory.join("lib/wasm32-unknown-wasip1");
    let work = directory.join("work");
    for path in [&libraries, &include, &builtins, &work] {
        fs::create_dir_all(path).map_err(Error::io("create the directory", path))?;
    }

    // Only the linker's command line says where zig keeps what it has built.
    let program = work.join("empty.c");
    fs::write(&program, "int main(void) { return 0; }\n").map_err(Error::io("write", &program))?;
    let mut files = Vec::new();
    for model in ["command", "reactor"] {
        let output = command::output(
            STEP,
            &log,
            Command::new(zig.program())
                .args(["cc", "-target", "wasm32-wasi", "empty.c", "-o", "empty.wasm"])
                .arg(format!("-mexec-model={model}"))
                .current_dir(&work)
                .env("ZIG_GLOBAL_CACHE_DIR", work.join("cache"))
                .env("ZIG_LOCAL_CACHE_DIR", work.join("cache"))
                .env("ZIG_VERBOSE_LINK", "1"),
        )?;
        // zig shortens paths below its working directory.
        files.extend(linked_files(&output).map(|file| work.join(file)));
    }
    let find = |name: &str| {
        files.iter().find(|file| file.ends_with(name)).ok_or_else(|| Error::Lookup {
            what: format!("{name} of zig {}", zig.version),
            reason: format!("its linker was not given one; see {}", log.display()),
        })
    };
    for object in ["crt1-command.o", "crt1-reactor.o"] {
        copy(find(object)?, &libraries.join(object))?;
    }
    copy(find("libcompiler_rt.a")?, &builtins.join("libclang_rt.builtins.a"))?;

    let run = |command: &mut Command| {
        command::run(STEP, &log, command.current_dir(&work).env("ZIG_GLOBAL_CACHE_DIR", work.join("cache")))
    };
    for archive in ["libc.a", "libzigc.a"] {
        copy(find(archive)?, &work.join(archive))?;
    }
    // zig's C library is in two archives. The reason why pthreads must go is in the documentation of `is_pthread`.
    let listing = command::output(
        STEP,
        &log,
        Command::new(zig.program()).args(["ar", "t", "libc.a"]).current_dir(&work),
    )?;
    let pthreads = listing
        .lines()
        .filter_map(|member| Path::new(member).file_name()?.to_str())
        .filter(|it| is_pthread(it));
    run(Command::new(zig.program()).args(["ar", "d", "libc.a"]).args(pthreads))?;
    for name in EMPTY_LIBRARIES {
        run(Command::new(zig.program()).args(["ar", "rcs"]).arg(libraries.join(format!("lib{name}.a"))))?;
    }

    // In this order: what is special to WASI replaces what is general.
    for headers in ["generic-musl", "wasm-wasi-musl"] {
        crate::fs_util::copy_tree(&zig.library().join("libc/include").join(headers), &include)?;
    }
    for header in OMITTED {
        let path = include.join(header);
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.map_err(Error::io("remove", &path))?;
    }
    let crates = crates::fetch(cx)?;
    let dlmalloc = crates.directory(DLMALLOC.0)?.join(DLMALLOC.1);
    let objects = REPLACEMENTS.map(|(name, _)| format!("{name}.o"));
    for ((name, content), object) in REPLACEMENTS.iter().zip(&objects) {
        let source = work.join(format!("{name}.c"));
        fs::write(&source, content).map_err(Error::io("write", &source))?;
        run(Command::new(zig.program())
            .args(["clang", "--no-default-config", "-O3", "-w", "-c", "-o", object])
            .arg(format!("--target={WASI_TARGET}"))
            .arg(format!("--sysroot={}", directory.join("sysroot").display()))
            .arg(format!("-resource-dir={}", zig.library().display()))
            .arg(format!("-I{}", dlmalloc.display()))
            .arg(&source))?;
    }
    // The replacements come first, since the linker takes the first member that has what it looks for.
    let libc = libraries.join("libc.a");
    run(Command::new(zig.program())
        .args(["ar", "qLcs"])
        .arg(&libc)
        .args(&objects)
        .args(["libc.a", "libzigc.a"]))?;
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}

fn write_wasi_wrappers(zig: &Zig, place: &Path, directory: &Path) -> Result<()> {
    let bin = directory.join("bin");
    fs::create_dir_all(&bin).map_err(Error::io("create the directory", &bin))?;
    // clang looks for its own headers in the resource directory.
    symlink(&zig.library().join("include"), &directory.join("include"))?;

    let program = zig.program().to_string_lossy().into_owned();
    let flags = [
        "--no-default-config".to_owned(),
        format!("--target={WASI_TARGET}"),
        format!("--sysroot={}", place.join("sysroot").display()),
        format!("-resource-dir={}", place.display()),
        // Where the driver looks for the linker.
        format!("-B{}", place.join("bin").display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    write_wrapper(&bin.join("cc"), &[], &[&[program.as_str(), "clang"], flags.as_slice()].concat())?;
    write_wrapper(
        &bin.join("c++"),
        &[],
        &[&[program.as_str(), "clang", "--driver-mode=g++"], flags.as_slice()].concat(),
    )?;
    for (name, subcommand) in [("ar", "ar"), ("ranlib", "ranlib"), ("ld", "wasm-ld"), ("wasm-ld", "wasm-ld")]
    {
        write_wrapper(&bin.join(name), &[], &[&program, subcommand])?;
    }
    Ok(())
}

pub(super) fn native(cx: &Context) -> Result<Toolchain> {
    let zig = zig(cx)?;
    let target = native_target()?;
    let identity = Key::new().value("zig", zig.version).value("recipe", RECIPE).value("target", &target);
    let key = identity.clone().value("path", cx.cache.root().to_string_lossy());
    let place = cx.cache.path("toolchain", "native", &key);
    let bin = cx.entry("toolchain", "native", &key, |directory| {
        let program = zig.program().to_string_lossy().into_owned();
        // `zig cc` keeps every object it compiles; a place below the cache is one that can be emptied.
        let cache = place.join("cache");
        let variables = [("ZIG_GLOBAL_CACHE_DIR", cache.as_path()), ("ZIG_LOCAL_CACHE_DIR", cache.as_path())];
        for (name, subcommand) in [("cc", "cc"), ("c++", "c++")] {
            // zig takes an unoptimised build for one that wants sanitizers, and __DATE__ for an error.
            let flags =
                [&program, subcommand, "-target", &target, "-fno-sanitize=undefined", "-Wno-date-time"];
            write_wrapper(&directory.join(name), &variables, &flags)?;
        }
        for name in ["ar", "ranlib"] {
            write_wrapper(&directory.join(name), &variables, &[&program, name])?;
        }
        Ok(())
    })?;
    Ok(Toolchain { bin, identity: identity.hex(), target: build_triple()? })
}

/// This machine, as zig names it. glibc 2.28 is what Debian 10 and the `manylinux_2_28` wheels have.
fn native_target() -> Result<String> {
    let architecture = std::env::consts::ARCH;
    Ok(match std::env::consts::OS {
        "linux" if cfg!(target_env = "musl") => format!("{architecture}-linux-musl"),
        "linux" => format!("{architecture}-linux-gnu.2.28"),
        "macos" => format!("{architecture}-macos"),
        other => {
            return Err(Error::Platform {
                what: "a native toolchain",
                platform: format!("{architecture}-{other}"),
            });
        }
    })
}

/// This machine, as `configure` scripts name it.
pub(super) fn build_triple() -> Result<String> {
    let architecture = std::env::consts::ARCH;
    Ok(match std::env::consts::OS {
        "linux" if cfg!(target_env = "musl") => format!("{architecture}-pc-linux-musl"),
        "linux" => format!("{architecture}-pc-linux-gnu"),
        "macos" => format!("{architecture}-apple-darwin"),
        other => {
            return Err(Error::Platform {
                what: "a native toolchain",
                platform: format!("{architecture}-{other}"),
            });
        }
    })
}

/// The objects and archives in the `wasm-ld` lines of zig's verbose output.
pub(super) fn linked_files(output: &str) -> impl Iterator<Item = PathBuf> {
    output
        .lines()
        .filter(|line| line.starts_with("wasm-ld "))
        .flat_map(str::split_whitespace)
        .filter(|word| word.ends_with(".o") || word.ends_with(".a"))
        .map(PathBuf::from)
}

/// Whether a member of zig's libc belongs to its pthreads.
///
/// They look real, so CPython's `configure` would take them, but there are no threads, and `__pthread_key_delete` loops for
/// ever when the interpreter exits. Without them CPython uses its own stubs, as it is meant to on WASI.
fn is_pthread(member: &str) -> bool {
    member.starts_with("pthread_")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).map(drop).map_err(Error::io("copy", from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_in_the_linkers_command_line() {
        let output = "warning: something.o\nwasm-ld --entry _start -o a.wasm /c/1/crt1-command.o /c/2/libc.a -lm x.rsp\nar rcs z.a\n";
        assert_eq!(
            linked_files(output).collect::<Vec<_>>(),
            [Path::new("/c/1/crt1-command.o"), Path::new("/c/2/libc.a")]
        );
    }
}
