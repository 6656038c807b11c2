//! How a server is set up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use faasm_bundle::PublicKey;

use super::calls::Details;
use super::first::Named;
use super::tokens::Tokens;
use crate::registry::Storage;

/// How a server is set up. [`Settings::default`] is one for a developer's own machine: loopback only, and no tokens.
#[derive(Clone)]
pub struct Settings {
    /// Where it listens; port 0 is any that is free. By default port 8080 of 127.0.0.1.
    pub listen: SocketAddr,
    /// Who may use it.
    pub access: Access,
    /// The certificate it shows; without one it speaks plain HTTP.
    pub tls: Option<Tls>,
    /// What requests may take.
    pub limits: Limits,
    /// Where functions are, in place of the store: a [`Bucket`](crate::Bucket), for instance, that several servers share.
    pub storage: Option<Arc<dyn Storage>>,
    /// The key by which bundles must be signed that this server is upgraded with. Their machine code is then used.
    pub trust: Option<PublicKey>,
    /// What the server was told to run, if it was. What it is upgraded to is run after a restart if that is told the same.
    pub named: Option<Named>,
    /// Where the bundle is in which the runtime came, if others can fetch it: servers on the same storage go back to it.
    pub bundle: Option<String>,
    /// Told of each call when it has ended. Must be short, since the answer waits for it.
    pub on_call: Option<OnCall>,
}

/// What is done with a call that has ended.
pub type OnCall = Arc<dyn Fn(&Details) + Send + Sync>;

/// Who may use a server.
#[derive(Clone, Debug)]
pub enum Access {
    /// Every program on this machine. The server listens to loopback addresses alone, and answers no web page of other origins.
    Loopback,
    /// Whoever has a token, as far as the token goes.
    Tokens(Tokens),
    /// Everyone who can reach it: for a network in which something else sees to that.
    Anyone,
}

/// A certificate and its key, as files in PEM format.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, followed by those that lead to one which clients know.
    pub certificate: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
}

/// What requests may take. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The size of a request's body. By default 64 MiB.
    pub body: usize,
    /// The size of a request's line and headers. By default 32 KiB.
    pub header: usize,
    /// What bodies of requests, what running calls have put out, answers, and results that are kept may take together, without those of up
    /// to 64 KiB. Requests with a body beyond it are refused, calls that would put out more are ended, and when all is taken no call begins;
    /// the status is 503 each time. By default 512 MiB.
    pub buffered: usize,
    /// How many connections may be open; more wait to be accepted. By default 4096, or fewer if the system allows fewer open files.
    pub connections: usize,
    /// How many connections one address may have open, and at most half of all; those beyond are closed at once. Of addresses of version 6
    /// the first halves count. By default 1024.
    pub connections_per_address: usize,
    /// How many requests a second each client may make; a client is a token, or an address where there are none. By default any number.
    pub rate: Option<NonZero<u32>>,
    /// How long a client may take to send the headers of a request, and to begin the next one. By default 10 seconds.
    pub header_timeout: Duration,
    /// How long a client may send or take nothing in the middle of a body. All of it has to arrive in as long and a second for each
    /// 64 KiB. By default 30 seconds.
    pub body_timeout: Duration,
    /// How long results of asynchronous calls are kept. By default 10 minutes.
    pub results: Duration,
    /// How many asynchronous calls may be under way. By default 1000.
    pub asynchronous: usize,
    /// How many calls are remembered, with the beginning of what they wrote. By default 1000.
    pub history: usize,
    /// How long requests and calls may take to end when the server shuts down. By default 30 seconds.
    pub shutdown: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            access: Access::Loopback,
            tls: None,
            limits: Limits::default(),
            storage: None,
            trust: None,
            named: None,
            bundle: None,
            on_call: None,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 64 << 20,
            header: 32 << 10,
            buffered: 512 << 20,
            connections: 4096,
            connections_per_address: 1024,
            rate: None,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            results: Duration::from_secs(600),
            asynchronous: 1000,
            history: 1000,
            shutdown: Duration::from_secs(30),
        }
    }
}
