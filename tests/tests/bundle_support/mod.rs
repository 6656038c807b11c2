//! An S3 server of the test's own, a connection to it that can be cut, and machines to run commands on.
#![allow(dead_code, reason = "each test program uses a part of this")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tempfile::TempDir;

const ACCESS_KEY: &str = "tester";
const SECRET_KEY: &str = "not a secret";

/// An S3 server with one bucket, `bucket`, for as long as the test runs.
pub struct S3 {
    directory: TempDir,
    pub address: SocketAddr,
    skewed: Arc<AtomicBool>,
}

impl S3 {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("bucket")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(directory.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let root = directory.path().to_owned();
        listener.set_nonblocking(true).unwrap();
        let skewed = Arc::new(AtomicBool::new(false));
        let is_skewed = Arc::clone(&skewed);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                // This server looks whether an object is there and then writes it, and writes its tag after it. S3 does it in one step.
                let one_at_a_time = Arc::new(tokio::sync::Mutex::new(()));
                while let Ok((stream, _)) = listener.accept().await {
                    let (service, one_at_a_time) = (service.clone(), Arc::clone(&one_at_a_time));
                    let (root, is_skewed) = (root.clone(), Arc::clone(&is_skewed));
                    let handle = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                        let (service, one_at_a_time) = (service.clone(), Arc::clone(&one_at_a_time));
                        // This server makes a bucket where there is none. S3 does not.
                        let bucket = request.uri().path().split('/').nth(1).unwrap_or_default();
                        let exists = root.join(bucket).is_dir();
                        let skewed = is_skewed.load(Ordering::SeqCst);
                        async move {
                            if skewed {
                                let message = "The difference between the request time and the current time is too large.";
                                return Ok::<_, s3s::HttpError>(refuse(403, "RequestTimeTooSkewed", message));
                            }
                            if !exists {
                                return Ok(refuse(404, "NoSuchBucket", "The bucket does not exist"));
                            }
                            let has = |name| request.headers().contains_key(name);
                            let reads = request.method() == hyper::Method::GET;
                            let in_turn = reads || has("if-none-match") || has("if-match");
                            let known = request.headers().get("if-none-match").filter(|_| reads).cloned();
                            let _turn = if in_turn { Some(one_at_a_time.lock().await) } else { None };
                            let answer = service.call(request.map(s3s::Body::from)).await?;
                            // This server does not compare tags for those who read.
                            if known.is_some() && answer.headers().get("etag") == known.as_ref() {
                                return Ok(not_modified());
                            }
                            Ok(answer)
                        }
                    });
                    let connection = http1::Builder::new()
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), handle);
                    tokio::spawn(async move {
                        // Clients may go away at any time.
                        let _ = connection.await;
                    });
                }
            });
        });
        Self { directory, address, skewed }
    }

    /// Has it answer as S3 does who has another time, from now on or no more.
    pub fn skew(&self, skewed: bool) {
        self.skewed.store(skewed, Ordering::SeqCst);
    }

    /// The objects in the bucket, without what the server keeps beside them.
    pub fn objects(&self) -> Vec<String> {
        let mut objects = Vec::new();
        let bucket = self.directory.path().join("bucket");
        let mut open = vec![bucket.clone()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    objects.push(path.strip_prefix(&bucket).unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        objects.sort();
        objects
    }

    /// Where an object lies.
    pub fn object(&self, name: &str) -> PathBuf {
        self.directory.path().join("bucket").join(name)
    }
}

/// A way to a server that is cut when so many bytes have passed, in one direction, and stays so until it is mended.
pub struct Wire {
    pub address: SocketAddr,
    left: Arc<AtomicU64>,
    passed: Arc<AtomicU64>,
    open: Arc<AtomicBool>,
}

/// Which bytes are counted.
#[derive(Clone, Copy, PartialEq)]
pub enum Direction {
    Up,
    Down,
}

impl Wire {
    pub fn to(server: SocketAddr, counted: Direction) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self {
            address: listener.local_addr().unwrap(),
            left: Arc::new(AtomicU64::new(u64::MAX)),
            passed: Arc::default(),
            open: Arc::new(AtomicBool::new(true)),
        };
        let (left, passed, open) = (Arc::clone(&wire.left), Arc::clone(&wire.passed), Arc::clone(&wire.open));
        thread::spawn(move || {
            for client in listener.incoming() {
                let client = client.unwrap();
                if !open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server) else { continue };
                for (from, to, direction) in
                    [(&client, &server, Direction::Up), (&server, &client, Direction::Down)]
                {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let (left, passed, open) = (Arc::clone(&left), Arc::clone(&passed), Arc::clone(&open));
                    let counts = direction == counted;
                    thread::spawn(move || {
                        let mut block = vec![0; 16 << 10];
                        while let Ok(count) = from.read(&mut block) {
                            let allowed = if counts {
                                left.load(Ordering::SeqCst).min(count as u64)
                            } else {
                                count as u64
                            };
                            if count == 0 || to.write_all(&block[..allowed as usize]).is_err() {
                                break;
                            }
                            if counts {
                                left.fetch_sub(allowed, Ordering::SeqCst);
                                passed.fetch_add(allowed, Ordering::SeqCst);
                            }
                            if allowed < count as u64 || !open.load(Ordering::SeqCst) {
                                open.store(false, Ordering::SeqCst);
                                break;
                            }
                        }
                        let _ = from.shutdown(Shutdown::Both);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        wire
    }

    /// Mends the wire, and has it cut after so many bytes.
    pub fn cut_after(&self, bytes: u64) {
        self.left.store(bytes, Ordering::SeqCst);
        self.open.store(true, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.cut_after(u64::MAX);
    }

    /// How many bytes have passed in all.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }
}

/// A machine: a directory to work in, a store and an empty cache of its own, and a way to a store of objects.
pub struct Machine {
    directory: TempDir,
    endpoint: Option<SocketAddr>,
}

impl Machine {
    pub fn new(endpoint: Option<SocketAddr>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["work", "home"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory, endpoint }
    }

    pub fn work(&self) -> PathBuf {
        self.directory.path().join("work")
    }

    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// `cargo faasm` with arguments that are separated by spaces.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"));
        command.arg("faasm").args(arguments.split_whitespace()).current_dir(self.work());
        for (name, _) in std::env::vars_os() {
            let name_text = name.to_string_lossy();
            if name_text.starts_with("AWS_")
                || ["FAASM_IMAGE", "FAASM_URL", "FAASM_TRUST", "FAASM_STORAGE"].contains(&&*name_text)
            {
                command.env_remove(name);
            }
        }
        command
            .env("FAASM_HOME", self.home())
            .env("HOME", self.directory.path())
            .env("NO_PROXY", "127.0.0.1");
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        if arguments.starts_with("package") {
            // Who publishes has built what is published, and need not fetch its licences.
            command.env("FAASM_CACHE", faasm_build_support::cache::Cache::from_env().unwrap().root());
        }
        if let Some(address) = self.endpoint {
            command.env("AWS_ENDPOINT_URL", format!("http://{address}"));
        }
        command
    }

    /// `cargo faasm serve` with these arguments, until it is dropped.
    pub fn serve(&self, arguments: &str) -> Served {
        let arguments = format!("serve --listen 127.0.0.1:0 --message-format json {arguments}");
        let mut process =
            self.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stderr = process.stderr.take().unwrap();
        let said = thread::spawn(move || std::io::read_to_string(stderr).unwrap());
        let Ok(listening) = serde_json::from_str::<serde_json::Value>(&line) else {
            panic!("{arguments}: {}", said.join().unwrap());
        };
        Served { url: listening["url"].as_str().unwrap().to_owned(), process, said: Some(said) }
    }

    /// What a command answers that must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &str) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// What a command says that must fail, with this exit code.
    #[track_caller]
    pub fn fails(&self, code: i32, arguments: &str) -> String {
        failed(&self.command(arguments).output().unwrap(), code, arguments)
    }

    /// The names of the runtimes that are in its store, those in the making included.
    pub fn runtimes(&self) -> Vec<String> {
        let names = ["runtimes", "installing"].into_iter().flat_map(|name| list(&self.home().join(name)));
        names.filter(|name| name != "lock").collect()
    }
}

/// A server that is killed when this is dropped.
pub struct Served {
    pub url: String,
    process: Child,
    said: Option<thread::JoinHandle<String>>,
}

impl Served {
    /// Waits for a moment in which to kill it, unless `ended` before; then kills it, as `kill -9` does. Answers whether the moment came.
    pub fn kill_when(mut self, moment: impl Fn() -> bool, ended: impl Fn() -> bool) -> bool {
        let came = loop {
            match (moment(), ended()) {
                (true, _) => break true,
                (false, true) => break false,
                (false, false) => thread::sleep(Duration::from_millis(1)),
            }
        };
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        came
    }

    /// Kills it, and answers what it has said.
    pub fn kill(mut self) -> String {
        self.process.kill().unwrap();
        self.said.take().unwrap().join().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // As `kill -9` does.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[track_caller]
pub fn failed(output: &Output, code: i32, what: &str) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{what}: {said}{}", text(&output.stdout));
    assert!(said.contains("error: failed to ") || said.contains("error: "), "{what}: {said}");
    said
}

/// The names in a directory.
pub fn list(directory: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn not_modified() -> hyper::Response<s3s::Body> {
    let mut answer = hyper::Response::new(s3s::Body::empty());
    *answer.status_mut() = hyper::StatusCode::NOT_MODIFIED;
    answer
}

fn refuse(status: u16, code: &str, message: &str) -> hyper::Response<s3s::Body> {
    let text = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    let mut answer = hyper::Response::new(s3s::Body::from(text));
    *answer.status_mut() = hyper::StatusCode::from_u16(status).unwrap();
    answer
}
