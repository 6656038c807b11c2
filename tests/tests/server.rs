//! The server as its clients see it: functions, calls, state.

mod server_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use faasm_tests::text;
use py_func::server::{
    CallResult, CallState, Details, Folder, FunctionDocument, Keys, RESULT_JSON, RuntimeDocument, Summary,
};
use serde_json::{Value, json};
use server_support::{Running, header, json, problem, start, start_in};

const ECHO: &str = "def faasm_main(data): return data\n";

#[test]
fn functions_are_uploaded_listed_called_replaced_and_deleted() {
    let server = start();
    let answer = server.put("/p/python/hello", "def faasm_main(data): return b'one ' + data");
    let stored: FunctionDocument = json(answer, 201);
    assert_eq!((&*stored.user, &*stored.function, stored.bytes), ("python", "hello", 43));

    let answer = server.post("/invoke/python/hello", "x");
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "faasm-status"), "0");
    assert_eq!(header(&answer, "faasm-version"), &stored.sha256[..16]);
    assert_eq!(header(&answer, "content-type"), "application/octet-stream");
    assert_eq!(header(&answer, "x-content-type-options"), "nosniff");
    let usage = header(&answer, "faasm-usage").to_owned();
    assert!(usage.starts_with("wall-ns=") && usage.contains(", memory="), "{usage}");
    header(&answer, "faasm-call").parse::<u64>().unwrap();
    assert_eq!(answer.text().unwrap(), "one x");

    let source = "def faasm_main(data): return b'two ' + data";
    let replaced: FunctionDocument = json(server.put("/p/python/hello", source), 200);
    assert_eq!(server.post("/invoke/python/hello", "x").text().unwrap(), "two x");
    assert_eq!(json::<Vec<FunctionDocument>>(server.get("/p"), 200), std::slice::from_ref(&replaced));
    assert_eq!(json::<Vec<FunctionDocument>>(server.get("/p?user=other"), 200), []);

    let answer = server.get("/p/python/hello");
    let tag = header(&answer, "etag").to_owned();
    assert_eq!(tag, format!("\"{}\"", replaced.sha256));
    assert_eq!(answer.text().unwrap(), source);
    for (known, status) in [
        (tag.clone(), 304),
        (format!("\"other\", W/{tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
    ] {
        let again = server.request("GET", "/p/python/hello").header("if-none-match", &known).send().unwrap();
        assert_eq!(again.status(), status, "{known}");
    }
    assert_eq!(server.request("HEAD", "/p/python/hello").send().unwrap().status(), 200);

    assert_eq!(server.delete("/p/python/hello").status(), 204);
    problem(server.delete("/p/python/hello"), 404, "no-function");
    problem(server.post("/invoke/python/hello", ""), 404, "no-function");
    problem(server.get("/p/python/hello"), 404, "no-function");
    assert_eq!(json::<Vec<FunctionDocument>>(server.get("/p"), 200), []);
}

#[test]
fn what_cannot_be_loaded_is_not_stored() {
    let server = start();
    server.upload("f", ECHO);
    for (source, kind) in [
        ("def f(:", "syntax"),
        ("print('seen')\n1 / 0", "exception"),
        ("open('/lib/python3.13/os.py')\nimport sys; sys.f = open('/lib/python3.13/os.py')", "exception"),
    ] {
        let problem = problem(server.put("/p/python/f", source), 422, kind);
        if kind == "exception" && source.contains("1 / 0") {
            assert!(problem.traceback.unwrap().contains("ZeroDivisionError"));
            assert_eq!(problem.stdout.as_deref(), Some("seen\n"));
        }
    }
    assert_eq!(server.post("/invoke/python/f", "still").text().unwrap(), "still");
}

#[test]
fn packages_are_uploaded_as_archives() {
    let server = start();
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("project");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("main.py"), "import helper\ndef faasm_main(): return helper.text\n").unwrap();
    std::fs::write(folder.join("helper.py"), "text = 'from the other module'\n").unwrap();
    let archive = py_func::pack(&folder).unwrap();
    let stored: FunctionDocument = json(server.put("/p/python/package", archive.clone()), 201);
    assert!(stored.is_package);
    assert_eq!(server.post("/invoke/python/package", "").text().unwrap(), "from the other module");
    assert!(server.get("/p/python/package").bytes().unwrap() == archive);
    problem(server.put("/p/python/package", &b"PK\x03\x04 and nothing else"[..]), 422, "package");
    assert_eq!(server.post("/invoke/python/package", "").status(), 200);
}

