//! The server: functions, calls and state over HTTP.
//!
//! ```no_run
//! use py_func::server::{Server, Settings};
//! use py_func::{Registry, Runtime};
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(Settings::default(), Runtime::builder(), Registry::from_env()?)?;
//! server.run_until_signal(|server| println!("listening on {}", server.url()))?;
//! # Ok(()) }
//! ```
//!
//! What it offers is described at `/openapi.json`, which is made from the handlers in `routes`. A request takes this way: a connection
//! ([`listen`], [`stream`]) hands it to the router; [`observe`] gives it a trace, and says afterwards how it went; [`access`] finds
//! out whose it is; [`extract`] checks its address; a handler does the work. Whatever goes wrong is a [`problem`]. [`functions`] has what
//! is loaded, and [`upgrade`] changes what that runs on.
//!
//! Handlers run on threads of the server's own, and so do calls that a client waits for; [`relief`] sees to it that functions that
//! compute do not keep the server from answering. What blocks runs on threads that are for that.

mod access;
mod addresses;
#[cfg(test)]
mod arbitrary;
mod body;
mod budget;
mod calls;
#[cfg(any(test, fuzzing))]
pub mod checks;
mod error;
mod extract;
mod first;
mod functions;
mod json;
mod listen;
mod observe;
mod options;
#[cfg(feature = "otlp")]
mod otlp;
mod problem;
mod program;
mod range;
mod relief;
mod routes;
mod settings;
mod stream;
mod tokens;
mod trace;
mod turns;
mod upgrade;
mod wire;

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use metrics::Gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::runtime::Builder;
use tokio::sync::{Notify, Semaphore};
use tokio_rustls::TlsAcceptor;

pub use calls::{CallState, Details, Summary};
pub use error::ServerError;
pub use first::{First, Named, StartImage};
pub use options::Options;
#[cfg(feature = "otlp")]
pub use otlp::Exporter;
pub use problem::ProblemDocument;
pub use program::main;
pub use routes::{Folder, FolderEntry, FunctionDocument, Keys, RuntimeDocument};
pub use settings::{Access, Limits, OnCall, Settings, Tls};
pub use tokens::Tokens;
pub use wire::{CallResult, Data, ErrorDocument, RESULT_JSON, UsageDocument};

use crate::admission::Busy;
use crate::executor::Executor;
use crate::host::SharedFiles;
use crate::registry::{Registry, StoredFunction};
use crate::runtime::RuntimeBuilder;
use crate::state::{self, Durable, State};

/// What a user may keep as state, and what state may take of the memory, in bytes.
const STATE: state::Limits = state::Limits { user_quota: 1 << 30, local: 1 << 30 };

/// What a user's shared files may take, in bytes.
const SHARED_FILES: u64 = 1 << 30;

/// A server that listens, and answers when it is run.
pub struct Server {
    app: Arc<App>,
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// What the handlers share.
struct App {
    upgrades: Arc<upgrade::Upgrades>,
    executor: Arc<Executor>,
    shared: Option<Arc<SharedFiles>>,
    state: State,
    functions: Arc<functions::Functions>,
    calls: calls::Calls,
    access: Access,
    rates: Option<access::Rates>,
    limits: Limits,
    budget: budget::Budget,
    /// One for each call that may compute or wait. The runtime counts calls when its threads get to them, which may be busy with others;
    /// too many are to be refused at once.
    places: Semaphore,
    turns: turns::Turns,
    relief: relief::Relief,
    on_call: Option<OnCall>,
    in_flight: Gauge,
    shutting_down: AtomicBool,
}

impl Server {
    /// Starts to listen, and opens the image and the store. Functions run on the image that `runtime` has;
    /// their state is in the store's directory `state`, which one process at a time can have open. They themselves are in the store, or
    /// in [`Settings::storage`].
    ///
    /// # Errors
    ///
    /// When others than this machine could reach it and [`Settings::access`] does not provide for that, or something cannot be opened.
    pub fn bind(settings: Settings, runtime: RuntimeBuilder, store: Registry) -> Result<Self, ServerError> {
        let Settings { listen: address, access, tls, mut limits, storage, trust, named, bundle, on_call } =
            settings;
        if matches!(access, Access::Loopback) && !address.ip().is_loopback() {
            return Err(ServerError::Exposed { address });
        }
        let tls = tls.as_ref().map(listen::acceptor).transpose()?;
        limits.connections = limits.connections.min(connections_allowed());
        let half = (limits.connections / 2).max(1);
        limits.connections_per_address = limits.connections_per_address.min(half);

        let listening = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).map_err(listening)?;
        listener.set_nonblocking(true).map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;

