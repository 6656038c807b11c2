//! What must not happen to a server: too many requests, clients that mean harm, uploads at the wrong moment.

mod server_support;

use std::io::{Cursor, Read as _, Write as _};
use std::net::TcpStream;
use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use faasm_tests::limits;
use py_func::server::{FunctionDocument, Summary};
use server_support::process::{memory, serve};
use server_support::{
    Running, client, eventually, header, json, problem, start, start_in, start_on, start_with,
};

const ECHO: &str = "def faasm_main(data): return data\n";

#[test]
fn calls_that_compute_keep_nobody_from_being_answered() {
    let runtime = limits().threads(NonZero::new(2).unwrap()).timeout(Duration::from_secs(600));
    let server = start_on(runtime, tempfile::tempdir().unwrap(), |_| ());
    server.upload("f", "def faasm_main():\n    while True: pass\n");
    server.upload("g", ECHO);
    let address = server.url.strip_prefix("http://").unwrap();
    let post = "POST /invoke/python/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let computing = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(post.as_bytes()).unwrap();
        stream
    };
    for _ in 0..10 {
        let streams = [computing(), computing()];
        for _ in 0..10 {
            // On a connection that was there before, and on a new one.
            assert_eq!(server.get("/healthz").status(), 200);
            assert_eq!(client().get(format!("{}/healthz", server.url)).send().unwrap().status(), 200);
        }
        for mut stream in streams {
            stream.set_nonblocking(true).unwrap();
            let error = stream.read(&mut [0]).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "it still computes");
        }
        // Their clients are gone, so they make room for others before their time is over.
        let request = server.request("POST", "/invoke/python/g").timeout(Duration::from_secs(60));
        assert_eq!(request.body("x").send().unwrap().text().unwrap(), "x");
    }
}

#[test]
fn what_calls_put_out_is_bounded_together() {
    let server = start_with(|settings| settings.limits.buffered = 4 << 20);
    server.upload(
        "f",
        "import faasm, sys, time\n\
         def hold():\n\
         \x20   faasm.output(bytes(3 << 20))\n\
         \x20   faasm.state.write('begun', b'x')\n\
         \x20   while True: time.sleep(0.01)\n\
         def small(): return 'small'\n\
         def output(): return bytes(3 << 20)\n\
         def again():\n\
         \x20   for _ in range(5): faasm.output(bytes(3 << 20))\n\
         def stdout(): sys.stdout.write('x' * (3 << 20))\n\
         def stderr(): sys.stderr.write('x' * (3 << 20))\n\
         def faasm_main(data): return str(len(data))\n",
    );
    let call = |entry: &str| server.post(&format!("/invoke/python/f?entry={entry}"), "");
    let large = || server.post("/invoke/python/f", vec![0; 3 << 20]);
    let holding: Summary = json(server.post("/invoke/python/f?entry=hold&async", ""), 202);
    eventually(|| server.get("/s/python/begun").status() == 200);
    for answer in [call("output"), call("stdout"), call("stderr"), large()] {
        assert_eq!(header(&answer, "retry-after"), "1");
        problem(answer, 503, "busy");
    }
    assert_eq!(call("small").text().unwrap(), "small");
    assert_eq!(server.delete(&format!("/calls/{}", holding.id)).status(), 204);
    eventually(|| buffered(&server) < 1 << 20);
    // The one before makes room for the next one.
    for entry in ["output", "again"] {
        assert_eq!(call(entry).bytes().unwrap().len(), 3 << 20);
    }
    for entry in ["stdout", "stderr"] {
        assert_eq!(call(entry).status(), 200);
    }
    assert_eq!(large().text().unwrap(), (3 << 20).to_string());
    eventually(|| buffered(&server) < 1 << 20);
}