#[test]
fn bytes_of_every_kind_go_in_and_out() {
    let server = start();
    server.upload("echo", ECHO);
    for body in [Vec::new(), (0..=255).collect(), vec![0; 1 << 20], vec![b'x'; 3 << 20]] {
        let answer = server.post("/invoke/python/echo", body.clone());
        assert_eq!(answer.status(), 200);
        assert_eq!(header(&answer, "content-length"), body.len().to_string());
        assert!(answer.bytes().unwrap() == body);
    }
}

#[test]
fn failures_say_what_happened() {
    let server = start();
    server.upload(
        "f",
        "import time, sys\n\
         def raises(): print('before'); return 1 / 0\n\
         def wrong(): return 1.5\n\
         def status(): print('out'); sys.exit(3)\n\
         def slow(): time.sleep(60)\n\
         def large(): return bytes(70 << 20)\n\
         def faasm_main(): pass\n",
    );
    for (query, status, kind) in [
        ("entry=raises", 500, "exception"),
        ("entry=wrong", 500, "result"),
        ("entry=missing", 404, "entry"),
        ("entry=slow&timeout=0.1", 504, "time-limit"),
        ("entry=large", 500, "output-limit"),
    ] {
        let answer = server.post(&format!("/invoke/python/f?{query}"), "");
        let id: u64 = header(&answer, "faasm-call").parse().unwrap();
        let problem = problem(answer, status, kind);
        assert_eq!(problem.call, Some(id));
        if kind == "exception" {
            let traceback = problem.traceback.unwrap();
            assert!(
                traceback.contains("f.py\", line 2, in raises") && traceback.contains("ZeroDivisionError")
            );
            assert!(!problem.detail.contains("ZeroDivisionError"), "it is said once");
        }
        // The server remembers it.
        let details: Details = json(server.get(&format!("/calls/{id}")), 200);
        assert_eq!(details.summary.state, CallState::Failed);
        assert_eq!(details.summary.error.as_deref(), Some(kind));
    }
    let answer = server.post("/invoke/python/f?entry=status", "");
    assert_eq!((answer.status().as_u16(), header(&answer, "faasm-status")), (200, "3"));
}

#[test]
fn all_that_a_call_has_left_can_be_had_at_once() {
    let server = start();
    server.upload(
        "f",
        "import sys\n\
         def faasm_main(data): print('out'); print('err', file=sys.stderr); return bytes([255])\n\
         def raises(): print('before'); return 1 / 0\n",
    );
    let result = |entry: &str| {
        let path = format!("/invoke/python/f?entry={entry}");
        let answer = server.request("POST", &path).header("accept", RESULT_JSON).send().unwrap();
        assert_eq!(header(&answer, "content-type"), RESULT_JSON);
        (answer.status().as_u16(), serde_json::from_slice::<CallResult>(&answer.bytes().unwrap()).unwrap())
    };
    let (status, returned) = result("faasm_main");
    let output = returned.into_result().unwrap();
    assert_eq!((status, output.output), (200, vec![255]));
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("out\n", "err\n"));
    assert!(output.usage.memory > 1 << 20 && output.usage.wall_time > Duration::ZERO);
    let (status, failed) = result("raises");
    let failure = failed.into_result().unwrap_err();
    assert_eq!((status, text(&failure.stdout)), (500, "before\n"));
    assert!(failure.to_string().contains("ZeroDivisionError"));
}

