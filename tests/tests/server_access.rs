//! Who is let in, and what keeps one client from harming others.

mod server_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;
use std::thread;
use std::time::Duration;

use faasm_tests::limits;
use py_func::server::{Access, FunctionDocument, Server, ServerError, Settings, Summary, Tls, Tokens};
use py_func::{Registry, Runtime};
use reqwest::blocking::{Body, Client};
use server_support::{eventually, header, json, problem, start, start_on, start_with};

const ECHO: &str = "def faasm_main(data): return data\n";

#[test]
fn without_tokens_only_this_machine_is_let_in() {
    let store = tempfile::tempdir().unwrap();
    let bind = |address: &str, access| {
        let settings = Settings { listen: address.parse().unwrap(), access, ..Settings::default() };
        Server::bind(settings, limits(), Registry::new(store.path())).map(drop)
    };
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = bind(address, Access::Loopback).unwrap_err();
        assert!(matches!(error, ServerError::Exposed { .. }) && error.hint().is_some(), "{error}");
    }
    bind("127.0.0.1:0", Access::Loopback).unwrap();
    bind("0.0.0.0:0", Access::Anyone).unwrap();
}

#[test]
fn web_pages_of_other_origins_are_not_answered() {
    let server = start();
    server.upload("f", ECHO);
    let call = |name: &str, value: &str| {
        server.request("POST", "/invoke/python/f").header(name, value).send().unwrap()
    };
    problem(call("origin", "https://example.org"), 403, "origin");
    problem(call("origin", "null"), 403, "origin");
    problem(call("host", "example.org"), 403, "host");
    assert_eq!(call("origin", &server.url).status(), 200);
    // Nothing says that others may read the answers.
    let answer = server.get("/p");
    assert!(answer.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
}

#[test]
fn tokens_reach_as_far_as_their_users() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tokens");
    let all = Tokens::create(&file, &[]).unwrap();
    let one = Tokens::create(&file, &["python".to_owned()]).unwrap();
    let tokens = Tokens::read(&file).unwrap();
    let server = start_with(|settings| settings.access = Access::Tokens(tokens));
    let ask = |token: &str, method: &str, path: &str, body: &'static str| {
        server.request(method, path).bearer_auth(token).body(body).send().unwrap()
    };
    for path in ["/p", "/invoke/python/f", "/metrics", "/s/python/key"] {
        let answer = server.get(path);
        if path != "/invoke/python/f" {
            assert_eq!(header(&answer, "www-authenticate"), "Bearer");
            problem(answer, 401, "unauthorized");
        }
        problem(server.post("/invoke/python/f", ""), 401, "unauthorized");
    }
    problem(ask("faasm_0123", "GET", "/p", ""), 401, "unauthorized");
    let basic = server.request("GET", "/p").basic_auth("x", Some(&all)).send().unwrap();
    problem(basic, 401, "unauthorized");

    assert_eq!(ask(&all, "PUT", "/p/other/f", "def faasm_main(): pass").status(), 201);
    assert_eq!(ask(&one, "PUT", "/p/python/f", ECHO).status(), 201);
    assert_eq!(ask(&one, "POST", "/invoke/python/f", "x").text().unwrap(), "x");
    let other: Summary = json(ask(&all, "POST", "/invoke/other/f?async", ""), 202);
    for (method, path) in [
        ("POST", "/invoke/other/f"),
        ("GET", "/p/other/f"),
        ("PUT", "/p/other/f"),
        ("DELETE", "/p/other/f"),
        ("GET", "/s/other"),
        ("GET", "/s/other/key"),
        ("PUT", "/s/other/key"),
        ("DELETE", "/s/other/key"),
        ("GET", "/file/other"),
        ("GET", "/file/other/x"),
        ("PUT", "/file/other/x"),
        ("DELETE", "/file/other/x"),
        ("GET", "/metrics"),
        ("POST", "/flush"),
    ] {
        problem(ask(&one, method, path, ""), 403, "forbidden");
    }
    problem(ask(&one, "POST", "/", r#"{"user": "other", "function": "f"}"#), 403, "forbidden");
    problem(ask(&one, "POST", "/", r#"{"flush": true}"#), 403, "forbidden");
    for path in ["", "/output", "/result", "/logs"] {
        problem(ask(&one, "GET", &format!("/calls/{}{path}", other.id), ""), 404, "no-call");
    }
    problem(ask(&one, "DELETE", &format!("/calls/{}", other.id), ""), 404, "no-call");
    let functions: Vec<FunctionDocument> = json(ask(&one, "GET", "/p", ""), 200);
    assert!(functions.iter().all(|it| it.user == "python") && functions.len() == 1);
    let calls: Vec<Summary> = json(ask(&one, "GET", "/calls", ""), 200);
    assert!(calls.iter().all(|it| it.user == "python") && calls.len() == 1);
    assert_eq!(ask(&all, "GET", "/metrics", "").status(), 200);

    // Anybody may ask for these; they show nothing.
    for path in ["/healthz", "/readyz", "/", "/page.js", "/openapi.json"] {
        assert_eq!(server.get(path).status(), 200, "{path}");
    }

    // A token that is added or removed counts soon.
    let new = Tokens::create(&file, &["python".to_owned()]).unwrap();
    eventually(|| ask(&new, "GET", "/p", "").status() == 200);
    let kept: String =
        std::fs::read_to_string(&file).unwrap().lines().take(2).map(|it| format!("{it}\n")).collect();
    std::fs::write(&file, kept).unwrap();
    eventually(|| ask(&new, "GET", "/p", "").status() == 401);
    assert_eq!(ask(&one, "GET", "/p", "").status(), 200);
}

#[test]
fn requests_that_are_too_large_are_refused() {
    let server = start_with(|settings| {
        settings.limits.body = 1 << 20;
        settings.limits.header = 16 << 10;
    });
    server.upload("f", ECHO);
    let large = vec![b'x'; (1 << 20) + 1];
    for path in ["/p/python/f", "/s/python/key"] {
        problem(server.put(path, large.clone()), 413, "too-large");
    }
    problem(server.post("/invoke/python/f", large.clone()), 413, "too-large");
    // Without an announced length, it is noticed on the way. One that is far too large is cut off.
    let chunked = |size| Body::new(std::io::repeat(b'x').take(size));
    let send = |size| server.request("POST", "/invoke/python/f").body(chunked(size)).send();
    problem(send(3 << 19).unwrap(), 413, "too-large");
    if let Ok(answer) = send(50 << 20) {
        problem(answer, 413, "too-large");
    }
    // What is sent for nothing does not keep a client from seeing why.
    problem(server.post("/invoke/python/missing", vec![b'x'; 1 << 20]), 404, "no-function");
    let answer = server.request("GET", "/p").header("x-large", "x".repeat(20 << 10)).send().unwrap();
    assert_eq!(answer.status(), 431);
    assert_eq!(server.post("/invoke/python/f", vec![b'x'; 1 << 20]).status(), 200);
}

#[test]
fn bodies_share_a_bounded_memory() {
    let server = start_with(|settings| settings.limits.buffered = 3 << 20);
    server.upload("f", ECHO);
    for _ in 0..3 {
        let answer = server.post("/invoke/python/f", vec![b'x'; 5 << 20]);
        header(&answer, "retry-after");
        problem(answer, 503, "busy");
        assert_eq!(server.post("/invoke/python/f", vec![b'x'; 1 << 20]).bytes().unwrap().len(), 1 << 20);
    }
    // All that was reserved is given back.
    eventually(|| server.get("/metrics").text().unwrap().contains("faasm_buffered_bytes 0"));
}

#[test]
fn slow_clients_are_given_up_and_hold_up_nobody() {
    let server = start_with(|settings| {
        settings.limits.header_timeout = Duration::from_millis(500);
        settings.limits.body_timeout = Duration::from_millis(500);
    });
    server.upload("f", ECHO);
    let address = server.url.strip_prefix("http://").unwrap();
    let begin = |text: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let silent: Vec<TcpStream> = (0..200).map(|_| begin("")).collect();
    let headers: Vec<TcpStream> =
        (0..200).map(|_| begin("GET /p HTTP/1.1\r\nHost: localhost\r\nX-")).collect();
    let post = "POST /invoke/python/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx";
    let bodies: Vec<TcpStream> = (0..200).map(|_| begin(post)).collect();
    for _ in 0..20 {
        assert_eq!(server.post("/invoke/python/f", "x").text().unwrap(), "x");
    }
    for (mut stream, expected) in silent
        .into_iter()
        .map(|it| (it, ""))
        .chain(headers.into_iter().map(|it| (it, "")))
        .chain(bodies.into_iter().map(|it| (it, "HTTP/1.1 408 ")))
    {
        // It ends, or the test does not.
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with(expected), "{answer}");
    }
}

#[test]
fn one_address_does_not_take_all_connections() {
    let server = start_with(|settings| {
        settings.limits.connections = 6;
        settings.limits.connections_per_address = 3;
    });
    let address = server.url.strip_prefix("http://").unwrap();
    let ask = |stream: &mut TcpStream| {
        let mut answer = [0; 12];
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        stream.read_exact(&mut answer).map(|()| answer)
    };
    let mut streams: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    for stream in &mut streams {
        assert_eq!(&ask(stream).unwrap(), b"HTTP/1.1 200");
    }
    assert!(ask(&mut TcpStream::connect(address).unwrap()).is_err(), "it is one too many");
    drop(streams);
    eventually(|| ask(&mut TcpStream::connect(address).unwrap()).is_ok());
}

#[test]
fn clients_make_so_many_requests_a_second() {
    let server = start_with(|settings| settings.limits.rate = NonZero::new(5));
    let answers: Vec<_> = (0..50).map(|_| server.get("/p")).collect();
    let (good, bad): (Vec<_>, Vec<_>) = answers.into_iter().partition(|it| it.status() == 200);
    assert!(good.len() >= 5 && !bad.is_empty());
    for answer in bad {
        assert_eq!(header(&answer, "retry-after"), "1");
        problem(answer, 429, "rate");
    }
    eventually(|| server.get("/p").status() == 200);
}

#[test]
fn more_calls_than_there_is_room_for_are_refused_at_once() {
    let runtime = limits().threads(NonZero::<usize>::MIN).queue(2);
    let server = start_on(runtime, tempfile::tempdir().unwrap(), |settings| settings.limits.asynchronous = 3);
    server.upload("f", "def faasm_main():\n    while True: pass\ndef quick(): pass\n");
    let begun: Vec<Summary> =
        (0..3).map(|_| json(server.post("/invoke/python/f?async&timeout=20", ""), 202)).collect();
    problem(server.post("/invoke/python/f?async", ""), 503, "busy");
    eventually(|| {
        // Until the others have their places, this one may have one, which it gives back when the client goes away.
        let quick =
            server.request("POST", "/invoke/python/f?entry=quick").timeout(Duration::from_millis(300));
        let Some(answer) = quick.send().ok().filter(|answer| answer.status() != 200) else { return false };
        header(&answer, "retry-after");
        problem(answer, 503, "busy");
        true
    });
    for call in begun {
        assert_eq!(server.delete(&format!("/calls/{}", call.id)).status(), 204);
    }
    eventually(|| server.post("/invoke/python/f?entry=quick", "").status() == 200);
}

#[test]
fn what_has_begun_is_finished_before_the_server_ends() {
    let server = start();
    server.upload("f", "import time, faasm\ndef faasm_main(data):\n    faasm.state.write('begun-' + data.decode(), b'x')\n    time.sleep(1)\n    faasm.state.write('k', b'v')\n    faasm.state.push('k')\n    return 'done'\n");
    json::<Summary>(server.post("/invoke/python/f?async", "later"), 202);
    let (url, client) = (format!("{}/invoke/python/f", server.url), server.client.clone());
    let waiting = thread::spawn(move || client.post(url).body("now").send().unwrap().text().unwrap());
    eventually(|| {
        ["later", "now"].iter().all(|it| server.get(&format!("/s/python/begun-{it}")).status() == 200)
    });
    let url = server.url.clone();
    let store = server.stop();
    assert_eq!(waiting.join().unwrap(), "done");
    assert!(server_support::client().get(url).send().is_err(), "nobody listens any more");
    let server = server_support::start_in(store, |_| ());
    assert_eq!(server.get("/s/python/k").text().unwrap(), "v");
}

#[test]
fn connections_are_encrypted() {
    let directory = tempfile::tempdir().unwrap();
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let tls = || Tls { certificate: path("cert.pem"), key: path("key.pem") };
    let server = start_with(|settings| settings.tls = Some(tls()));
    assert!(server.url.starts_with("https://"));
    let certificate = reqwest::Certificate::from_pem(certified.cert.pem().as_bytes()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([certificate]).build().unwrap();
    let ask = |client: &Client| client.get(format!("{}/healthz", server.url)).send();
    assert_eq!(ask(&client).unwrap().text().unwrap(), "ok\n");
    let large = vec![b'x'; 3 << 20];
    let put = client.put(format!("{}/s/python/key", server.url)).body(large.clone()).send().unwrap();
    assert_eq!(put.status(), 204);
    assert!(client.get(format!("{}/s/python/key", server.url)).send().unwrap().bytes().unwrap() == large);
    ask(&server.client).expect_err("the certificate is not known to this one");

    for (name, wrong) in [("cert.pem", ""), ("key.pem", "no key"), ("cert.pem", "no certificate")] {
        let before = std::fs::read(path(name)).unwrap();
        std::fs::write(path(name), wrong).unwrap();
        let settings =
            Settings { listen: "127.0.0.1:0".parse().unwrap(), tls: Some(tls()), ..Settings::default() };
        let error = Server::bind(settings, Runtime::builder(), Registry::new(directory.path()))
            .map(drop)
            .unwrap_err();
        assert!(matches!(error, ServerError::Tls { .. }), "{error}");
        std::fs::write(path(name), before).unwrap();
    }
}