#[test]
fn what_is_held_for_chained_calls_counts() {
    let server = start_with(|settings| settings.limits.buffered = 8 << 20);
    server.upload(
        "f",
        "import faasm, time\n\
         def wait():\n\
         \x20   faasm.state.write('begun', b'x')\n\
         \x20   while faasm.state.read('end') != b'x': time.sleep(0.01)\n\
         def large(): return bytes(6 << 20)\n\
         def half(): return bytes(3 << 20)\n\
         def little(): return b'x' * 50_000\n\
         def result(): faasm.chain(half).wait(), wait()\n\
         def results():\n\
         \x20   chained = [faasm.chain(little) for _ in range(60)]\n\
         \x20   [it.wait() for it in chained], wait()\n\
         def input(): faasm.chain(wait, bytes(3 << 20)).output()\n\
         def too_much():\n\
         \x20   [it.wait() for it in [faasm.chain(half) for _ in range(3)]]\n\
         def too_much_input():\n\
         \x20   for _ in range(3): faasm.chain(wait, bytes(3 << 20))\n",
    );
    let call = |entry: &str| server.post(&format!("/invoke/python/f?entry={entry}"), "");
    let end = |value: &'static str| assert!(server.put("/s/python/end", value).status().is_success());
    for entry in ["result", "results", "input"] {
        end("-");
        let running: Summary = json(server.post(&format!("/invoke/python/f?entry={entry}&async"), ""), 202);
        eventually(|| server.get("/s/python/begun").status() == 200);
        let held = buffered(&server);
        // Of a result what was answered about it is held as well.
        assert!((2_900_000..7 << 20).contains(&held), "{entry}: {held}");
        // Others have no room beside it.
        problem(call("large"), 503, "busy");
        end("x");
        let done: Summary = json(server.get(&format!("/calls/{}?wait=30", running.id)), 200);
        assert_eq!(done.status, Some(0), "{entry}");
        // Its own result is kept until somebody says otherwise.
        assert_eq!(server.delete(&format!("/calls/{}", running.id)).status(), 204);
        eventually(|| buffered(&server) == 0);
        assert_eq!(server.delete("/s/python/begun").status(), 204);
    }
    for entry in ["too_much", "too_much_input"] {
        end("-");
        let text = call(entry).text().unwrap();
        // Of outputs either the last one finds no room, or the answer that has the first.
        let refused = text.contains("there is no room") || text.contains("takes all the memory");
        assert!(text.contains("RuntimeError") && refused, "{entry}: {text}");
        // Those that it has called go on without it.
        end("x");
        eventually(|| buffered(&server) == 0);
    }
}

#[test]
fn the_host_forgets_a_large_input_that_the_guest_has() {
    let server = start();
    server.upload(
        "f",
        "import faasm, time\n\
         def wait(name):\n\
         \x20   while faasm.state.read(name) != b'x': time.sleep(0.01)\n\
         def faasm_main():\n\
         \x20   faasm.state.write('begun', b'x'), wait('read')\n\
         \x20   data = faasm.input()\n\
         \x20   faasm.state.write('has', b'x'), wait('end')\n\
         \x20   return str(faasm.input() == data and len(data))\n",
    );
    let put = |key: &str, value: &'static str| {
        assert!(server.put(&format!("/s/python/{key}"), value).status().is_success());
    };
    for key in ["read", "end"] {
        put(key, "-");
    }
    thread::scope(|scope| {
        let call = scope.spawn(|| server.post("/invoke/python/f", vec![b'x'; 5 << 20]));
        eventually(|| server.get("/s/python/begun").status() == 200);
        assert_eq!(buffered(&server), 5 << 20);
        put("read", "x");
        eventually(|| server.get("/s/python/has").status() == 200);
        assert_eq!(buffered(&server), 0);
        put("end", "x");
        assert_eq!(call.join().unwrap().text().unwrap(), (5 << 20).to_string());
    });
}

#[test]
fn an_echo_of_64_mib_is_in_memory_twice_at_most() {
    const BODY: usize = 64 << 20;
    let home = tempfile::tempdir().unwrap();
    let server = serve(home.path(), &[]);
    let client = client();
    let upload = client.put(format!("{}/p/python/f", server.url)).body(ECHO).send().unwrap();
    assert!(upload.status().is_success());
    let echo = |body: Vec<u8>| {
        let answer = client.post(format!("{}/invoke/python/f", server.url)).body(body).send().unwrap();
        assert_eq!(answer.status(), 200);
        answer.bytes().unwrap()
    };
    assert_eq!(echo(b"x".to_vec()), "x");
    let process = format!("/proc/{}", server.process.id());
    let memory = |what: &str| memory(&format!("{process}/status"), what);
    let before = memory("VmRSS:");
    for _ in 0..3 {
        // The peak is that of this call: 5 has the kernel forget earlier ones.
        std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
        let body: Vec<u8> = (0..BODY).map(|at| (at / 4096) as u8).collect();
        assert!(echo(body.clone()) == body);
        let peak = memory("VmHWM:").saturating_sub(before);
        assert!(peak < BODY / 4 * 9, "{} MiB more than before", peak >> 20);
    }
}