#[test]
fn asynchronous_calls_are_asked_for_by_their_number() {
    let server = start();
    server.upload(
        "f",
        "import time\n\
         def faasm_main(data): print('out'); return data\n\
         def raises(): 1 / 0\n\
         def sleeps(): time.sleep(25)\n",
    );
    let begin = |query: &str, input: &str| {
        let answer = server.post(&format!("/invoke/python/f?async{query}"), input.to_owned());
        let location = header(&answer, "location").to_owned();
        let summary: Summary = json(answer, 202);
        assert_eq!(location, format!("/calls/{}", summary.id));
        assert!(summary.asynchronous);
        location
    };
    let call = begin("", "input");
    assert_eq!(server.get(&format!("{call}/output?wait=30")).text().unwrap(), "input");
    let result: CallResult = json(server.get(&format!("{call}/result")), 200);
    assert_eq!(result.into_result().unwrap().output, b"input");
    assert_eq!(server.get(&format!("{call}/logs")).text().unwrap(), "out\n");
    let details: Details = json(server.get(&call), 200);
    assert_eq!((details.summary.state, details.summary.status), (CallState::Returned, Some(0)));
    assert_eq!(server.delete(&call).status(), 204);
    problem(server.get(&format!("{call}/output")), 404, "no-call");

    let call = begin("&entry=raises", "");
    problem(server.get(&format!("{call}/output?wait=30")), 500, "exception");
    let logs = server.get(&format!("{call}/logs")).text().unwrap();
    assert!(logs.contains("ZeroDivisionError"), "{logs}");

    let call = begin("&entry=sleeps", "");
    let details: Details = json(server.get(&call), 200);
    assert_eq!(details.summary.state, CallState::Running);
    problem(server.get(&format!("{call}/output")), 409, "running");
    assert_eq!(server.delete(&call).status(), 204);
    let details: Details = json(server.get(&format!("{call}?wait=20")), 200);
    assert_eq!(details.summary.state, CallState::Cancelled);
    assert!(details.summary.seconds.unwrap() < 20.0, "it was cut short");
    problem(server.get(&format!("{call}/output")), 410, "cancelled");

    let calls: Vec<Summary> = json(server.get("/calls?user=python&function=f"), 200);
    let states: Vec<CallState> = calls.iter().map(|it| it.state).collect();
    assert_eq!(states, [CallState::Cancelled, CallState::Failed, CallState::Returned], "the newest first");
    let newer: Vec<Summary> = json(server.get(&format!("/calls?after={}", calls[1].id)), 200);
    assert_eq!(newer.len(), 1);
    assert_eq!(json::<Vec<Summary>>(server.get("/calls?limit=2"), 200).len(), 2);
    assert_eq!(json::<Vec<Summary>>(server.get("/calls?function=g"), 200).len(), 0);
}

#[test]
fn the_messages_of_the_original_are_understood() {
    let server = start();
    server.upload("f", "def faasm_main(data): return data\ndef raises(): 1 / 0\ndef three(): return 3\n");
    let send = |message: Value| server.post("/", message.to_string());
    let message = |more: Value| {
        let mut message = json!({
            "user": "python", "function": "py_func", "py_user": "python", "py_func": "f", "python": true,
            "input_data": "data", "unknown": 1,
        });
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        send(message)
    };
    assert_eq!(message(json!({})).text().unwrap(), "data");
    assert_eq!(send(json!({ "user": "python", "function": "f" })).text().unwrap(), "");
    problem(message(json!({ "py_entry": "raises" })), 500, "exception");

    let wait = |id: &str| {
        server.get(&format!("/calls/{id}?wait=30"));
        send(json!({ "status": true, "id": id })).text().unwrap()
    };
    let id = message(json!({ "async": true })).text().unwrap();
    assert_eq!(wait(&id), "SUCCESS: data");
    let number: u64 = id.parse().unwrap();
    assert_eq!(send(json!({ "status": true, "id": number })).text().unwrap(), "SUCCESS: data");
    for entry in ["three", "raises"] {
        let id = message(json!({ "async": true, "py_entry": entry })).text().unwrap();
        assert!(wait(&id).starts_with("FAILED: "));
    }
    assert_eq!(send(json!({ "flush": true })).status(), 200);

    for (body, status, kind) in [
        ("", 400, "message"),
        ("[1]", 400, "message"),
        ("{\"user\": 1}", 400, "message"),
        ("{}", 400, "message"),
        ("{\"user\": \"python\"}", 400, "message"),
        ("{\"user\": \"..\", \"function\": \"f\"}", 400, "name"),
        ("{\"user\": \"python\", \"function\": \"g\"}", 404, "no-function"),
        ("{\"status\": true}", 400, "message"),
        ("{\"status\": true, \"id\": 5}", 404, "no-call"),
        ("{\"status\": true, \"id\": \"x\"}", 400, "message"),
    ] {
        problem(server.post("/", body), status, kind);
    }
}

