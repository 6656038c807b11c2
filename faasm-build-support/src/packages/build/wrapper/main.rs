//! The compiler that builds of packages see: one program that is `cc`, `c++`, `ar`, `ranlib`, `ld` or `strip` by the name it is
//! started with. It only depends on the standard library, since it is compiled by a bare `rustc`.
//!
//! Compilations and links of programs go to the toolchain, so that what a build script finds out by them is true. A link of a
//! shared library, for which WASI has no format, becomes a relocatable object under the same name: the objects are merged, and
//! what they lack is found when the image is linked. Symbols are made private where the objects are collected.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The toolchain's directory of programs.
const TOOLCHAIN: &str = "FAASM_TOOLCHAIN";

/// Directories whose libraries are linked once, when the image is. Separated as in `PATH`.
const IMAGE_LIBRARIES: &str = "FAASM_IMAGE_LIBRARIES";

/// Flags for every compilation, for those of C++, and for links of programs. Separated by [`SEPARATOR`].
const COMPILE_FLAGS: &str = "FAASM_COMPILE_FLAGS";
const CXX_FLAGS: &str = "FAASM_CXX_FLAGS";
const LINK_FLAGS: &str = "FAASM_LINK_FLAGS";

/// What separates flags in a variable, as in Cargo's `CARGO_ENCODED_RUSTFLAGS`.
const SEPARATOR: char = '\x1f';

/// Flags that build systems give because they take the target for an ELF system. None changes what the code does.
const IGNORED: [&str; 9] = [
    "-pthread",
    "-rdynamic",
    "-fno-semantic-interposition",
    "-fstack-protector-strong",
    "-fstack-clash-protection",
    "-fcf-protection",
    "-shared-libgcc",
    "-static-libgcc",
    "-Bsymbolic",
];

/// The same, of the linker. Those with a value have it behind a `=` or in the next word.
const IGNORED_BY_LINKER: [&str; 15] = [
    "--allow-shlib-undefined",
    "--as-needed",
    "--no-as-needed",
    "--enable-new-dtags",
    "--end-group",
    "--start-group",
    "--no-undefined",
    "--sort-common",
    "-Bsymbolic",
    "-Bsymbolic-functions",
    "-O1",
    "-O2",
    "-zdefs",
    "-znow",
    "-zrelro",
];
const IGNORED_WITH_VALUE: [&str; 8] = [
    "--build-id",
    "--dynamic-list",
    "--exclude-libs",
    "--hash-style",
    "--rpath",
    "-rpath",
    "-soname",
    "--soname",
];

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let texts = arguments.map(|it| it.into_string().map_err(|it| format!("{it:?} is not UTF-8")));
    let result =
        texts.collect::<Result<_, _>>().and_then(expand).and_then(|arguments| run(&name, &arguments));
    match result {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("{name}: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(name: &str, arguments: &[String]) -> Result<ExitCode, String> {
    let cxx = match name {
        "cc" => false,
        "c++" => true,
        // What is stripped is decided when the image is linked.
        "strip" => return Ok(ExitCode::SUCCESS),
        other => return Err(become_tool(other, arguments)),
    };
    match mode(arguments) {
        Mode::Compile => Err(become_tool(name, &compile_arguments(cxx, arguments))),
        Mode::Program => {
            let mut all = compile_arguments(cxx, arguments);
            if cxx {
                // The flags have C++'s library; the compiler would look for it in the sysroot, where it is not.
                all.push("-nostdlib++".to_owned());
            }
            all.extend(flags(LINK_FLAGS));
            Err(become_tool(name, &all))
        }
        Mode::Shared => share(name, cxx, &Shared::parse(arguments)?),
    }
}

/// What a compiler is asked for.
#[derive(Debug, PartialEq)]
enum Mode {
    /// Anything that is no link.
    Compile,
    Program,
    Shared,
}

fn mode(arguments: &[String]) -> Mode {
    let any = |names: &[&str]| arguments.iter().any(|it| names.contains(&it.as_str()));
    // `cc --version`, `cc -print-search-dirs` and their like have no input.
    if any(&["-c", "-E", "-S", "-M", "-MM", "-fsyntax-only"])
        || !arguments.iter().any(|it| !it.starts_with('-'))
    {
        Mode::Compile
    } else if any(&["-shared", "-bundle", "-dynamiclib"]) {
        Mode::Shared
    } else {
        Mode::Program
    }
}

/// The arguments without those that only make sense on other systems, behind the flags that all compilations have.
fn compile_arguments(cxx: bool, arguments: &[String]) -> Vec<String> {
    let mut all = flags(COMPILE_FLAGS);
    if cxx {
        all.extend(flags(CXX_FLAGS));
    }
    all.extend(clean(arguments));
    all
}

fn clean(arguments: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if IGNORED.contains(&word.as_str()) || word.starts_with("-fuse-ld=") {
            continue;
        }
        if let Some(options) = word.strip_prefix("-Wl,") {
            let options = clean_linker_options(options);
            if !options.is_empty() {
                kept.push(format!("-Wl,{}", options.join(",")));
            }
        } else if word == "-z" {
            // `-z now` and its like are of ELF; `-z stack-size=` is not.
            match words.next() {
                Some(value) if value.starts_with("stack-size") => kept.extend([word.clone(), value.clone()]),
                _ => {}
            }
        } else {
            kept.push(word.clone());
        }
    }
    kept
}

