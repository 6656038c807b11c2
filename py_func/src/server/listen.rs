//! Connections: accepting them, encryption, timeouts, and the end of it all.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::select;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::App;
use super::access::Peer;
use super::addresses::Addresses;
use super::error::ServerError;
use super::settings::Tls;
use super::stream::Patient;

/// How long to wait when the system has no more open files for connections.
const PAUSE: Duration = Duration::from_millis(100);

/// How often what is kept for a time is looked through.
const TICK: Duration = Duration::from_secs(1);

/// Accepts connections until `shutdown` is done. Then it accepts no more, and waits for those that are being answered, and for
/// asynchronous calls, but not for ever.
pub(super) async fn serve(
    app: Arc<App>,
    router: Router,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    shutdown: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    let accepting = accept_all(&app, &router, &listener, tls.as_ref(), &connections);
    let background = async {
        select(pin!(accepting), pin!(tick(&app))).await;
    };
    select(pin!(background), pin!(shutdown)).await;

    app.shutting_down.store(true, Ordering::Relaxed);
    drop(listener);
    let finished = async {
        connections.shutdown().await;
        while app.calls.counts().0 > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(app.limits.shutdown, finished).await.is_err() {
        tracing::warn!(target: "py_func::server", "some requests had not ended when the server shut down");
    }
}

/// What is needed to encrypt connections.
pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServerError> {
    let failed =
        |path: &std::path::Path, reason: String| ServerError::Tls { path: path.to_path_buf(), reason };
    let certificates = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| failed(&tls.key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|it| it.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| failed(&tls.certificate, error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept_all(
    app: &Arc<App>,
    router: &Router,
    listener: &TcpListener,
    tls: Option<&TlsAcceptor>,
    connections: &GracefulShutdown,
) {
    let places = Arc::new(Semaphore::new(app.limits.connections));
    let addresses = Addresses::new(app.limits.connections_per_address);
    loop {
        // Nobody closes the semaphore.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Either the connection is gone already, or there are too many open files; then some of them will be closed.
                tracing::debug!(target: "py_func::server", "failed to accept a connection: {error}");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Some(open) = addresses.open(address.ip()) else {
            tracing::debug!(target: "py_func::server", "{} has too many connections", address.ip());
            metrics::counter!("faasm_connections_refused_total").increment(1);
            continue;
        };
        // Answers are small, and clients wait for them.
        let _ = stream.set_nodelay(true);
        let (app, router, tls, watcher) =
            (Arc::clone(app), router.clone(), tls.cloned(), connections.watcher());
        tokio::spawn(async move {
            connect(&app, router, stream, tls, Peer(address), watcher).await;
            drop((place, open));
        });
    }
}

async fn connect(
    app: &App,
    router: Router,
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    peer: Peer,
    watcher: Watcher,
) {
    match tls {
        None => answer(app, router, stream, peer, watcher).await,
        Some(tls) => match timeout(app.limits.header_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => answer(app, router, stream, peer, watcher).await,
            Ok(Err(error)) => {
                tracing::debug!(target: "py_func::server", "{} did not agree on encryption: {error}", peer.0);
            }
            Err(_) => (),
        },
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    app: &App,
    router: Router,
    stream: S,
    peer: Peer,
    watcher: Watcher,
) {
    let limits = &app.limits;
    let service = service_fn(move |request: Request<Incoming>| {
        let mut router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        async move { Ok::<_, Infallible>(router.call(request).await.unwrap_or_else(|never| match never {})) }
    });
    let stream = TokioIo::new(Patient::new(stream, limits.body_timeout));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header)
        .serve_connection(stream, service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(target: "py_func::server", "the connection of {} ended: {error}", peer.0);
    }
}

/// Forgets what was kept for long enough, and takes up new tokens.
async fn tick(app: &App) {
    loop {
        sleep(TICK).await;
        app.calls.expire();
        app.update();
    }
}