        let runtime = runtime.images(store.root().join("images"));
        let runtime = runtime.shared_files(store.root().join("files"), SHARED_FILES);
        let state = State::new(Arc::new(Durable::open(store.root().join("state"))?), STATE);
        let storage = storage.unwrap_or_else(|| Arc::new(store.clone()));
        let sources = Arc::clone(&storage);
        // That a function cannot be read is for the one who chains to it the same as that there is none.
        let lookup = move |user: &str, name: &str| sources.source(user, name).ok().map(|it| it.1);
        let builder = runtime.state(state.clone()).lookup(lookup);
        remove_leftovers(&store)?;
        let runtime = builder.clone().build()?;
        let started = upgrade::Started { named, bundle };
        let upgrades =
            upgrade::Upgrades::new(builder, store, Arc::clone(&storage), trust, started, &runtime)?;
        let functions = functions::Functions::open(storage, runtime.clone())?;
        recorder();
        let all = runtime.inner.executor.gate.limit();
        let app = Arc::new(App {
            upgrades: Arc::new(upgrades),
            executor: Arc::clone(&runtime.inner.executor),
            shared: runtime.inner.shared.clone(),
            state,
            functions: Arc::new(functions),
            calls: calls::Calls::new(&limits),
            access,
            rates: limits.rate.map(access::Rates::new),
            budget: budget::Budget::new(limits.buffered),
            places: Semaphore::new(all.computing.saturating_add(all.waiting).min(Semaphore::MAX_PERMITS)),
            turns: turns::Turns::new(),
            relief: relief::Relief::default(),
            on_call,
            in_flight: metrics::gauge!("faasm_http_requests_in_flight"),
            shutting_down: AtomicBool::new(false),
            limits,
        });
        Ok(Self { app, listener, address, tls })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients on this machine find it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// A way to store functions, which does not need to go through HTTP.
    pub fn uploader(&self) -> Uploader {
        Uploader(Arc::clone(&self.app))
    }

    /// Answers requests, on threads of its own, until `shutdown` is done. Then it accepts no more connections, finishes what has begun,
    /// and returns.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started.
    pub fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        // However many calls compute on these threads, there is one that does not.
        let computing = self.app.executor.gate.limit().computing;
        let tokio = Builder::new_multi_thread()
            .worker_threads(computing.saturating_add(1))
            .thread_name("faasm-http")
            .max_blocking_threads(64)
            .enable_io()
            .enable_time()
            .build()
            .map_err(ServerError::Threads)?;
        let Self { app, listener, tls, .. } = self;
        let _relief = relief::Relief::start(&app, tokio.handle().clone()).map_err(ServerError::Threads)?;
        let router = routes::router(Arc::clone(&app));
        tokio.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Threads)?;
            listen::serve(app, router, listener, tls, shutdown).await;
            Ok(())
        })
    }

    /// Answers requests until the process gets SIGINT or SIGTERM, as [`run`](Self::run) does. The second such signal ends the process at
    /// once. `ready` is called when signals are listened to, and clients may come.
    ///
    /// # Errors
    ///
    /// When the threads cannot be started, or the signals not be listened to.
    pub fn run_until_signal(self, ready: impl FnOnce(&Self)) -> Result<(), ServerError> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(ServerError::Threads)?;
        let arrived = Arc::new(Notify::new());
        let thread = std::thread::Builder::new().name("faasm-signals".to_owned());
        let handle = signals.handle();
        let waiting = thread
            .spawn({
                let arrived = Arc::clone(&arrived);
                move || {
                    for (count, signal) in signals.forever().enumerate() {
                        if count > 0 {
                            std::process::exit(128 + signal);
                        }
                        arrived.notify_one();
                    }
                }
            })
            .map_err(ServerError::Threads)?;
        ready(&self);
        let result = self.run(async move { arrived.notified().await });
        handle.close();
        // It only ends with the handle.
        let _ = waiting.join();
        result
    }
}

