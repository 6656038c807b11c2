//! A server in this process, on a port that was free, with a store of its own, and a client for it.
#![allow(dead_code, reason = "each test program uses a part of this")]

pub mod process;

use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use faasm_tests::{limits, text};
use py_func::server::{ProblemDocument, Server, ServerError, Settings};
use py_func::{Registry, RuntimeBuilder};
use reqwest::Method;
use reqwest::blocking::{Body, Client, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::sync::oneshot;

/// A server that runs until this is dropped.
pub struct Running {
    pub url: String,
    pub client: Client,
    store: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), ServerError>>>,
}

/// A server with the default settings.
pub fn start() -> Running {
    start_with(|_| ())
}

/// A server with settings that were changed.
pub fn start_with(change: impl FnOnce(&mut Settings)) -> Running {
    start_in(tempfile::tempdir().unwrap(), change)
}

/// A server on a store that there was before.
pub fn start_in(store: TempDir, change: impl FnOnce(&mut Settings)) -> Running {
    start_on(limits().output_limit(64 << 20), store, change)
}

/// A server on a runtime of the caller's.
pub fn start_on(runtime: RuntimeBuilder, store: TempDir, change: impl FnOnce(&mut Settings)) -> Running {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    change(&mut settings);
    let server = Server::bind(settings, runtime, Registry::new(store.path())).unwrap();
    let url = server.url();
    let (stop, stopped) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        server.run(async move {
            // Being dropped counts as well.
            let _ = stopped.await;
        })
    });
    Running { url, client: client(), store, stop: Some(stop), thread: Some(thread) }
}

/// A client that goes through no proxy.
pub fn client() -> Client {
    // reqwest is compiled without a provider of its own, and asks for one even where nothing is encrypted. A second call changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().timeout(None).build().unwrap()
}

impl Running {
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path).send().unwrap()
    }

    pub fn put(&self, path: &str, body: impl Into<Body>) -> Response {
        self.request("PUT", path).body(body).send().unwrap()
    }

    pub fn post(&self, path: &str, body: impl Into<Body>) -> Response {
        self.request("POST", path).body(body).send().unwrap()
    }

    pub fn delete(&self, path: &str) -> Response {
        self.request("DELETE", path).send().unwrap()
    }

    /// Uploads a function that must load.
    #[track_caller]
    pub fn upload(&self, name: &str, source: &str) {
        let answer = self.put(&format!("/p/python/{name}"), source.to_owned());
        let status = answer.status();
        assert!(status.is_success(), "{status} {}", answer.text().unwrap());
    }

    /// Shuts the server down, and waits until it has. Its store is still there.
    pub fn stop(mut self) -> TempDir {
        self.end();
        std::mem::replace(&mut self.store, tempfile::tempdir().unwrap())
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A test that has failed already says more.
            let _ = thread.join();
        }
    }
}

/// An answer in JSON, of that status.
#[track_caller]
pub fn json<T: DeserializeOwned>(answer: Response, status: u16) -> T {
    let found = answer.status();
    let body = answer.bytes().unwrap();
    assert_eq!(found, status, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {}", text(&body)))
}

/// The problem that an answer is, which must be of this status and kind.
#[track_caller]
pub fn problem(answer: Response, status: u16, kind: &str) -> ProblemDocument {
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: ProblemDocument = json(answer, status);
    assert_eq!(problem.kind, format!("urn:faasm:problem:{kind}"), "{}", problem.detail);
    assert_eq!(problem.status, status);
    assert!(!problem.detail.is_empty());
    problem
}

/// The value of a header.
#[track_caller]
pub fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    let value = answer.headers().get(name);
    value.unwrap_or_else(|| panic!("there is no header {name}")).to_str().unwrap()
}

/// Waits for something that must come true; the test ends if it does not.
#[track_caller]
pub fn eventually(mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it does not come true");
        thread::sleep(Duration::from_millis(20));
    }
}
