//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};
use py_func::server::Options;

use crate::error::EXIT_CODES;
use crate::units::{parse_duration, parse_size};

/// Runs untrusted Python functions in sandboxes that start in microseconds
#[derive(Debug, Parser)]
#[command(
    name = "cargo-faasm",
    bin_name = "cargo faasm",
    version,
    arg_required_else_help = true,
    max_term_width = 110
)]
#[command(after_help = concat_help(), disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
}

fn concat_help() -> String {
    format!("{EXAMPLES}\n\n{EXIT_CODES}")
}

const EXAMPLES: &str = "\
Examples:
  cargo faasm run hello.py --data world
  cargo faasm python -c 'import sys; print(sys.version)'
  cargo faasm new greeter";

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: cached steps, and what calls took
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Do not use the network
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// When to use colours [default: auto, or what CARGO_TERM_COLOR says]
    #[arg(long, global = true, value_name = "WHEN")]
    pub(crate) color: Option<ColorChoice>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    New(New),
    Build(Build),
    Run(Run),
    Python(Python),
    Upload(Upload),
    Invoke(Invoke),
    List(List),
    Rollback(Rollback),
    Serve(Serve),
    State(State),
    Logs(Logs),
    Flush(Flush),
    Upgrade(Upgrade),
    Token(Token),
    Add(Add),
    Remove(Remove),
    Update(Update),
    Tree(Tree),
    Recipe(Recipe),
    Codegen(Codegen),
    Package(Package),
    Fetch(Fetch),
    Key(Key),
    Doctor(Doctor),
    Cache(Cache),
    Completions(Completions),
}

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Human,
    /// One JSON object a line
    Json,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Message {
    /// How to write results
    #[arg(long = "message-format", global = true, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Image {
    /// The directory of the image to use, instead of the one that is found or built
    #[arg(long = "image", value_name = "DIR", env = "FAASM_IMAGE", hide_env_values = true)]
    pub(crate) directory: Option<PathBuf>,
}

/// A server to use in place of the store.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// The address of a server to use, such as `http://localhost:8080`, in place of the store
    #[arg(long, value_name = "URL", env = "FAASM_URL", hide_env_values = true)]
    pub(crate) url: Option<String>,
    /// The token by which the server knows who asks
    #[arg(long, value_name = "TOKEN", env = "FAASM_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

/// Limits of a call.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Limits {
    /// How long it may take [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// How much memory it may have [default: 512MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) memory: Option<usize>,
    /// How much it may write to each of standard output, standard error and its output [default: 16MiB]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) output: Option<usize>,
}

/// The input of a call. Without any it is what standard input has, unless that is a terminal.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Input {
    /// The input, as text
    #[arg(long, value_name = "TEXT")]
    pub(crate) data: Option<String>,
    /// A file with the input; `-` for standard input, which is also read when it is a pipe or a file
    #[arg(long, value_name = "PATH")]
    pub(crate) file: Option<PathBuf>,
}

/// Create a package that runs a Python function
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm new greeter && cd greeter && cargo test")]
pub(crate) struct New {
    /// The name of the package and of its directory
    pub(crate) name: String,
}

/// Build the image: CPython, its machine code and its initialised memory
///
/// In a package that depends on `py_func`, runs `cargo build` and lays the image that its build script made under `target/faasm`.
/// Elsewhere it builds the default image. Prints the image's directory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm build\n  cargo faasm build -- --release --features extra")]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) message: Message,
    /// Fail if `Cargo.lock` or `faasm.lock` would have to change
    #[arg(long)]
    pub(crate) locked: bool,
    /// Arguments for `cargo build`
    #[arg(last = true, value_name = "CARGO_ARGUMENTS")]
    pub(crate) cargo: Vec<String>,
}

/// Run a Python function from a file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm run hello.py --data world
  cargo faasm run resize.py < in.png > out.png
  cargo faasm run project/
  cargo faasm run job.py --entry check --timeout 5s --memory 256MiB")]
