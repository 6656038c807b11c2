//! `cargo faasm` as far as it needs no image: help, mistakes, new packages.

mod cli_support;

use std::fs;

use cli_support::Place;
use snapbox::cmd::OutputAssert;
use snapbox::str;

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

#[test]
fn help() {
    Place::new().faasm("--help").assert().success().stdout_eq(str![[r#"
Runs untrusted Python functions in sandboxes that start in microseconds

Usage: cargo faasm [OPTIONS] <COMMAND>

Commands:
  new          Create a package that runs a Python function
  build        Build the image: CPython, its machine code and its initialised memory
  run          Run a Python function from a file
  python       Run the Python interpreter in the sandbox
  upload       Put a function, or the runtime, into the store
  invoke       Call a function of the store
  list         Show the functions and the runtime of the store
  rollback     Go back to an earlier version of a function
  serve        Serve the functions of the store over HTTP, with a page to look at
  state        Read and change the state of users
  logs         Show the last calls that a server has made, and what they wrote
  flush        Have a server forget what it has loaded
  upgrade      Have a server run another runtime, while it goes on to answer
  token        Make a token for a server, and print it
  add          Add Python packages to the image
  remove       Remove Python packages from the image
  update       Choose the newest versions of Python packages that will do
  tree         Show the Python packages of the image and what they require
  recipe       Write, check and build recipes of Python packages
  codegen      Generate machine code for another processor or system
  package      Bundle the runtime into one file, for other machines
  fetch        Fetch a bundle, and make its runtime the store's
  key          Make a pair of keys to sign bundles with
  doctor       Check whether this machine has what is needed
  cache        Show or clean the cache of build results
  completions  Print a script that completes command lines of `cargo-faasm`

Options:
  -q, --quiet         Say only what went wrong
  -v, --verbose       Say more: cached steps, and what calls took
      --offline       Do not use the network
      --color <WHEN>  When to use colours [default: auto, or what CARGO_TERM_COLOR says] [possible values: auto, always, never]
  -h, --help          Print help
  -V, --version       Print version

Examples:
  cargo faasm run hello.py --data world
  cargo faasm python -c 'import sys; print(sys.version)'
  cargo faasm new greeter

Exit codes:
    0  success
    1  the function failed: an exception, a fault, a return value that is no result
    2  the command line is wrong
    3  bad input: no such file, function or entry point, a syntax error, an invalid name or setting
    4  a limit was reached: time, memory, output or stack
    5  the environment: network, disk, a step of a build, an image that cannot be used
  101  a bug in cargo-faasm
`run`, `invoke` and `python` end with the status of the function or interpreter when that returned one.

"#]]);
}

#[test]
fn help_of_run() {
    Place::new().faasm("run --help").assert().success().stdout_eq(str![[r#"
Run a Python function from a file

Usage: cargo faasm run [OPTIONS] <FILE>

Arguments:
  <FILE>
          The file with the function; or the folder, or a zip or tar archive of one, with its `main.py` or `__init__.py`

Options:
      --entry <NAME>
          The function to call
          
          [default: faasm_main]

      --data <TEXT>
          The input, as text

      --file <PATH>
          A file with the input; `-` for standard input, which is also read when it is a pipe or a file

      --timeout <DURATION>
          How long it may take [default: 60s]

      --memory <SIZE>
          How much memory it may have [default: 512MiB]

      --output <SIZE>
          How much it may write to each of standard output, standard error and its output [default: 16MiB]

      --image <DIR>
          The directory of the image to use, instead of the one that is found or built
          
          [env: FAASM_IMAGE]

      --message-format <FORMAT>
          How to write results

          Possible values:
          - human: For people
          - json:  One JSON object a line
          
          [default: human]

  -q, --quiet
          Say only what went wrong

  -v, --verbose
          Say more: cached steps, and what calls took

      --offline
          Do not use the network

      --color <WHEN>
          When to use colours [default: auto, or what CARGO_TERM_COLOR says]
          
          [possible values: auto, always, never]

  -h, --help
          Print help (see a summary with '-h')

Examples:
  cargo faasm run hello.py --data world
  cargo faasm run resize.py < in.png > out.png
  cargo faasm run project/
  cargo faasm run job.py --entry check --timeout 5s --memory 256MiB

"#]]);
}

#[test]
fn the_word_faasm_may_be_left_out() {
    let place = Place::new();
    let with = stdout(&place.faasm("list --help").assert().success());
    let program = snapbox::cmd::Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"));
    let without = stdout(&program.args(["list", "--help"]).assert().success());
    assert_eq!(with, without);
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    for command in [
        "new",
        "build",
        "run",
        "python",
        "upload",
        "invoke",
        "list",
        "codegen",
        "doctor",
        "cache",
        "completions",
    ] {
        let text = stdout(&place.faasm(&format!("{command} --help")).assert().success());
        assert!(text.contains(&format!("Usage: cargo faasm {command}")), "{text}");
    }
}

#[test]
fn completions_name_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&place.faasm(&format!("completions {shell}")).assert().success());
        assert!(script.contains("codegen") && script.contains("cargo-faasm"), "{shell}: {script}");
    }
}

#[test]
fn no_such_file() {
    Place::new().faasm("run missing.py").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: failed to read the function `missing.py`
  caused by: No such file or directory (os error 2)

"#]]);
}

#[test]
fn no_such_input() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --file missing").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: failed to read the input `missing`
  caused by: No such file or directory (os error 2)

"#]]);
}

#[test]
fn two_inputs() {
    Place::new().faasm("run f.py --data a --file b").assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: the argument '--data <TEXT>' cannot be used with '--file <PATH>'

Usage: cargo faasm run --data <TEXT> <FILE>

For more information, try '--help'.

"#]]);
}

#[test]
fn a_limit_without_unit() {
    Place::new().faasm("run f.py --timeout 5").assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: invalid value '5' for '--timeout <DURATION>': it must end with a unit: ms, s, m, h, d

For more information, try '--help'.

"#]]);
}

#[test]
fn an_unknown_command() {
    Place::new().faasm("uplaod").assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: unrecognized subcommand 'uplaod'

  tip: some similar subcommands exist: 'build', 'upgrade', 'upload'

Usage: cargo faasm [OPTIONS] <COMMAND>

For more information, try '--help'.

"#]]);
}

#[test]
fn an_unknown_target() {
    Place::new().faasm("codegen --target pdp11-dec-unix").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: there is no code generator for the target "pdp11-dec-unix"
  caused by: failed to set up the engine for pdp11-dec-unix
  caused by: Unrecognized architecture: pdp11

hint: targets are, for example, aarch64-apple-darwin, aarch64-unknown-linux-gnu, aarch64-unknown-linux-musl, x86_64-apple-darwin, x86_64-unknown-linux-gnu, x86_64-unknown-linux-gnu+v3, x86_64-unknown-linux-musl

"#]]);
}

#[test]
fn no_such_image() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --image missing").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: there is no image directory `missing`

hint: `cargo faasm build` prints the directory of the image it builds

"#]]);
}

#[test]
fn not_an_image() {
    let place = Place::new();
    place.file("f.py", "");
    place.faasm("run f.py --image .").assert().code(5).stdout_eq("").stderr_eq(str![[r#"
error: failed to open the image
  caused by: failed to find an image in .: there is no manifest.json

hint: run `cargo faasm build`

"#]]);
}

#[test]
fn an_invalid_name() {
    Place::new().faasm("invoke .. hello").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: failed to use the name "..": it must be 1 to 64 of the characters A-Z a-z 0-9 _ - . and not begin with a dot

"#]]);
}

#[test]
fn no_such_function() {
    Place::new().faasm("invoke python hello").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: failed to find the function python/hello: it was not uploaded

hint: `cargo faasm list` shows what there is; `cargo faasm upload python hello FILE` adds it

"#]]);
}

#[test]
fn nothing_in_the_store() {
    let place = Place::new();
    place.faasm("list").assert().success().stdout_eq("").stderr_eq(str![[r#"
       Found no functions in [..]
       Found no runtime; functions run on the default image

"#]]);
    place.faasm("list --message-format json").assert().success().stdout_eq("").stderr_eq("");
}

#[test]
fn cargo_arguments_outside_a_package() {
    Place::new().faasm("build -- --release").assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: arguments for `cargo build` were given outside a package that depends on `py_func`

hint: `cargo faasm new NAME` makes such a package

"#]]);
}

#[test]
fn a_build_without_network_and_cache() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let build = place.faasm("build --offline").env("FAASM_CACHE", &cache).env_remove("WASI_SDK_PATH");
    let assert = build.assert().code(5).stdout_eq("");
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        text.contains("error: failed to find ziglang-")
            && text.contains("\nhint: build once with the network"),
        "{text}"
    );
}

#[test]
fn an_empty_cache() {
    let place = Place::new();
    let cache = place.path().join("cache");
    let faasm = |arguments: &str| place.faasm(arguments).env("FAASM_CACHE", &cache).assert().success();
    faasm("cache").stdout_eq("").stderr_eq(str![[r#"
       Found nothing in [..]/cache

"#]]);
    faasm("cache dir").stdout_eq(format!("{}\n", cache.display()));
    faasm("cache gc --older-than 1d").stdout_eq("").stderr_eq(str![[r#"
     Removed 0 entries, 0 B

"#]]);
}

#[test]
fn a_cache_that_is_cleaned() {
    let place = Place::new();
    let downloads = place.path().join("cache/downloads");
    fs::create_dir_all(&downloads).unwrap();
    fs::write(downloads.join("file"), [0; 2048]).unwrap();
    let faasm = |arguments: &str| {
        place.faasm(arguments).env("FAASM_CACHE", place.path().join("cache")).assert().success()
    };
    faasm("cache").stdout_eq(str![[r#"
KIND       NAME  SIZE     LAST USED
downloads  file  2.0 KiB  just now

downloads  2.0 KiB
total      2.0 KiB

"#]]);
    faasm("cache gc").stderr_eq(str![[r#"
     Removed 0 entries, 0 B

"#]]);
    faasm("cache clear --quiet --message-format json").stderr_eq("").stdout_eq(str![[r#"
{"bytes":2048,"kind":"downloads","last_used":[..],"name":"file","path":"[..]/cache/downloads/file","reason":"cache-entry-removed"}

"#]]);
    assert!(!downloads.join("file").exists());
}

#[test]
fn a_new_package() {
    let place = Place::new();
    place.faasm("new greeter").assert().success().stdout_eq("").stderr_eq(str![[r#"
     Created the package `greeter`
        Next cd greeter && cargo faasm run functions/hello.py --data you

"#]]);
    for file in
        ["Cargo.toml", "build.rs", "src/main.rs", "tests/hello.rs", "functions/hello.py", ".gitignore"]
    {
        assert!(place.path().join("greeter").join(file).is_file(), "{file}");
    }
    place.faasm("new greeter").assert().code(3).stderr_eq(str![[r#"
error: [..]/greeter exists already

hint: choose another name, or remove it

"#]]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "nothing temporary is left");
}

#[test]
fn a_new_package_with_an_invalid_name() {
    let place = Place::new();
    place.faasm("new ../escape").assert().code(3).stderr_eq(str![[r#"
error: the name "../escape" cannot be that of a package: it does not start with a letter

hint: start with a letter, and use letters, digits, `-` and `_`

"#]]);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_broken_package_around() {
    let place = Place::new();
    place.file("Cargo.toml", "[package]\nname = 1\n");
    place.file("f.py", "");
    let assert = place.faasm("run f.py").assert().code(3).stdout_eq("");
    let text = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(text.contains("Cargo.toml") && text.contains("hint: "), "{text}");
}