#[test]
fn results_that_nobody_fetches_are_bounded() {
    let server = start_with(|settings| settings.limits.buffered = 1 << 20);
    server.upload("f", ECHO);
    // Each is small, and there is no end of them.
    let mut begun = 0;
    let refused = loop {
        let answer = server.post("/invoke/python/f?async", "x");
        match answer.status().as_u16() {
            202 => begun += 1,
            _ => break answer,
        }
        assert!(begun < 10_000, "there is an end");
    };
    header(&refused, "retry-after");
    problem(refused, 503, "busy");
    assert!(begun > 50, "{begun}");
    // Whoever fetches and deletes makes room again.
    let calls: Vec<Summary> = json(server.get("/calls?limit=1000"), 200);
    for call in calls {
        server.get(&format!("/calls/{}?wait=30", call.id));
        assert_eq!(server.delete(&format!("/calls/{}", call.id)).status(), 204);
    }
    assert_eq!(server.post("/invoke/python/f", "again").text().unwrap(), "again");
}

#[test]
fn who_does_not_take_an_answer_is_given_up() {
    let server = start_with(|settings| settings.limits.body_timeout = Duration::from_millis(500));
    server.upload("f", "def faasm_main(): return bytes(32 << 20)\n");
    let address = server.url.strip_prefix("http://").unwrap();
    let post = "POST /invoke/python/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let clients: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(post.as_bytes()).unwrap();
            stream
        })
        .collect();
    let held = || server.get("/metrics").text().unwrap().contains("faasm_buffered_bytes 0\n");
    eventually(|| !held());
    eventually(held);
    drop(clients);
}

#[test]
fn uploads_while_calls_are_made_lose_none() {
    let server = start();
    let source = |version: usize| format!("def faasm_main(): return '{version}'\n");
    server.upload("f", &source(0));
    let (uploaded, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut calls = 0;
                    while !done.load(Ordering::Relaxed) {
                        let least = uploaded.load(Ordering::SeqCst);
                        let answer = server.post("/invoke/python/f", "");
                        assert_eq!(answer.status(), 200);
                        let version: usize = answer.text().unwrap().parse().unwrap();
                        assert!(version >= least, "{version} came after {least} was there");
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for version in 1..=30 {
            server.upload("f", &source(version));
            uploaded.store(version, Ordering::SeqCst);
        }
        done.store(true, Ordering::Relaxed);
        assert!(callers.into_iter().map(|it| it.join().unwrap()).sum::<usize>() > 0);
    });
}

#[test]
fn a_start_loads_nothing_and_finds_everything() {
    const COUNT: usize = 200;
    let server = start();
    for number in 0..COUNT {
        server.upload(&format!("f-{number}"), &format!("def faasm_main(): return '{number}'\n"));
    }
    let server = start_in(server.stop(), |_| ());
    let loads = || {
        let metrics = server.get("/metrics").text().unwrap();
        let count = |line: &str| line.rsplit_once(' ')?.1.parse::<usize>().ok();
        metrics.lines().filter(|it| it.starts_with("faasm_loads_total")).filter_map(count).sum::<usize>()
    };
    // Metrics are the process's, so what the other server has loaded counts, too.
    let before = loads();
    assert_eq!(json::<Vec<FunctionDocument>>(server.get("/p"), 200).len(), COUNT);
    for number in [0, COUNT - 1] {
        let output = server.post(&format!("/invoke/python/f-{number}"), "").text().unwrap();
        assert_eq!(output, number.to_string());
    }
    assert!(loads() - before <= 2, "only what is called is loaded");
}

