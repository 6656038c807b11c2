//! The server as a program of its own, for production.
//!
//! ```text
//! py_func --image DIR --listen 0.0.0.0:8080 --tokens FILE
//! py_func --runtime s3://bucket/py_func-1.2.0-x86_64-unknown-linux-gnu.tar.zst --trust release.pub
//! py_func --image DIR --functions DIR
//! py_func --storage s3://bucket/production --listen 0.0.0.0:8080 --tokens FILE
//! py_func token --tokens FILE alice bob
//! ```

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use faasm_bundle::{Location, PublicKey};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use super::{First, Named, Options, Server, ServerError, Settings, Tokens};
use crate::registry::{Fetch, Registry, RegistryError, Storage, StoredRuntime};
use crate::runtime::Runtime;

/// Runs Python functions over HTTP, each call in a sandbox of its own
#[derive(Parser)]
#[command(name = "py_func", version, args_conflicts_with_subcommands = true, max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Make a token, add its hash to a file, and print it
    Token {
        /// The file
        #[arg(long, value_name = "FILE", env = "FAASM_TOKENS")]
        tokens: PathBuf,
        /// Whose functions and state it is for [default: everybody's]
        users: Vec<String>,
    },
    /// Ask a server on this machine, which has no certificate, whether it lives; for health checks of containers
    Health {
        /// Where it listens
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", env = "FAASM_LISTEN")]
        listen: SocketAddr,
    },
}