fn clean_linker_options(options: &str) -> Vec<&str> {
    let mut kept = Vec::new();
    let mut words = options.split(',');
    while let Some(word) = words.next() {
        let name = word.split('=').next().unwrap_or_default();
        if IGNORED_WITH_VALUE.contains(&name) {
            if !word.contains('=') && name != "--build-id" {
                words.next();
            }
        } else if word == "-z" {
            match words.next() {
                Some(value) if value.starts_with("stack-size") => kept.extend([word, value]),
                _ => {}
            }
        } else if !IGNORED_BY_LINKER.contains(&word) {
            kept.push(word);
        }
    }
    kept
}

/// A link of a shared library.
#[derive(Debug, Default, PartialEq)]
struct Shared {
    output: String,
    /// Objects, archives and libraries in their order, with the options that say how archives are taken.
    inputs: Vec<Input>,
    /// Directories to look for libraries in.
    directories: Vec<PathBuf>,
    /// C and C++ files, which some builds compile and link at once.
    sources: Vec<String>,
    /// Everything that is for their compilation.
    compile: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum Input {
    File(String),
    Library(String),
    Option(&'static str),
}

impl Shared {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut shared = Self::default();
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let mut value = |option: &str, rest: &str| match rest {
                "" => words.next().cloned().ok_or_else(|| format!("{option} has no value")),
                rest => Ok(rest.to_owned()),
            };
            if let Some(rest) = word.strip_prefix("-o") {
                shared.output = value("-o", rest)?;
            } else if let Some(rest) = word.strip_prefix("-L") {
                shared.directories.push(value("-L", rest)?.into());
            } else if let Some(rest) = word.strip_prefix("-l") {
                shared.inputs.push(Input::Library(value("-l", rest)?));
            } else if word == "-Xlinker" || word == "-z" {
                value(word, "")?;
            } else if let Some(options) = word.strip_prefix("-Wl,") {
                let known = ["--whole-archive", "--no-whole-archive"];
                let options =
                    options.split(',').filter_map(|it| known.into_iter().find(|known| *known == it));
                shared.inputs.extend(options.map(Input::Option));
            } else if ["-I", "-D", "-U", "-isystem", "-include", "-x"].contains(&word.as_str()) {
                shared.compile.extend([word.clone(), value(word, "")?]);
            } else if word.starts_with('-') {
                shared.compile.push(word.clone());
            } else if is_source(word) {
                shared.sources.push(word.clone());
            } else {
                shared.inputs.push(Input::File(word.clone()));
            }
        }
        if shared.output.is_empty() {
            return Err("a shared library is linked without -o".to_owned());
        }
        shared.compile.retain(|it| !["-shared", "-bundle", "-dynamiclib"].contains(&it.as_str()));
        Ok(shared)
    }

    /// What the linker is given, without libraries that the image is linked with and those that are not there: what is then
    /// missing is told when the image is linked.
    fn linker_arguments(&self, image: &[PathBuf]) -> Vec<String> {
        let of_image = |path: &Path| image.iter().any(|directory| path.starts_with(directory));
        let mut arguments = Vec::new();
        for input in &self.inputs {
            match input {
                Input::Option(option) => arguments.push((*option).to_owned()),
                Input::File(file) if of_image(Path::new(file)) => {}
                Input::File(file) => arguments.push(file.clone()),
                Input::Library(name) => {
                    let names = [format!("lib{name}.a"), format!("lib{name}.so")];
                    let mut candidates = self
                        .directories
                        .iter()
                        .flat_map(|directory| names.iter().map(|name| directory.join(name)));
                    let found = candidates.find(|it| it.is_file());
                    arguments
                        .extend(found.filter(|it| !of_image(it)).map(|it| it.to_string_lossy().into_owned()));
                }
            }
        }
        arguments
    }
}

fn is_source(word: &str) -> bool {
    let extension = Path::new(word).extension().and_then(OsStr::to_str).unwrap_or_default();
    ["c", "cc", "cpp", "cxx", "C", "s", "S"].contains(&extension)
}