#[test]
fn state_is_read_and_written_in_whole_and_in_parts() {
    let server = start();
    problem(server.get("/s/python/key"), 404, "no-value");
    assert_eq!(server.put("/s/python/key", "0123456789").status(), 204);
    assert_eq!(server.get("/s/python/key").text().unwrap(), "0123456789");

    let range = |range: &str| server.request("GET", "/s/python/key").header("range", range).send().unwrap();
    for (asked, content, bytes) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-1", "bytes 9-9/10", "9"),
    ] {
        let answer = range(asked);
        assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (206, content));
        assert_eq!(answer.text().unwrap(), bytes);
    }
    let answer = range("bytes=10-");
    assert_eq!(header(&answer, "content-range"), "bytes */10");
    problem(answer, 416, "range");
    problem(range("bytes=x"), 400, "range");

    let write = |key: &str, range: &str, body: &'static str| {
        let request = server.request("PUT", &format!("/s/python/{key}"));
        request.header("content-range", range).body(body).send().unwrap()
    };
    assert_eq!(write("key", "bytes 3-5/10", "abc").status(), 204);
    assert_eq!(server.get("/s/python/key").text().unwrap(), "012abc6789");
    assert_eq!(write("new", "bytes 1-2/4", "xy").status(), 204);
    assert_eq!(server.get("/s/python/new").bytes().unwrap(), b"\0xy\0"[..]);
    problem(write("key", "bytes 3-5/11", "abc"), 409, "size");
    problem(write("key", "bytes 9-10/*", "ab"), 416, "range");
    problem(write("none", "bytes 0-0/*", "a"), 404, "no-value");
    problem(write("key", "bytes 0-0/*", "ab"), 400, "range");
    problem(write("key", "all", "ab"), 400, "range");
    assert_eq!(server.get("/s/python/key").text().unwrap(), "012abc6789", "what was refused has no effect");

    // A value of another size takes its place, and keys may have any character.
    assert_eq!(server.put("/s/python/key", "short").status(), 204);
    assert_eq!(server.get("/s/python/key").text().unwrap(), "short");
    assert_eq!(server.put("/s/python/a%2Fb%20%C3%A9", "").status(), 204);
    assert_eq!(server.get("/s/python/a%2Fb%20%C3%A9").bytes().unwrap(), b""[..]);
    assert_eq!(json::<Keys>(server.get("/s/python"), 200).keys, ["a/b é", "key", "new"]);
    assert_eq!(json::<Keys>(server.get("/s/other"), 200).keys, Vec::<String>::new());
    assert_eq!(server.delete("/s/python/key").status(), 204);
    assert_eq!(server.delete("/s/python/key").status(), 204);
    problem(server.get("/s/python/key"), 404, "no-value");
}

