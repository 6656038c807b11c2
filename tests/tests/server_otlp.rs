//! What a collector of OpenTelemetry is sent: `cargo test -p faasm-tests --features otlp --test server_otlp`.
#![cfg(feature = "otlp")]

mod server_support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::{env, thread};

use py_func::server::Exporter;
use server_support::{header, start};
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// What makes this test the program that is traced.
const TRACED: &str = "FAASM_TEST_TRACED";

/// Starts itself once more, as a program that is told where to send its traces.
#[test]
fn spans_are_sent_to_a_collector() {
    if env::var_os(TRACED).is_some() {
        return traced();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (received, requests) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever waited for it has ended.
            let _ = received.send(collect(stream.unwrap()));
        }
    });
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", "spans_are_sent_to_a_collector"])
        .env(TRACED, "1")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .env("NO_PROXY", "*")
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let sent: Vec<(String, Vec<u8>)> = requests.try_iter().collect();
    assert!(!sent.is_empty());
    for (start, _) in &sent {
        assert_eq!(start, "POST /v1/traces HTTP/1.1");
    }
    let bodies = sent.into_iter().map(|it| it.1).collect::<Vec<_>>().concat();
    let has = |part: &[u8]| bodies.windows(part.len()).any(|it| it == part);
    // Strings and numbers of traces stand in protocol buffers as they are.
    let bytes = |digits: &str| -> Vec<u8> {
        digits
            .as_bytes()
            .chunks(2)
            .map(|it| u8::from_str_radix(std::str::from_utf8(it).unwrap(), 16).unwrap())
            .collect()
    };
    for (what, part) in [
        ("the trace", bytes(TRACE)),
        ("the client's span", bytes(PARENT)),
        ("the service", b"py_func".to_vec()),
        ("the request", b"POST /invoke/{user}/{function}".to_vec()),
        ("the call", b"call".to_vec()),
        ("the function", b"traced-function".to_vec()),
    ] {
        assert!(has(&part), "{what}");
    }
}

fn traced() {
    let exporter = Exporter::from_env().unwrap().unwrap();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(exporter.layer())).unwrap();
    let server = start();
    server.upload("traced-function", "def faasm_main(): pass\n");
    let request = server.request("POST", "/invoke/python/traced-function");
    let answer = request.header("traceparent", format!("00-{TRACE}-{PARENT}-01")).send().unwrap();
    assert_eq!(answer.status(), 200);
    let answered = header(&answer, "traceresponse");
    assert!(answered.starts_with(&format!("00-{TRACE}-")) && answered.ends_with("-01"), "{answered}");
    drop(server);
    exporter.shutdown();
}

/// The first line of a request, and its body.
fn collect(mut stream: std::net::TcpStream) -> (String, Vec<u8>) {
    let mut request = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "a request that is cut off");
        request.extend_from_slice(&buffer[..read]);
        let Some(end) = request.windows(4).position(|it| it == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() >= end + 4 + length.parse::<usize>().unwrap() {
            let start = String::from_utf8_lossy(&request).lines().next().unwrap().to_owned();
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.write_all(answer.as_bytes()).unwrap();
            return (start, request.split_off(end + 4));
        }
    }
}