fn share(name: &str, cxx: bool, shared: &Shared) -> Result<ExitCode, String> {
    let mut compiled = Vec::new();
    for (number, source) in shared.sources.iter().enumerate() {
        let object = format!("{}.{number}.o", shared.output);
        let mut arguments = compile_arguments(cxx, &shared.compile);
        arguments.extend(["-c", source, "-o", &object].map(str::to_owned));
        if !status(name, &arguments)? {
            return Ok(ExitCode::FAILURE);
        }
        compiled.push(object);
    }
    let image = env::var_os(IMAGE_LIBRARIES).unwrap_or_default();
    // Of nothing, one empty path is made, below which every other lies.
    let image: Vec<PathBuf> = env::split_paths(&image).filter(|it| !it.as_os_str().is_empty()).collect();
    let mut arguments = vec!["-r".to_owned(), "-o".to_owned(), shared.output.clone()];
    arguments.extend(compiled.iter().cloned());
    arguments.extend(shared.linker_arguments(&image));
    let linked = status("ld", &arguments)?;
    for object in compiled {
        fs::remove_file(&object).map_err(|error| format!("failed to remove {object}: {error}"))?;
    }
    Ok(if linked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Words of response files in the place of `@FILE`.
fn expand(arguments: Vec<String>) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for argument in arguments {
        match argument.strip_prefix('@') {
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|error| format!("failed to read {path}: {error}"))?;
                all.extend(expand(words(&text))?);
            }
            None => all.push(argument),
        }
    }
    Ok(all)
}

/// Splits the text of a response file as GCC does it: at white space, with quotes and backslashes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => word.get_or_insert_default().extend(characters.next()),
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

fn flags(variable: &str) -> Vec<String> {
    let value = env::var(variable).unwrap_or_default();
    value.split(SEPARATOR).filter(|it| !it.is_empty()).map(str::to_owned).collect()
}

fn tool(name: &str) -> Result<Command, String> {
    let directory = env::var_os(TOOLCHAIN).ok_or_else(|| format!("{TOOLCHAIN} is not set"))?;
    Ok(Command::new(Path::new(&directory).join(name)))
}

/// Goes on as a program of the toolchain. Answers why that is not possible.
fn become_tool(name: &str, arguments: &[String]) -> String {
    match tool(name) {
        Ok(mut command) => {
            let error = command.args(arguments).exec();
            format!("failed to start {}: {error}", command.get_program().to_string_lossy())
        }
        Err(reason) => reason,
    }
}

fn status(name: &str, arguments: &[String]) -> Result<bool, String> {
    let mut command = tool(name)?;
    let status = command.args(arguments).status();
    let status = status
        .map_err(|error| format!("failed to start {}: {error}", command.get_program().to_string_lossy()))?;
    Ok(status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn modes() {
        for (arguments, expected) in [
            ("--version", Mode::Compile),
            ("-c a.c -o a.o", Mode::Compile),
            ("-shared -c a.c", Mode::Compile),
            ("-E -", Mode::Compile),
            ("a.o -o a", Mode::Program),
            ("-shared a.o -o a.so", Mode::Shared),
        ] {
            assert_eq!(mode(&split(arguments)), expected, "{arguments}");
        }
    }

    #[test]
    fn what_only_elf_has_is_dropped() {
        for (arguments, expected) in [
            ("-O2 -pthread a.c", "-O2 a.c"),
            ("-Wl,--as-needed,-soname,x.so,--export=f", "-Wl,--export=f"),
            ("-Wl,-rpath=/x -Wl,-z,now -z relro a.o", "a.o"),
            ("-Wl,-z,stack-size=1 -z stack-size=2", "-Wl,-z,stack-size=1 -z stack-size=2"),
            // These are questions, and the answer is no.
            ("-Wl,--version-script=x -march=native", "-Wl,--version-script=x -march=native"),
        ] {
            assert_eq!(clean(&split(arguments)).join(" "), expected, "{arguments}");
        }
    }

    #[test]
    fn shared_libraries_are_merged_objects() {
        let directory = std::env::temp_dir().join(format!("faasm-wrapper-{}", std::process::id()));
        let (own, image) = (directory.join("own"), directory.join("image"));
        for (directory, name) in [(&own, "libown.a"), (&image, "libshared.a")] {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(name), "").unwrap();
        }
        let line = format!(
            "-shared -O2 -I x -DY a.o -Wl,--whole-archive w.a -Wl,--no-whole-archive b.c -lown -lshared -lm \
             {image}/libshared.a -L{image} -L {own} -o out.so",
            image = image.display(),
            own = own.display(),
        );
        let shared = Shared::parse(&split(&line)).unwrap();
        assert_eq!((shared.output.as_str(), shared.sources.as_slice()), ("out.so", &["b.c".to_owned()][..]));
        assert_eq!(shared.compile.join(" "), "-O2 -I x -DY");
        let found = own.join("libown.a").to_string_lossy().into_owned();
        let expected = ["a.o", "--whole-archive", "w.a", "--no-whole-archive", &found];
        assert_eq!(shared.linker_arguments(std::slice::from_ref(&image)), expected);
        assert!(Shared::parse(&split("-shared a.o")).is_err());
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn response_files() {
        for (text, expected) in [
            ("a b\n c", &["a", "b", "c"][..]),
            ("'a b' \"c \\\" d\" e\\ f", &["a b", "c \" d", "e f"]),
            ("''", &[""]),
            ("", &[]),
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
    }
}