#[derive(Args)]
struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", env = "FAASM_LISTEN")]
    listen: SocketAddr,
    /// The image to start with [default: the runtime of the storage, else the store's, else the one that this program was built with].
    /// What the server is upgraded to takes the place of it until another one is named
    #[arg(long, value_name = "DIR", env = "FAASM_IMAGE")]
    image: Option<PathBuf>,
    /// A bundle to fetch first, and with whose runtime to start, as with an image: a path, or a URL that begins with s3://, gs://, az://
    /// or https://
    #[arg(long, value_name = "URL", conflicts_with = "image", env = "FAASM_RUNTIME", hide_env_values = true)]
    runtime: Option<String>,
    /// A public key of minisign, or its file, by which the bundle must be signed; its machine code is then used
    #[arg(long, value_name = "KEY", env = "FAASM_TRUST", hide_env_values = true)]
    trust: Option<String>,
    /// Use the machine code of a bundle that is a file of this machine, as if a program was installed
    #[arg(long)]
    trust_local: bool,
    /// The store [default: that of `cargo faasm`]
    #[arg(long, value_name = "DIR", env = "FAASM_HOME")]
    home: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
    /// How long a call may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// How much memory a call may have, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: usize,
    /// How to write the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// What to log, as in `warn,py_func::access=info`
    #[arg(long, value_name = "FILTER", default_value = "info", env = "FAASM_LOG")]
    log: EnvFilter,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Runs the program with its command line, of which the first is its name, and answers how it ends.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(arguments);
    let done = match cli.command {
        Some(Command::Token { tokens, users }) => token(&tokens, &users),
        Some(Command::Health { listen }) => return health(listen),
        None => serve(cli.serve),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn token(path: &std::path::Path, users: &[String]) -> Result<(), ServerError> {
    let token = Tokens::create(path, users)?;
    // When nobody reads it, the token is lost, and another one can be made.
    let _ = writeln!(io::stdout(), "{token}");
    Ok(())
}

/// Success is the answer 200.
fn health(listen: SocketAddr) -> ExitCode {
    /// Health checks are made every few seconds.
    const PATIENCE: Duration = Duration::from_secs(4);

    let ask = || {
        let mut address = listen;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        io::Result::Ok(answer)
    };
    match ask() {
        Ok(answer) if answer == *b"HTTP/1.1 200" => ExitCode::SUCCESS,
        Ok(answer) => unhealthy(&String::from_utf8_lossy(&answer)),
        Err(error) => unhealthy(&error.to_string()),
    }
}

fn unhealthy(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: the server does not answer as it should: {reason}");
    ExitCode::FAILURE
}

fn serve(arguments: Serve) -> Result<(), ServerError> {
    let log = fmt::layer().with_writer(io::stderr);
    let log = match arguments.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(log.with_filter(arguments.log));
    #[cfg(feature = "otlp")]
    let exporter = super::Exporter::from_env()?;
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(exporter.as_ref().map(super::Exporter::layer));
    subscriber.init();
    let options = &arguments.options;
    let key = arguments.trust.as_deref().map(PublicKey::read).transpose().map_err(RegistryError::from)?;
    let store = match arguments.home {
        Some(home) => Registry::new(home),
        None => Registry::from_env()?,
    };
    let store = options.store(store);
    let storage = options.open_storage(&store)?;
    let bundle =
        arguments.runtime.as_deref().map(Location::parse).transpose().map_err(RegistryError::from)?;
    let named = match (&arguments.image, &bundle) {
        (Some(image), _) => Named::image(image),
        (None, Some(bundle)) => Named::bundle(bundle),
        (None, None) => None,
    };
    let fetch_from = |location: Location| {
        let fetch = Fetch { location, key: key.clone(), trust_local: arguments.trust_local };
        fetch_runtime(&store, &fetch, storage.as_deref().unwrap_or(&store))
    };
    let first = First::choose(
        &store,
        storage.as_deref(),
        named.as_ref(),
        |place| fetch_from(Location::parse(place)?),
        |text| tracing::warn!(target: "py_func::server", "{text}"),
    )?;
    // They must not be removed before the server has opened them.
    let (mut upgraded, mut stored) = (None, None);
    // Where other servers find it.
    let mut place = None;
    let image = match (first, arguments.image, bundle) {
        (First::Upgraded(image), ..) => {
            tracing::info!(target: "py_func::server", "running what this server was upgraded to");
            place.clone_from(&image.bundle);
            Some(upgraded.insert(image).directory.clone())
        }
        (First::Named | First::Other, Some(image), _) => Some(image),
        (First::Named | First::Other, None, Some(location)) => {
            place = arguments.runtime.filter(|_| !location.is_local());
            Some(stored.insert(fetch_from(location)?).image.clone())
        }
        (First::Named, None, None) => {
            stored = store.runtime()?;
            stored.as_ref().map(|it| it.image.clone())
        }
        (First::Other, None, None) => None,
    };
    let mut runtime = Runtime::builder()
        .timeout(Duration::from_secs(arguments.timeout))
        .memory_limit(arguments.memory << 20);
    if let Some(image) = &image {
        runtime = runtime.image(image);
    }
    let runtime = options.runtime(runtime);
    let settings =
        Settings { listen: arguments.listen, bundle: place, ..options.settings(storage, key, named)? };
    let server = Server::bind(settings, runtime, store)?;
    drop((upgraded, stored));
    let ended = server.run_until_signal(|server| {
        tracing::info!(target: "py_func::server", "listening on {}", server.url());
    });
    #[cfg(feature = "otlp")]
    if let Some(exporter) = exporter {
        exporter.shutdown();
    }
    ended
}

/// Fetches a bundle, and answers the runtime in it.
fn fetch_runtime(
    store: &Registry,
    fetch: &Fetch,
    storage: &dyn Storage,
) -> Result<StoredRuntime, RegistryError> {
    let log = |text: &str| tracing::info!(target: "py_func::server", "{text}");
    tracing::info!(target: "py_func::server", "fetching {}", fetch.location);
    let fetched = store.fetch(fetch, storage, &log, &|_, _| ())?;
    for (user, name) in &fetched.kept {
        tracing::warn!(target: "py_func::server", "{user}/{name} was left as it is: the store has another version");
    }
    tracing::info!(target: "py_func::server", "running py_func {}", fetched.manifest.version);
    Ok(fetched.runtime)
}

fn report(error: &ServerError) {
    let mut text = format!("error: failed to {error}");
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    for cause in causes {
        text += &format!("\n  caused by: {cause}");
    }
    if let Some(hint) = error.hint() {
        text += &format!("\n\nhint: {hint}");
    }
    // When nobody reads it, there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
