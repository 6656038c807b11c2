//! What the server costs, seen from another process: `cargo bench -p faasm-tests --bench server`. Nothing is asserted; times are of this
//! machine, which server and clients share.
//!
//! Clients are connections that stay, each of which sends a request when it has the answer to the one before; they are on one thread of this
//! process. The server is a process of its own, with the settings that it has by default.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::IntoFuture as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::pin::pin;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use faasm_tests::{limits, load};
use hyper::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use py_func::server::{Server, Settings};
use py_func::{Registry, Runtime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

const NOOP: &str = "def faasm_main(): pass\n";
const ECHO: &str = "def faasm_main(data): return data\n";

/// What makes this program the server.
const SERVE: &str = "--serve";

/// What makes it one that does nothing but answer, over TCP alone or over hyper.
const BARE: &str = "--bare";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(store) = arguments.iter().skip_while(|it| *it != SERVE).nth(1) {
        return serve(store);
    }
    if let Some(kind) = arguments.iter().skip_while(|it| *it != BARE).nth(1) {
        return bare(kind == "hyper");
    }
    // `cargo test --benches` runs this, too, to see whether it works.
    let seconds = if arguments.iter().any(|it| it == "--bench") { 3.0 } else { 0.05 };
    println!("{:<44} {:>9} {:>10} {:>10}  of the server", "", "a second", "p50", "p99");
    direct(seconds);
    let client = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    client.block_on(measure(seconds));
    killed_under_load(seconds, if seconds > 1.0 { 1000 } else { 10 });
}

async fn measure(seconds: f64) {
    for kind in ["TCP", "hyper"] {
        let server = Started::with(&[BARE, kind]);
        let name = format!("{kind} and nothing else");
        server.report(&name, 1, &request("GET", "/healthz", &[]), seconds).await;
    }
    let store = tempfile::tempdir().unwrap();
    let server = Started::new(&store);
    server.upload("noop", NOOP).await;
    server.upload("echo", ECHO).await;
    let noop = request("POST", "/invoke/python/noop", &[]);
    for connections in [1, 2, 8, 32, 128, 512] {
        let name = format!("no-op over {connections} connection(s)");
        server.report(&name, connections, &noop, seconds).await;
    }
    server.report("a request that is no call", 1, &request("GET", "/healthz", &[]), seconds).await;
    server.report("the same over 32 connections", 32, &request("GET", "/healthz", &[]), seconds).await;
    for (size, connections) in [(1 << 20, 1), (1 << 20, 8), (64 << 20, 1), (64 << 20, 4)] {
        let name = format!("{} MiB in and out over {connections} connection(s)", size >> 20);
        let echo = request("POST", "/invoke/python/echo", &vec![b'x'; size]);
        server.report(&name, connections, &echo, seconds).await;
    }
    drop(server);
    many_functions(&store, if seconds > 1.0 { 1000 } else { 10 }).await;
}

/// The same call, made in this process.
fn direct(seconds: f64) {
    let runtime = limits().build().unwrap();
    let noop = load(&runtime, NOOP);
    for (name, awaited) in [("no-op, made on the caller's thread", false), ("no-op, awaited", true)] {
        let (started, mut times) = (Instant::now(), Vec::new());
        while started.elapsed().as_secs_f64() < seconds {
            let begun = Instant::now();
            let result =
                if awaited { pollster::block_on(noop.call("").into_future()) } else { noop.call("").wait() };
            result.unwrap();
            times.push(begun.elapsed());
        }
        show(name, times, started.elapsed(), "");
    }
}

/// How long a server with so many functions takes to start, and to answer the first call of one of them.
async fn many_functions(store: &TempDir, count: usize) {
    let server = Started::new(store);
    for number in 0..count {
        server.upload(&format!("f-{number}"), NOOP).await;
    }
    drop(server);
    let begun = Instant::now();
    let server = Started::new(store);
    let started = begun.elapsed();
    let mut connection = server.connect().await;
    connection.ask(&request("POST", &format!("/invoke/python/f-{}", count - 1), &[])).await;
    println!("{:<44} {:>20.1?}", format!("start with {count} functions"), started);
    println!("{:<44} {:>20.1?}", "and until the first call is answered", begun.elapsed());
    let begun = Instant::now();
    for number in 0..count {
        connection.ask(&request("POST", &format!("/invoke/python/f-{number}"), &[])).await;
    }
    println!("{:<44} {:>20.1?}", "and until each was called once", begun.elapsed());
}