pub(crate) struct Run {
    /// The file with the function; or the folder, or a zip or tar archive of one, with its `main.py` or `__init__.py`
    #[arg(value_name = "FILE")]
    pub(crate) source: PathBuf,
    /// The function to call
    #[arg(long, value_name = "NAME", default_value = "faasm_main")]
    pub(crate) entry: String,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Run the Python interpreter in the sandbox
///
/// It sees the current directory, read-only, and a private `/tmp` that is removed afterwards. Arguments from the first on that this
/// command does not have itself are the interpreter's; `--` says where they start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm python
  cargo faasm python -c 'print(6 * 7)'
  cargo faasm python --dir results -- script.py -v
  cargo faasm python -m test test_json")]
pub(crate) struct Python {
    /// A directory that may be changed, and under which name [default: its own absolute path]
    #[arg(long = "dir", value_name = "PATH[:GUEST]")]
    pub(crate) directories: Vec<String>,
    /// An environment variable; without a value, the one it has here
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) variables: Vec<String>,
    #[command(flatten)]
    pub(crate) image: Image,
    /// Arguments for the interpreter
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(crate) arguments: Vec<String>,
}

/// Put a function, or the runtime, into the store
///
/// A function is loaded first; what cannot be loaded is not stored. The name `py_func` stands for the runtime: the image that the
/// functions of the store are run on.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm upload python py_func
  cargo faasm upload python hello hello.py
  generate | cargo faasm upload python generated -")]