#[test]
fn archives_that_mean_harm_are_refused() {
    let server = start();
    server.upload("f", ECHO);
    let good = |name: &str| tar(&[(name, tar::EntryType::Regular)]);
    let bomb = || {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for name in ["main.py", "a", "b", "c"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
            std::io::copy(&mut std::io::repeat(b' ').take(100 << 20), &mut zip).unwrap();
        }
        zip.finish().unwrap().into_inner()
    };
    let link = || {
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        zip.add_symlink("main.py", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
        zip.finish().unwrap().into_inner()
    };
    let gzip = |content: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(content).unwrap();
        gzip.finish().unwrap()
    };
    let many: Vec<String> = (0..10_001).map(|number| number.to_string()).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), tar::EntryType::Regular)).collect();
    let valid = good("main.py");
    for (what, archive) in [
        ("a path that leads out", good("../main.py")),
        ("one that does on the way", good("a/../../main.py")),
        ("an absolute path", good("/tmp/main.py")),
        ("a backslash", good("..\\main.py")),
        ("a link", tar(&[("main.py", tar::EntryType::Symlink)])),
        ("a hard link", tar(&[("main.py", tar::EntryType::Link)])),
        ("a device", tar(&[("main.py", tar::EntryType::Block)])),
        ("a pipe", tar(&[("main.py", tar::EntryType::Fifo)])),
        ("a link in a zip", link()),
        ("more than there may be", bomb()),
        ("the same in a gzip", gzip(&vec![0; 400 << 20])),
        ("too many files", gzip(&tar(&many))),
        (
            "one file twice",
            tar(&[("main.py", tar::EntryType::Regular), ("main.py", tar::EntryType::Regular)]),
        ),
        ("no module", good("README")),
        ("half of it", gzip(&valid)[..40].to_vec()),
        ("none", b"PK\x03\x04".to_vec()),
    ] {
        assert!(archive.len() < 8 << 20, "{what}");
        let problem = problem(server.put("/p/python/f", archive), 422, "package");
        assert!(problem.detail.len() > 20, "{what}: {}", problem.detail);
    }
    assert_eq!(server.post("/invoke/python/f", "still").text().unwrap(), "still");
    assert_eq!(server.put("/p/python/g", valid).status(), 201);
}

/// A tar archive with members of these names as they are, which the crate's own function would refuse for bad ones.
fn tar(members: &[(&str, tar::EntryType)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind) in members {
        let content = if kind.is_file() { &b"1   "[..] } else { b"" };
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

#[test]
fn what_is_no_http_harms_nobody() {
    // Connections that could go on end soon.
    let server = start_with(|settings| {
        settings.limits.header_timeout = Duration::from_secs(1);
        settings.limits.body_timeout = Duration::from_secs(1);
    });
    server.upload("f", ECHO);
    let long = format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(40 << 10));
    let post = |headers: &str, body: &str| {
        format!("POST /invoke/python/f HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n\r\n{body}")
    };
    for (sent, status) in [
        ("no request at all\r\n\r\n", "400"),
        ("GET /healthz\r\n\r\n", "400"),
        ("GET /healthz HTTP/9.9\r\n\r\n", "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
        ("GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", "4"),
        ("GET /healthz HTTP/1.1\r\nHost : localhost\r\n\r\n", "400"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n\r\n", "400"),
        ("GET /p HTTP/1.1\r\n\r\n", "400"),
        ("GET /p HTTP/1.1\r\nHost: \u{e9}\r\n\r\n", "400"),
        ("GET /file/python/../x HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET /file/python/%2e%2e/x HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET /file/python/../../p HTTP/1.1\r\nHost: localhost\r\n\r\n", "400"),
        ("GET http://example.org/p HTTP/1.1\r\nHost: example.org\r\n\r\n", "403"),
        (&*long, "4"),
        (&post("Content-Length: -1", ""), "400"),
        (&post("Content-Length: 1\r\nContent-Length: 2", "xx"), "400"),
        (&post("Content-Length: 99999999999999999999", ""), "400"),
        (&post("Content-Length: 9999999999999", ""), "413"),
        (&post("Transfer-Encoding: gzip", ""), "400"),
        (&post("Transfer-Encoding: chunked", "zz\r\n"), "400"),
        (&post("Transfer-Encoding: chunked", "fffffffffffffffff\r\n"), "400"),
    ] {
        let answer = raw(&server, sent.as_bytes());
        let start = format!("HTTP/1.1 {status}");
        let is_refused = answer.starts_with(&start) || (status == "400" && answer.is_empty());
        assert!(is_refused, "{}\n{answer}", sent.get(..100).unwrap_or(sent));
    }
    // A body of two lengths would be the beginning of another request for whoever sees the other one.
    let both =
        post("Content-Length: 4\r\nTransfer-Encoding: chunked", "0\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n");
    assert!(!raw(&server, both.as_bytes()).contains("faasm_"));
    assert_eq!(server.post("/invoke/python/f", "still").text().unwrap(), "still");
}

/// What the server answers to some bytes until it closes the connection.
fn raw(server: &Running, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    // It may have answered before all was sent.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// What the server holds of requests and results, in bytes.
fn buffered(server: &Running) -> usize {
    let metrics = server.get("/metrics").text().unwrap();
    metrics.lines().find_map(|line| line.strip_prefix("faasm_buffered_bytes ")).unwrap().parse().unwrap()
}