/// How long a server with so many functions takes to be ready again that is killed while functions and state are uploaded and called, and
/// whether it has all that was acknowledged.
fn killed_under_load(seconds: f64, count: usize) {
    // reqwest is compiled without a provider of its own, and asks for one even where nothing is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
    let store = tempfile::tempdir().unwrap();
    let mut server = Started::new(&store);
    let url = format!("http://{}", server.address);
    let acknowledged: Mutex<BTreeMap<String, usize>> = Mutex::default();
    let put = |path: String, number: usize| {
        let body = format!("version = {number}\ndef faasm_main(): pass\n");
        let answer = client.put(format!("{url}{path}")).body(body).send();
        let stored = answer.is_ok_and(|it| it.status().is_success());
        if stored {
            acknowledged.lock().unwrap().insert(path, number);
        }
        stored
    };
    for number in 0..count {
        assert!(put(format!("/p/python/f-{number}"), 0));
    }
    thread::scope(|scope| {
        for worker in 0..2 {
            let put = &put;
            scope.spawn(move || {
                (1..).all(|number| put(format!("/s/python/{worker}-{}", number % 100), number))
            });
            let own = move |number: usize| (2 * number + worker) % count;
            scope.spawn(move || (1..).all(|number| put(format!("/p/python/f-{}", own(number)), number)));
            let call = || client.post(format!("{url}/invoke/python/f-0")).send().is_ok();
            scope.spawn(move || while call() {});
        }
        thread::sleep(Duration::from_secs_f64(seconds));
        server.process.kill().unwrap();
    });
    let begun = Instant::now();
    let server = Started::new(&store);
    let url = format!("http://{}", server.address);
    let get = |path: &str| {
        client.get(format!("{url}{path}")).send().and_then(reqwest::blocking::Response::text).unwrap()
    };
    assert_eq!(get("/readyz"), "ready\n");
    let ready = begun.elapsed();
    let acknowledged = acknowledged.into_inner().unwrap();
    let is_lost = |(path, number): &(&String, &usize)| {
        // What was not acknowledged may be there as well.
        let found = get(path).strip_prefix("version = ").and_then(|it| it.lines().next()?.parse().ok());
        found.is_none_or(|found: usize| found < **number)
    };
    let lost = acknowledged.iter().filter(is_lost).count();
    println!("{:<44} {:>20.1?}", format!("ready after kill -9, with {count} functions"), ready);
    println!("{:<44} {:>20}", format!("lost of {} values and functions", acknowledged.len()), lost);
}

/// The server, until its standard input ends.
fn serve(store: &str) {
    let mut settings = Settings::default();
    settings.listen.set_port(0);
    let runtime = Runtime::builder().image(faasm_tests::image()).output_limit(64 << 20);
    let server = Server::bind(settings, runtime, Registry::new(store)).unwrap();
    println!("{}", server.address());
    let end = end_of_input();
    server
        .run(async {
            // Being dropped is what it waits for.
            let _ = end.await;
        })
        .unwrap();
}

/// Done when the standard input ends.
fn end_of_input() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        drop(ended);
    });
    end
}

/// What answers of an empty server cost with the same client, until the standard input ends.
fn bare(hyper: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("{}", listener.local_addr().unwrap());
        let accept = async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                if hyper {
                    tokio::spawn(answer_with_hyper(stream));
                } else {
                    tokio::spawn(answer_with_tcp(stream));
                }
            }
        };
        // Being dropped is what it waits for.
        futures_util::future::select(pin!(accept), end_of_input()).await;
    });
}

async fn answer_with_tcp(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    // Requests are small, and come whole.
    while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").await.unwrap();
    }
}