#[test]
fn shared_files_are_read_written_and_listed() {
    let server = start();
    let listed = |path: &str| {
        let folder: Folder = json(server.get(path), 200);
        folder.entries.into_iter().map(|it| (it.name, it.is_folder, it.bytes)).collect::<Vec<_>>()
    };
    assert_eq!(listed("/file/python"), []);
    problem(server.get("/file/python/a/b"), 404, "no-file");
    problem(server.delete("/file/python/a"), 404, "no-file");

    let content: Vec<u8> = (0..1_u32 << 20).map(|it| (it >> 4) as u8).collect();
    assert_eq!(server.put("/file/python/a/b%20%C3%A9", content.clone()).status(), 204);
    assert_eq!(listed("/file/python"), [("a".to_owned(), true, 0)]);
    assert_eq!(listed("/file/python/a/"), [("b é".to_owned(), false, 1 << 20)]);
    let answer = server.get("/file/python/a/b%20%C3%A9");
    assert_eq!(header(&answer, "content-length"), "1048576");
    assert!(answer.bytes().unwrap() == content);
    let range = server.request("GET", "/file/python/a/b%20%C3%A9").header("range", "bytes=300000-700000");
    let answer = range.send().unwrap();
    assert_eq!(header(&answer, "content-range"), "bytes 300000-700000/1048576");
    assert!(answer.status() == 206 && answer.bytes().unwrap() == content[300_000..=700_000]);

    // Functions of the user see them, and nobody else's.
    server.upload("f", "def faasm_main():\n    with open('/shared/from-inside', 'w') as f: f.write('x')\n    return open('/shared/a/b é', 'rb').read(32)[-1:]\n");
    assert_eq!(server.post("/invoke/python/f", "").bytes().unwrap(), content[31..32]);
    assert_eq!(server.get("/file/python/from-inside").text().unwrap(), "x");
    assert_eq!(listed("/file/other"), []);

    assert_eq!(server.put("/file/python/from-inside", "").status(), 204);
    assert_eq!(server.get("/file/python/from-inside").text().unwrap(), "");
    problem(server.put("/file/python/a", "x"), 409, "file");
    problem(server.put("/file/python/from-inside/x", "x"), 409, "file");
    problem(server.delete("/file/python/a"), 409, "file");
    for path in ["a/b%20%C3%A9", "a", "from-inside"] {
        assert_eq!(server.delete(&format!("/file/python/{path}")).status(), 204, "{path}");
    }
    assert_eq!(listed("/file/python"), []);
    for path in ["a%2F..%2F..%2Fother", "a//b", "%00", &"x".repeat(300)] {
        for method in ["GET", "PUT", "DELETE"] {
            problem(server.request(method, &format!("/file/python/{path}")).send().unwrap(), 400, "path");
        }
    }
}

#[test]
fn functions_see_state_and_each_other() {
    let server = start();
    server.put("/s/python/key", "from outside");
    server.upload(
        "f",
        "import faasm\n\
         def faasm_main():\n    faasm.state.write('answer', b'from inside')\n    return faasm.state.read('key')\n\
         def chains(): return faasm.chain('g').output()\n",
    );
    assert_eq!(server.post("/invoke/python/f", "").text().unwrap(), "from outside");
    assert_eq!(server.get("/s/python/answer").text().unwrap(), "from inside");
    for version in ["one", "two"] {
        server.upload("g", &format!("def faasm_main(): return '{version}'"));
        assert_eq!(server.post("/invoke/python/f?entry=chains", "").text().unwrap(), version);
    }
}

#[test]
fn a_large_value_is_sent_in_parts() {
    let server = start();
    let value: Vec<u8> = (0..5_u32 << 20).map(|it| (it >> 8) as u8).collect();
    assert_eq!(server.put("/s/python/large", value.clone()).status(), 204);
    assert!(server.get("/s/python/large").bytes().unwrap() == value);
    let answer =
        server.request("GET", "/s/python/large").header("range", "bytes=1000000-2999999").send().unwrap();
    assert!(answer.bytes().unwrap() == value[1_000_000..3_000_000]);
}

#[test]
fn a_new_version_takes_over_while_calls_of_the_old_one_go_on() {
    let server = start();
    let version = |name: &str| {
        format!(
            "import faasm, time\ndef faasm_main(data):\n    faasm.state.write('begun', b'x')\n    time.sleep(float(data))\n    return '{name}'\n"
        )
    };
    server.upload("f", &version("old"));
    thread::scope(|scope| {
        let slow = scope.spawn(|| server.post("/invoke/python/f", "2").text().unwrap());
        while server.get("/s/python/begun").status() != 200 {
            thread::sleep(Duration::from_millis(5));
        }
        server.upload("f", &version("new"));
        assert_eq!(server.post("/invoke/python/f", "0").text().unwrap(), "new");
        assert_eq!(slow.join().unwrap(), "old");
    });
}