/// Stores functions in the store of a running server.
#[derive(Clone)]
pub struct Uploader(Arc<App>);

impl Uploader {
    /// Loads a function and stores it, as an upload over HTTP does.
    ///
    /// # Errors
    ///
    /// When a name cannot be used, the function cannot be loaded, or the store cannot be written.
    pub fn upload(&self, user: &str, name: &str, source: &[u8]) -> crate::registry::Result<StoredFunction> {
        self.0.functions.upload_now(user, name, source).map(|(stored, _)| stored)
    }
}

impl App {
    /// Forgets what can be had again.
    async fn flush(&self) -> Result<(), problem::Problem> {
        self.functions.flush().await?;
        self.state.evict(0);
        Ok(())
    }

    /// Why there is no place for a call.
    fn busy(&self) -> Busy {
        Busy { limit: self.executor.gate.limit().waiting, user: None }
    }

    /// What is to be done now and then.
    fn update(&self) {
        if let Access::Tokens(tokens) = &self.access {
            tokens.refresh();
        }
        if let Some(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }

    fn render_metrics(&self) -> String {
        let (running, kept) = self.calls.counts();
        metrics::gauge!("faasm_asynchronous_calls_running").set(running as f64);
        metrics::gauge!("faasm_asynchronous_results_kept").set(kept as f64);
        metrics::gauge!("faasm_buffered_bytes").set(self.budget.taken() as f64);
        metrics::gauge!("faasm_state_local_bytes").set(self.state.local_bytes() as f64);
        metrics::gauge!("faasm_functions").set(self.functions.count() as f64);
        recorder().map_or_else(String::new, PrometheusHandle::render)
    }
}

/// The process's recorder of metrics. `None` if the program that this is part of has set up another one.
fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    /// Upper bounds of the buckets of durations, in seconds.
    const SECONDS: [f64; 16] = [
        0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.1,
        0.5, 1.0, 10.0, 60.0,
    ];
    let install = || {
        let builder = PrometheusBuilder::new();
        let durations = Matcher::Suffix("_seconds".to_owned());
        let handle = builder.set_buckets_for_metric(durations, &SECONDS).ok()?.install_recorder().ok()?;
        crate::metrics::describe();
        Some(handle)
    };
    RECORDER.get_or_init(install).as_ref()
}

/// Has what killed servers left among shared files be removed, which may take a while if there are many.
fn remove_leftovers(store: &Registry) -> Result<(), ServerError> {
    // Nobody else writes such files: the state is open in one server at a time.
    let (started, files) = (SystemTime::now(), SharedFiles::new(store.root().join("files"), SHARED_FILES));
    let thread = std::thread::Builder::new().name("faasm-leftovers".to_owned());
    thread.spawn(move || files.remove_leftovers(started)).map_err(ServerError::Threads)?;
    Ok(())
}

/// How many connections there can be and still files for everything else. Asks the system for as many open files as it allows.
fn connections_allowed() -> usize {
    /// For the store, images and libraries.
    const OTHERS: u64 = 256;
    let files = getrlimit(Resource::RLIMIT_NOFILE).map(|(soft, hard)| {
        let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
        if raised { hard } else { soft }
    });
    // A function that is loaded has a file as well.
    files.map_or(usize::MAX, |files| (files.saturating_sub(OTHERS) / 2).max(16) as usize)
}