async fn answer_with_hyper(stream: TcpStream) {
    let service = service_fn(async |_| Ok::<_, Infallible>(Response::new("ok\n".to_owned())));
    // The client may have gone.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The server as a process.
struct Started {
    process: Child,
    /// Closed, it ends the server.
    input: Option<ChildStdin>,
    address: String,
}

impl Started {
    fn new(store: &TempDir) -> Self {
        Self::with(&[SERVE, store.path().to_str().unwrap()])
    }

    fn with(arguments: &[&str]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let input = process.stdin.take();
        Self { process, input, address: address.trim().to_owned() }
    }

    async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection { stream, buffer: vec![0; 64 << 10] }
    }

    async fn upload(&self, name: &str, source: &str) {
        let request = request("PUT", &format!("/p/python/{name}"), source.as_bytes());
        self.connect().await.ask(&request).await;
    }

    /// Has so many connections make this request as fast as they can.
    async fn report(&self, name: &str, connections: usize, request: &[u8], seconds: f64) {
        // So that there is a sandbox for each, and the most that the server has taken of the memory is of this.
        self.load(connections, request, seconds / 10.0).await;
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.process.id()), "5");
        let cpu = self.cpu();
        let started = Instant::now();
        let times = self.load(connections, request, seconds).await;
        let elapsed = started.elapsed();
        let busy = (self.cpu() - cpu) / elapsed.as_secs_f64() * 100.0;
        let rest = format!("{busy:>4.0} % {:>6} MiB", self.peak() >> 20);
        show(name, times, elapsed, &rest);
    }

    async fn load(&self, connections: usize, request: &[u8], seconds: f64) -> Vec<Duration> {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        let mut clients = tokio::task::JoinSet::new();
        for _ in 0..connections {
            let (mut connection, request) = (self.connect().await, request.to_vec());
            clients.spawn(async move {
                let mut times = Vec::new();
                while times.is_empty() || Instant::now() < end {
                    let begun = Instant::now();
                    connection.ask(&request).await;
                    times.push(begun.elapsed());
                }
                times
            });
        }
        clients.join_all().await.concat()
    }

    /// The processor time that the server has taken, in seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap_or_default();
        // After the name in parentheses; times are in hundredths of a second.
        let fields = stat.rsplit_once(')').map_or("", |it| it.1).split_whitespace();
        fields.skip(11).take(2).filter_map(|it| it.parse::<f64>().ok()).sum::<f64>() / 100.0
    }

    /// The most that the server had of the memory since it was last asked, in bytes.
    fn peak(&self) -> usize {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kibibytes = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        kibibytes.unwrap_or(0) << 10
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.process.wait();
    }
}

/// A connection that stays.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request and takes in its answer, which must be a good one with an announced length. Both go on at the same time.
    async fn ask(&mut self, request: &[u8]) {
        let (mut reader, mut writer) = self.stream.split();
        let send = async { writer.write_all(request).await.unwrap() };
        let buffer = &mut self.buffer;
        let receive = async {
            let (mut length, mut left) = (0, None);
            while left != Some(0) {
                let part = buffer.get_mut(length..).unwrap();
                let read = reader.read(part).await.unwrap();
                assert!(read > 0, "the server has closed the connection");
                match &mut left {
                    // What comes of the body is not kept.
                    Some(left) => *left -= read,
                    None => {
                        length += read;
                        let Some(end) = find(&buffer[..length], b"\r\n\r\n") else { continue };
                        left = Some(body_length(&buffer[..end]) - (length - end - 4));
                        length = 0;
                    }
                }
            }
        };
        futures_util::future::join(send, receive).await;
    }
}

fn body_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 2"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.unwrap().parse().unwrap()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|it| it == part)
}

fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    let length = body.len();
    write!(request, "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n")
        .unwrap();
    request.extend(body);
    request
}

fn show(name: &str, mut times: Vec<Duration>, elapsed: Duration, rest: &str) {
    times.sort();
    let at = |share: usize| format!("{:.1} µs", times[(times.len() - 1) * share / 100].as_secs_f64() * 1e6);
    let rate = times.len() as f64 / elapsed.as_secs_f64();
    println!("{name:<44} {rate:>9.0} {:>10} {:>10} {rest}", at(50), at(99));
}