#[test]
fn earlier_versions_are_kept_called_and_gone_back_to() {
    let server = start();
    let source = |version: &str| {
        format!(
            "import faasm\ndef faasm_main(): return '{version}'\ndef chains(): return faasm.chain('f').output()\n"
        )
    };
    let versions = || -> Vec<String> {
        json::<Vec<FunctionDocument>>(server.get("/p/python/f/versions"), 200)
            .into_iter()
            .map(|it| it.version)
            .collect()
    };
    problem(server.get("/p/python/f/versions"), 404, "no-function");
    problem(server.post("/p/python/f/rollback", ""), 404, "no-function");
    server.upload("f", &source("one"));
    problem(server.post("/p/python/f/rollback", ""), 404, "no-version");
    server.upload("f", &source("two"));
    let both = versions();
    let [two, one] = &*both else { panic!("{both:?}") };

    let call = |query: &str| server.post(&format!("/invoke/python/f?{query}"), "");
    let answer = call(&format!("version={one}"));
    assert_eq!(header(&answer, "faasm-version"), one);
    assert_eq!(answer.text().unwrap(), "one");
    // That is no reason for others to get the earlier one.
    assert_eq!(call("entry=chains").text().unwrap(), "two");
    assert_eq!(call(&format!("version={two}")).text().unwrap(), "two");
    let answer = server.get(&format!("/p/python/f?version={one}"));
    assert!(header(&answer, "etag").starts_with(&format!("\"{one}")));
    assert_eq!(answer.text().unwrap(), source("one"));
    for unknown in ["0000000000000000", "", &one[..15]] {
        problem(call(&format!("version={unknown}")), 404, "no-version");
        problem(server.get(&format!("/p/python/f?version={unknown}")), 404, "no-version");
        problem(server.post(&format!("/p/python/f/rollback?version={unknown}"), ""), 404, "no-version");
    }

    let now: FunctionDocument = json(server.post("/p/python/f/rollback", ""), 200);
    assert_eq!(&now.version, one);
    assert_eq!(versions(), [one.clone(), two.clone()]);
    assert_eq!(call("").text().unwrap(), "one");
    assert_eq!(call("entry=chains").text().unwrap(), "one");
    let now: FunctionDocument = json(server.post(&format!("/p/python/f/rollback?version={two}"), ""), 200);
    assert_eq!((&now.version, call("").text().unwrap()), (two, "two".to_owned()));
    // Other processes and later servers see the same.
    let server = start_in(server.stop(), |_| ());
    assert_eq!(server.post(&format!("/invoke/python/f?version={one}"), "").text().unwrap(), "one");
    assert_eq!(server.post("/invoke/python/f", "").text().unwrap(), "two");
    assert_eq!(server.delete("/p/python/f").status(), 204);
    problem(server.post(&format!("/invoke/python/f?version={one}"), ""), 404, "no-function");
}

#[test]
fn a_version_that_is_kept_no_more_is_not_called_any_more() {
    let server = start();
    let mut first = String::new();
    for number in 0..11 {
        let answer = server.put("/p/python/f", format!("def faasm_main(): return '{number}'"));
        let stored: FunctionDocument = json(answer, if number == 0 { 201 } else { 200 });
        match number {
            0 => first = stored.version,
            1..10 => {
                // It is loaded, which is no reason for it to stay.
                let answer = server.post(&format!("/invoke/python/f?version={first}"), "");
                assert_eq!(answer.text().unwrap(), "0");
            }
            _ => {}
        }
    }
    problem(server.post(&format!("/invoke/python/f?version={first}"), ""), 404, "no-version");
    assert_eq!(json::<Vec<FunctionDocument>>(server.get("/p/python/f/versions"), 200).len(), 10);
    assert_eq!(server.post("/invoke/python/f", "").text().unwrap(), "10");
}

#[test]
fn going_back_to_a_version_brings_nothing_back_that_was_removed() {
    let server = start();
    for _ in 0..10 {
        for number in 0..2 {
            server.upload("f", &format!("def faasm_main(): return '{number}'"));
        }
        let removed = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !removed.load(Ordering::SeqCst) {
                        assert!(
                            [200, 404].contains(&server.post("/p/python/f/rollback", "").status().as_u16())
                        );
                    }
                });
            }
            let status = server.delete("/p/python/f").status();
            removed.store(true, Ordering::SeqCst);
            assert_eq!(status, 204);
        });
        problem(server.get("/p/python/f/versions"), 404, "no-function");
        problem(server.post("/invoke/python/f", ""), 404, "no-function");
    }
}

