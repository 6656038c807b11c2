//! The server as a program of its own, for production.
//!
//! ```text
//! py_func --image DIR --listen 0.0.0.0:8080 --tokens FILE
//! py_func token --tokens FILE alice bob
//! ```

use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use py_func::server::{Access, Limits, Server, ServerError, Settings, Tls, Tokens};
use py_func::{Registry, Runtime};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

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
}

#[derive(Args)]
struct Serve {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", env = "FAASM_LISTEN")]
    listen: SocketAddr,
    /// The image [default: the store's runtime, else the one that this program was built with]
    #[arg(long, value_name = "DIR", env = "FAASM_IMAGE")]
    image: Option<PathBuf>,
    /// The store [default: that of `cargo faasm`]
    #[arg(long, value_name = "DIR", env = "FAASM_HOME")]
    home: Option<PathBuf>,
    /// The tokens by which clients are let in, as `py_func token` makes them
    #[arg(long, value_name = "FILE", env = "FAASM_TOKENS")]
    tokens: Option<PathBuf>,
    /// Let everyone in who can reach this server
    #[arg(long, conflicts_with = "tokens")]
    insecure_no_auth: bool,
    /// The certificate, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The key of the certificate, in PEM format
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// How long a call may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// How much memory a call may have, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 512)]
    memory: usize,
    /// How large bodies of requests, and outputs of calls, may be, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 64)]
    body: usize,
    /// How many requests a second each client may make [default: any number]
    #[arg(long, value_name = "REQUESTS")]
    rate: Option<NonZero<u32>>,
    /// How many calls compute at a time [default: one for each processor]
    #[arg(long, value_name = "COUNT")]
    threads: Option<NonZero<usize>>,
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Token { tokens, users }) => token(&tokens, &users),
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

fn serve(arguments: Serve) -> Result<(), ServerError> {
    let log = fmt::layer().with_writer(io::stderr);
    let log = match arguments.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => log.json().flatten_event(true).boxed(),
    };
    let subscriber = tracing_subscriber::registry().with(log.with_filter(arguments.log));
    #[cfg(feature = "otlp")]
    let exporter = py_func::server::Exporter::from_env()?;
    #[cfg(feature = "otlp")]
    let subscriber = subscriber.with(exporter.as_ref().map(py_func::server::Exporter::layer));
    subscriber.init();
    let access = match (arguments.tokens, arguments.insecure_no_auth) {
        (Some(path), _) => Access::Tokens(Tokens::read(path)?),
        (None, true) => Access::Anyone,
        (None, false) => Access::Loopback,
    };
    let tls = arguments.tls_certificate.zip(arguments.tls_key);
    let settings = Settings {
        listen: arguments.listen,
        access,
        tls: tls.map(|(certificate, key)| Tls { certificate, key }),
        limits: Limits { body: arguments.body << 20, rate: arguments.rate, ..Limits::default() },
        on_call: None,
    };
    let mut runtime = Runtime::builder()
        .timeout(Duration::from_secs(arguments.timeout))
        .memory_limit(arguments.memory << 20)
        .output_limit(arguments.body << 20);
    if let Some(threads) = arguments.threads {
        runtime = runtime.threads(threads);
    }
    let store = match arguments.home {
        Some(home) => Registry::new(home),
        None => Registry::from_env()?,
    };
    let image = match arguments.image {
        Some(image) => Some(image),
        None => store.runtime()?.map(|stored| stored.image),
    };
    if let Some(image) = image {
        runtime = runtime.image(image);
    }
    let server = Server::bind(settings, runtime, store)?;
    let ended = server.run_until_signal(|server| {
        tracing::info!(target: "py_func::server", "listening on {}", server.url());
    });
    #[cfg(feature = "otlp")]
    if let Some(exporter) = exporter {
        exporter.shutdown();
    }
    ended
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