pub(crate) struct Upload {
    /// Whose function it is
    pub(crate) user: String,
    /// Its name
    pub(crate) function: String,
    /// The file with the function, or a folder or an archive; `-` for standard input [default: FUNCTION.py]. Of the runtime, the
    /// directory of an image
    pub(crate) file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Call a function of the store
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm invoke python hello --data world")]
pub(crate) struct Invoke {
    /// Whose function it is
    pub(crate) user: String,
    /// Its name
    pub(crate) function: String,
    #[command(flatten)]
    pub(crate) input: Input,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Show the functions and the runtime of the store
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Show earlier versions of the functions, too; the first of each is the one that is called
    #[arg(long)]
    pub(crate) versions: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Go back to an earlier version of a function
///
/// It is loaded, as when it was uploaded, and is the last version from then on. `cargo faasm list --versions` shows which there are.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm rollback python hello
  cargo faasm rollback python hello 2c26b46b68ffc68f")]
pub(crate) struct Rollback {
    /// Whose function it is
    pub(crate) user: String,
    /// Its name
    pub(crate) function: String,
    /// Which version [default: the one before the last]
    pub(crate) version: Option<String>,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Serve the functions of the store over HTTP, with a page to look at
///
/// Shows calls as they end. Ctrl+C finishes those that have begun, and a second one ends them. Programs on other machines are let in
/// when tokens are set up; see `cargo faasm token`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm serve
  cargo faasm serve --watch functions
  cargo faasm serve --listen 0.0.0.0:8080 --tokens tokens --tls-certificate cert.pem --tls-key key.pem")]
pub(crate) struct Serve {
    /// Where to listen; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Upload the Python files of a directory, and again whenever one changes
    #[arg(long, value_name = "DIR")]
    pub(crate) watch: Option<PathBuf>,
    /// Whose functions those are
    #[arg(long, value_name = "USER", default_value = "python", requires = "watch")]
    pub(crate) user: String,
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(flatten)]
    pub(crate) limits: Limits,
    #[command(flatten)]
    pub(crate) image: Image,
    /// Fetch a bundle first, as `cargo faasm fetch` does, and start with its runtime. What the server is upgraded to takes the place of it
    /// until the command line names another one
    #[arg(long, value_name = "URL", conflicts_with = "directory")]
    pub(crate) runtime: Option<String>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Read and change the state of users
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm state list python
  cargo faasm state put python key --data value
  cargo faasm state get python key > value")]
pub(crate) struct State {
    #[command(subcommand)]
    pub(crate) action: StateAction,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Show the keys of a user
    List {
        /// Whose state it is
        user: String,
    },
    /// Print a value
    Get {
        /// Whose state it is
        user: String,
        /// Which value
        key: String,
    },
    /// Store a value
    Put {
        /// Whose state it is
        user: String,
        /// Which value
        key: String,
        #[command(flatten)]
        input: Input,
    },
    /// Delete a value, and the log of the same key
    Delete {
        /// Whose state it is
        user: String,
        /// Which value
        key: String,
    },
}

/// Show the last calls that a server has made, and what they wrote
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm logs --url http://localhost:8080 python hello --follow")]
pub(crate) struct Logs {
    /// Those of functions of this user alone
    pub(crate) user: Option<String>,
    /// Those of functions of this name alone
    pub(crate) function: Option<String>,
    /// How many
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) limit: u16,
    /// Go on, and show calls as they end
    #[arg(long, short = 'f')]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Have a server forget what it has loaded
///
/// It loads functions anew from its store, and fetches state anew that was pushed.
#[derive(Debug, Args)]
pub(crate) struct Flush {
    #[command(flatten)]
    pub(crate) remote: Remote,
}

/// Have a server run another runtime, while it goes on to answer
///
/// The server fetches the bundle, loads on its runtime what it has loaded, and from then on runs calls that begin on it. If functions
/// cannot be loaded on it, nothing changes. Servers of the same storage that are started later run it, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm upgrade s3://bucket/runtimes/py_func-2.0.0-x86_64-unknown-linux-gnu.tar.zst
  cargo faasm upgrade --rollback")]
#[group(id = "wanted", required = true, multiple = false, args = ["bundle", "rollback"])]
pub(crate) struct Upgrade {
    /// The bundle, as the server finds it
    #[arg(value_name = "URL")]
    pub(crate) bundle: Option<String>,
    /// Go back to the runtime before
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Go on when functions cannot be loaded on it
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) remote: Remote,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Make a token for a server, and print it
///
/// The file gets only its hash, so this is the one time that it is shown. A server that runs takes up new tokens, and drops those
/// whose lines are removed, within a second.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  cargo faasm token --tokens tokens\n  cargo faasm token --tokens tokens alice bob"
)]
pub(crate) struct Token {
    /// The file, which is created if it is not there
    #[arg(long, value_name = "FILE")]
    pub(crate) tokens: PathBuf,
    /// Whose functions and state it is for [default: everybody's]
    pub(crate) users: Vec<String>,
}

/// Add Python packages to the image
///
/// Writes them into `packages` of `[package.metadata.faasm]`, chooses versions of them and of all that they require, and writes
/// those into `faasm.lock`. A package that is there already gets the new requirement.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm add numpy 'pandas>=3'
  cargo faasm add -r requirements.txt")]
pub(crate) struct Add {
    /// Packages, each with the versions that will do, as PEP 508 has it
    #[arg(required_unless_present = "files", value_name = "REQUIREMENT")]
    pub(crate) requirements: Vec<String>,
    /// A file with requirements to follow: a `requirements.txt` or a `pyproject.toml`
    #[arg(short = 'r', long = "requirements", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Remove Python packages from the image
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm remove pandas")]
pub(crate) struct Remove {
    /// Names of packages
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Choose the newest versions of Python packages that will do
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm update\n  cargo faasm update attrs")]
pub(crate) struct Update {
    /// Packages to update [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Show the Python packages of the image and what they require
#[derive(Debug, Args)]
pub(crate) struct Tree {
    /// Fail if `faasm.lock` would have to change
    #[arg(long)]
    pub(crate) locked: bool,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Write, check and build recipes of Python packages
///
/// A recipe is a directory with a `meta.yaml` in pyodide's schema. Images find it in the folders that `recipe-dirs` in
/// `[package.metadata.faasm]` names.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm recipe new regex
  cargo faasm recipe check recipes/regex
  cargo faasm recipe build recipes/regex")]
pub(crate) struct Recipe {
    #[command(subcommand)]
    pub(crate) action: RecipeAction,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RecipeAction {
    /// Write a recipe for a package of the package index
    New {
        /// The package, with a version or without: `regex`, `regex==2026.11.15`
        #[arg(value_name = "NAME[==VERSION]")]
        package: String,
        /// The folder to write it into, as a directory of the package's name
        #[arg(long = "dir", value_name = "DIR", default_value = "recipes")]
        folder: PathBuf,
    },
    /// Check recipes
    Check {
        /// Directories of recipes
        #[arg(required = true, value_name = "DIR")]
        directories: Vec<PathBuf>,
    },
    /// Build a recipe, and C libraries that it needs
    Build {
        /// The directory of the recipe
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Also write a wheel with the result into a folder, as a directory of the package's name with a recipe for the wheel:
        /// a folder for `recipe-dirs`, with which nothing is compiled
        #[arg(long, value_name = "FOLDER")]
        wheel: Option<PathBuf>,
    },
    /// Build a recipe, import its modules in the sandbox and run its tests there
    Test {
        /// The directory of the recipe
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Only import the modules
        #[arg(long)]
        imports: bool,
        /// Further arguments for each command of the tests, such as `-k NAME` for pytest
        #[arg(last = true, value_name = "ARGUMENT", conflicts_with = "imports")]
        arguments: Vec<String>,
    },
}

/// Generate machine code for another processor or system
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm codegen --target aarch64-unknown-linux-gnu
  cargo faasm codegen --target x86_64-unknown-linux-gnu+v3")]
pub(crate) struct Codegen {
    /// The target: a triple, of x86-64 also with a level, as in `x86_64-unknown-linux-gnu+v3`
    #[arg(long, value_name = "TARGET")]
    pub(crate) target: String,
    /// The file to write [default: py_func-TARGET.cwasm]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Bundle the runtime into one file, for other machines
///
/// A bundle has the WebAssembly module, the library, the initialised memory, a bill of materials and licences. The same image makes the same
/// bytes. It is compiled where it is fetched, unless it has machine code and is trusted there. Prints the bundle's path, or where it was
/// published.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm package
  cargo faasm package --target x86_64-unknown-linux-gnu+v3 --target aarch64-unknown-linux-gnu --include functions
  cargo faasm package --version 1.2.0 --sign release.key --to s3://bucket/runtimes")]
pub(crate) struct Package {
    /// Add machine code for a target, or for exactly this processor: a triple, of x86-64 also with a level from v2 to v4, as in
    /// `x86_64-unknown-linux-gnu+v3`. Whoever fetches the bundle gets the code of those that suits the processor best
    #[arg(long = "target", value_name = "TARGET|native")]
    pub(crate) targets: Vec<String>,
    /// Add what is in the store
    #[arg(long, value_name = "WHAT")]
    pub(crate) include: Vec<Include>,
    /// Its version [default: that of the package, else of cargo-faasm]
    #[arg(long, value_name = "VERSION")]
    pub(crate) version: Option<String>,
    /// The directory to write it into
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// How much time to spend on making it small
    #[arg(long, value_name = "LEVEL", default_value_t = faasm_bundle::DEFAULT_COMPRESSION,
        value_parser = clap::value_parser!(i32).range(1..=i64::from(faasm_bundle::HIGHEST_COMPRESSION)))]
    pub(crate) compression: i32,
    /// Write a container image in its place, with the server, for Linux and this kind of processor: an archive of an OCI image layout, as
    /// `docker load`, `podman load` and `skopeo copy oci-archive:FILE` take it
    #[arg(long, conflicts_with_all = ["sign", "to"])]
    pub(crate) oci: bool,
    /// Print manifests for Kubernetes, which run the container image of this name, and do nothing else
    #[arg(long, value_name = "IMAGE", conflicts_with_all = ["oci", "targets", "include", "sign", "to"])]
    pub(crate) kubernetes: Option<String>,
    /// The program `py_func` for the container image [default: beside cargo-faasm, else on PATH]
    #[arg(long, value_name = "FILE", requires = "oci")]
    pub(crate) server: Option<PathBuf>,
    /// Sign it with a private key of minisign; its password is asked for, or taken from FAASM_SIGN_PASSWORD
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
    /// Publish it below a URL, such as `s3://bucket/prefix`, or in a directory
    #[arg(long, value_name = "URL")]
    pub(crate) to: Option<String>,
    /// Replace another bundle that was published by the same name
    #[arg(long, requires = "to")]
    pub(crate) overwrite: bool,
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Include {
    /// All functions
    Functions,
}

/// Fetch a bundle, and make its runtime the store's
///
/// Everything is verified before it is used. Machine code is compiled here, unless that of the bundle is trusted. Functions of the bundle
/// are added, and those of which the store has another version left alone. What was cut off goes on when it is run again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm fetch py_func-1.2.0-x86_64-unknown-linux-gnu.tar.zst --trust-local
  cargo faasm fetch s3://bucket/runtimes/py_func-1.2.0-x86_64-unknown-linux-gnu.tar.zst --trust release.pub")]
pub(crate) struct Fetch {
    /// The bundle: a path, or a URL that begins with file://, s3://, gs://, az:// or https://
    #[arg(value_name = "URL")]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Make a pair of keys to sign bundles with
///
/// Writes the private key, which only its owner can read, and the public key beside it, with `.pub` behind its name. Prints the public
/// key as `--trust` takes it. Both are keys of minisign.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cargo faasm key release.key
  cargo faasm package --sign release.key
  cargo faasm fetch URL --trust release.key.pub")]
pub(crate) struct Key {
    /// The file of the private key, which must not be there
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Do not protect it by a password, which else is asked for, or taken from FAASM_SIGN_PASSWORD
    #[arg(long)]
    pub(crate) no_password: bool,
}

/// How far a bundle is trusted.
#[derive(Debug, Args)]
pub(crate) struct Trust {
    /// A public key of minisign, or its file: the bundle must be signed by it, and its machine code is used
    #[arg(long, value_name = "KEY", env = "FAASM_TRUST", hide_env_values = true)]
    pub(crate) trust: Option<String>,
    /// Use the machine code of a bundle that is a file of this machine, as if a program was installed
    #[arg(long)]
    pub(crate) trust_local: bool,
}

/// Check whether this machine has what is needed
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) image: Image,
    #[command(flatten)]
    pub(crate) message: Message,
}

/// Show or clean the cache of build results
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm cache\n  cargo faasm cache gc --older-than 7d")]
pub(crate) struct Cache {
    #[command(subcommand)]
    pub(crate) action: Option<CacheAction>,
    #[command(flatten)]
    pub(crate) message: Message,
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum CacheAction {
    /// Show what is in it (the default)
    List,
    /// Remove what was not used for some time, except what is in use now
    Gc {
        /// For how long
        #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_duration)]
        older_than: Duration,
    },
    /// Remove everything, except what is in use now
    Clear,
    /// Print its directory
    Dir,
}

/// Print a script that completes command lines of `cargo-faasm`
///
/// zsh uses it for `cargo faasm` as well.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  cargo faasm completions zsh > ~/.zfunc/_cargo-faasm")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn the_interpreters_arguments_are_not_taken() {
        for (line, options, arguments) in [
            ("python -c x -v --image i", 0, vec!["-c", "x", "-v", "--image", "i"]),
            ("python --dir d -- -v", 1, vec!["-v"]),
            ("python --dir d script.py --dir e", 1, vec!["script.py", "--dir", "e"]),
            ("python -m test -- -x", 0, vec!["-m", "test", "--", "-x"]),
            ("python", 0, vec![]),
        ] {
            let words = ["cargo-faasm"].into_iter().chain(line.split(' '));
            let Command::Python(python) = Cli::try_parse_from(words).unwrap().command else {
                panic!("{line}")
            };
            assert_eq!(
                (python.directories.len(), python.arguments),
                (options, arguments.iter().map(ToString::to_string).collect())
            );
        }
    }
}