#[test]
fn the_store_outlives_the_server() {
    let server = start();
    server.upload("f", ECHO);
    server.put("/s/python/key", "value");
    let server = start_in(server.stop(), |_| ());
    assert_eq!(server.post("/invoke/python/f", "again").text().unwrap(), "again");
    assert_eq!(server.get("/s/python/key").text().unwrap(), "value");
}

#[test]
fn the_server_says_how_it_is() {
    let server = start();
    assert_eq!(server.get("/healthz").text().unwrap(), "ok\n");
    assert_eq!(server.get("/readyz").text().unwrap(), "ready\n");
    let runtime: RuntimeDocument = json(server.get("/f"), 200);
    assert!(runtime.python.starts_with("3.") && runtime.wasm.len() == 64);
    server.upload("f", ECHO);
    assert_eq!(server.post("/flush", "").status(), 204);
    assert_eq!(server.post("/invoke/python/f", "x").text().unwrap(), "x");
    let metrics = metrics(&server);
    for line in [
        "faasm_http_requests_total{route=\"/invoke/{user}/{function}\",method=\"POST\",status=\"200\"} ",
        "faasm_http_request_duration_seconds_bucket{route=\"/invoke/{user}/{function}\",le=\"0.001\"} ",
        "faasm_functions ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

fn metrics(server: &Running) -> String {
    server.get("/metrics").text().unwrap()
}

#[test]
fn requests_that_make_no_sense_are_refused_with_a_reason() {
    let server = start();
    server.upload("f", ECHO);
    let long = "x".repeat(65);
    let key = "k".repeat(513);
    for (method, path, status, kind) in [
        ("GET", "/nothing", 404, "no-route"),
        ("GET", "/p/python/f/more", 404, "no-route"),
        ("PATCH", "/p/python/f", 405, "no-method"),
        ("GET", "/invoke/python/f", 405, "no-method"),
        ("PUT", "/p/python/py_func", 400, "name"),
        ("PUT", "/p/python/.f", 400, "name"),
        ("PUT", "/p/..%2Fpython/f", 400, "name"),
        ("PUT", "/p/python/a%00b", 400, "name"),
        ("PUT", "/p/python/%FF", 400, "path"),
        ("PUT", &format!("/p/python/{long}"), 400, "name"),
        ("POST", "/invoke/python/f?asnyc", 400, "query"),
        ("POST", "/invoke/python/f?async=maybe", 400, "query"),
        ("POST", "/invoke/python/f?timeout=-1", 400, "query"),
        ("POST", "/invoke/python/f?timeout=nan", 400, "query"),
        ("POST", "/invoke/python/f?timeout=soon", 400, "query"),
        ("POST", "/invoke/python/f?entry=", 400, "entry"),
        ("POST", "/invoke/python/f?entry=%00", 404, "entry"),
        ("POST", "/invoke/python/f?entry=a&entry=b", 400, "query"),
        ("GET", "/calls/x", 400, "path"),
        ("GET", "/calls/-1", 400, "path"),
        ("GET", "/calls/5", 404, "no-call"),
        ("DELETE", "/calls/5", 404, "no-call"),
        ("GET", "/calls?limit=x", 400, "query"),
        ("GET", "/calls?limit=-1", 400, "query"),
        ("GET", "/calls/5?wait=x", 400, "query"),
        ("GET", &format!("/s/python/{key}"), 400, "key"),
        ("PUT", "/s/.python/key", 400, "name"),
        ("GET", "/file/.python", 400, "name"),
        ("POST", "/file/python/x", 405, "no-method"),
        ("DELETE", "/metrics", 405, "no-method"),
    ] {
        let answer = server.request(method, path).send().unwrap();
        if status == 405 {
            header(&answer, "allow");
        }
        problem(answer, status, kind);
    }
}
