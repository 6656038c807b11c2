//! Functions in a bucket that servers share: what one of them stores the others run, and what happens when the bucket does not answer.

mod bundle_support;
mod server_support;

use std::fs::{self, File};
use std::thread;
use std::time::{Duration, SystemTime};

use bundle_support::{Direction, Machine, S3, Served, Wire};
use py_func::server::FunctionDocument;
use reqwest::blocking::{Client, Response};
use server_support::{client, eventually, json, problem};

/// A function that answers this.
fn answers(text: &str) -> String {
    format!("def faasm_main(data):\n    return b'{text}'\n")
}

/// A server on a machine of its own, whose functions are in the bucket.
struct Node {
    machine: Machine,
    server: Served,
    client: Client,
}

impl Node {
    fn start(endpoint: std::net::SocketAddr) -> Self {
        Self::on(Machine::new(Some(endpoint)))
    }

    fn on(machine: Machine) -> Self {
        let image = faasm_tests::image().display();
        let server = machine.serve(&format!("--storage s3://bucket/functions-of-ours --image {image}"));
        Self { machine, server, client: client() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.url)
    }

    fn upload(&self, name: &str, source: &str) -> Response {
        self.client.put(self.url(&format!("/p/python/{name}"))).body(source.to_owned()).send().unwrap()
    }

    #[track_caller]
    fn uploads(&self, name: &str, source: &str, status: u16) {
        let answer = self.upload(name, source);
        assert_eq!(answer.status(), status, "{}", answer.text().unwrap());
    }

    fn invoke(&self, name: &str) -> Response {
        self.client.post(self.url(&format!("/invoke/python/{name}"))).send().unwrap()
    }

    #[track_caller]
    fn call(&self, name: &str) -> String {
        let answer = self.invoke(name);
        let status = answer.status();
        let text = answer.text().unwrap();
        assert_eq!(status, 200, "{text}");
        text
    }

    fn list(&self) -> Vec<String> {
        let list: Vec<FunctionDocument> = json(self.client.get(self.url("/p")).send().unwrap(), 200);
        list.into_iter().map(|it| format!("{}/{} {}", it.user, it.function, it.bytes)).collect()
    }
}

/// What there is of a function in the bucket.
fn objects(s3: &S3, name: &str) -> Vec<String> {
    let folder = format!("functions-of-ours/functions/python/{name}/");
    s3.objects().into_iter().filter_map(|it| Some(it.strip_prefix(&folder)?.to_owned())).collect()
}

#[test]
fn what_one_server_stores_another_one_runs() {
    let s3 = S3::start();
    let (a, b) = (Node::start(s3.address), Node::start(s3.address));
    problem(b.invoke("hello"), 404, "no-function");
    a.uploads("hello", &answers("one"), 201);
    assert_eq!(b.call("hello"), "one");
    b.uploads("chains", "import faasm\ndef faasm_main():\n    return faasm.chain('hello').output()\n", 201);
    assert_eq!(b.call("chains"), "one");

    a.uploads("hello", &answers("two!"), 200);
    assert_eq!(a.call("hello"), "two!");
    eventually(|| b.call("hello") == "two!");
    eventually(|| b.call("chains") == "two!");
    assert_eq!(b.list(), a.list());
    assert_eq!(b.list()[1], format!("python/hello {}", answers("two!").len()));
    // Both versions are kept, and can be gone back to on either.
    assert_eq!(objects(&s3, "hello").len(), 3, "{:?}", objects(&s3, "hello"));
    let versions: Vec<FunctionDocument> =
        json(b.client.get(b.url("/p/python/hello/versions")).send().unwrap(), 200);
    let earlier =
        b.client.post(b.url(&format!("/invoke/python/hello?version={}", versions[1].version))).send();
    assert_eq!((versions.len(), earlier.unwrap().text().unwrap().as_str()), (2, "one"));
    let back = b.client.post(b.url("/p/python/hello/rollback")).send().unwrap();
    assert_eq!((back.status().as_u16(), b.call("hello").as_str()), (200, "one"));
    eventually(|| a.call("hello") == "one");
    a.uploads("hello", &answers("two!"), 200);
    eventually(|| b.call("hello") == "two!");
    eventually(|| b.call("chains") == "two!");
    assert_eq!(objects(&s3, "hello").len(), 3, "{:?}", objects(&s3, "hello"));

    // A server that comes later finds all of it.
    let c = Node::start(s3.address);
    assert_eq!(c.call("chains"), "two!");
    assert_eq!(c.list(), a.list());

    let removed = b.client.delete(b.url("/p/python/hello")).send().unwrap();
    assert_eq!(removed.status(), 204);
    problem(b.invoke("hello"), 404, "no-function");
    eventually(|| a.invoke("hello").status() == 404);
    eventually(|| c.invoke("hello").status() == 404);
    assert_eq!(objects(&s3, "hello"), [""; 0]);
    problem(a.client.delete(a.url("/p/python/hello")).send().unwrap(), 404, "no-function");
    b.uploads("hello", &answers("three"), 201);
    assert_eq!(a.call("hello"), "three");
}

#[test]
fn of_uploads_at_a_time_one_comes_last_for_all() {
    let s3 = S3::start();
    let nodes = [Node::start(s3.address), Node::start(s3.address)];
    thread::scope(|scope| {
        for (index, node) in nodes.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..10 {
                    let answer = node.upload("hello", &answers(&format!("{index} {round}")));
                    assert!(answer.status().is_success(), "{}", answer.text().unwrap());
                }
            });
        }
    });
    let [a, b] = &nodes;
    eventually(|| a.call("hello") == b.call("hello"));
    assert!(["0 9", "1 9"].contains(&a.call("hello").as_str()));
    // The description, and the sources of the versions that are kept.
    assert_eq!(objects(&s3, "hello").len(), 11, "{:?}", objects(&s3, "hello"));
}

#[test]
fn all_servers_forget_what_one_is_told_to_forget() {
    let s3 = S3::start();
    let (a, b) = (Node::start(s3.address), Node::start(s3.address));
    a.uploads("drawn", "import os\nVALUE = os.urandom(8).hex()\ndef faasm_main():\n    return VALUE\n", 201);
    let before = [&a, &b].map(|it| it.call("drawn"));
    assert_eq!([&a, &b].map(|it| it.call("drawn")), before);
    for node in [&a, &b] {
        // What the import has left would be used again.
        fs::remove_dir_all(node.machine.home().join("images")).unwrap();
        fs::create_dir(node.machine.home().join("images")).unwrap();
    }
    assert_eq!(a.client.post(a.url("/flush")).send().unwrap().status(), 204);
    assert_ne!(a.call("drawn"), before[0]);
    eventually(|| b.call("drawn") != before[1]);
}

#[test]
fn functions_that_are_loaded_are_called_while_the_bucket_does_not_answer() {
    let s3 = S3::start();
    let wire = Wire::to(s3.address, Direction::Up);
    let (a, b) = (Node::start(s3.address), Node::start(wire.address));
    a.uploads("hello", &answers("one"), 201);
    a.uploads("other", &answers("other"), 201);
    assert_eq!(b.call("hello"), "one");

    wire.cut_after(0);
    a.uploads("hello", &answers("two"), 200);
    // For longer than what was known is believed.
    let begun = std::time::Instant::now();
    while begun.elapsed().as_secs() < 3 {
        assert_eq!(b.call("hello"), "one");
    }
    let refused = problem(b.invoke("other"), 503, "storage");
    assert!(refused.detail.contains("s3://bucket/functions-of-ours/"), "{}", refused.detail);
    problem(b.upload("hello", &answers("three")), 503, "storage");
    problem(b.client.get(b.url("/p")).send().unwrap(), 503, "storage");
    problem(b.client.delete(b.url("/p/python/hello")).send().unwrap(), 503, "storage");
    assert_eq!(b.call("hello"), "one");

    wire.mend();
    eventually(|| b.call("hello") == "two");
    eventually(|| b.invoke("other").status() == 200);
    let said = b.server.kill();
    assert!(!said.contains("panicked"), "{said}");
}

/// Makes what the bucket has of a function, its description excepted, older by two days.
fn age(s3: &S3, name: &str) {
    for object in objects(s3, name).iter().filter(|it| it.starts_with("function-")) {
        let path = s3.object(&format!("functions-of-ours/functions/python/{name}/{object}"));
        let time = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

#[test]
fn what_uploads_that_were_cut_off_have_left_is_removed_when_nobody_needs_it() {
    let s3 = S3::start();
    let wire = Wire::to(s3.address, Direction::Up);
    let (a, b) = (Node::start(s3.address), Node::start(wire.address));
    a.uploads("hello", &answers("first"), 201);
    let before = wire.passed();
    assert!(b.upload("hello", &answers("second")).status().is_success());
    let whole = wire.passed() - before;
    for part in 1..10 {
        wire.cut_after(whole * part / 10);
        b.upload("hello", &answers(&format!("cut {part}")));
    }
    wire.mend();
    let versions = |node: &Node| -> Vec<FunctionDocument> {
        json(node.client.get(node.url("/p/python/hello/versions")).send().unwrap(), 200)
    };
    // There are more sources than are named, and they stay: somebody may be about to name them.
    a.list();
    let there = objects(&s3, "hello");
    assert!(there.len() > versions(&a).len() + 1, "{there:?}");
    a.list();
    assert_eq!(objects(&s3, "hello"), there);
    // Now nobody is any more. What is named stays, however old it is.
    age(&s3, "hello");
    let answer = a.call("hello");
    a.uploads("hello", &answers("last"), 200);
    assert_eq!(objects(&s3, "hello").len(), versions(&a).len() + 1, "{:?}", objects(&s3, "hello"));
    for (version, expected) in [(0, "last"), (1, answer.as_str())] {
        let version = &versions(&a)[version].version;
        let url = a.url(&format!("/invoke/python/hello?version={version}"));
        assert_eq!(a.client.post(url).send().unwrap().text().unwrap(), expected);
    }

    // What is left of a function that is not there goes when functions are listed.
    let name = "function-0123456789abcdef-0000000000000000.py";
    let folder = s3.object("functions-of-ours/functions/python/gone");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(name), answers("gone")).unwrap();
    fs::write(folder.join("note"), "somebody else's").unwrap();
    assert_eq!(a.list(), b.list());
    assert_eq!(objects(&s3, "gone"), [name, "note"]);
    age(&s3, "gone");
    age(&s3, "hello");
    assert_eq!(a.list().len(), 1);
    assert_eq!(objects(&s3, "gone"), ["note"]);
    assert_eq!(a.call("hello"), "last");
    assert_eq!(objects(&s3, "hello").len(), versions(&a).len() + 1);
}

#[test]
fn a_server_that_is_killed_in_an_upload_leaves_the_version_before_or_the_new_one() {
    let s3 = S3::start();
    let wire = Wire::to(s3.address, Direction::Up);
    let (a, mut b) = (Node::start(s3.address), Node::start(wire.address));
    // Large enough for a moment in the middle of its transfer.
    let source = |text: &str| format!("{}# {}\n", answers(text), "x".repeat(1 << 20));
    let before = wire.passed();
    b.uploads("hello", &source("0"), 201);
    let whole = wire.passed() - before;
    let mut expected = "0".to_owned();
    let mut killed = 0;
    for round in 1..=8 {
        let text = round.to_string();
        let (url, client) = (b.url("/p/python/hello"), b.client.clone());
        let Node { machine, server, .. } = b;
        let before = wire.passed();
        let at = whole * (round - 1) / 7;
        let acknowledged = thread::scope(|scope| {
            let upload = scope.spawn(|| client.put(url).body(source(&text)).send());
            let came = server.kill_when(|| wire.passed() - before > at, || upload.is_finished());
            let acknowledged = upload.join().unwrap().is_ok_and(|it| it.status().is_success());
            killed += u32::from(came && !acknowledged);
            acknowledged
        });
        // What the machine had sent may arrive after it.
        b = Node::on(machine);
        if acknowledged {
            eventually(|| a.call("hello") == text);
        }
        eventually(|| a.call("hello") == b.call("hello"));
        let now = b.call("hello");
        assert!(now == text || (now == expected && !acknowledged), "{now} after {expected}, {text}");
        expected = now;
    }
    assert!(killed > 0, "it was always too late");
    // Every version that is named can be called, and an upload completes as ever.
    b.uploads("hello", &source("last"), 200);
    eventually(|| a.call("hello") == "last");
    let versions = || -> Vec<FunctionDocument> {
        json(b.client.get(b.url("/p/python/hello/versions")).send().unwrap(), 200)
    };
    for version in versions() {
        let url = b.url(&format!("/invoke/python/hello?version={}", version.version));
        assert_eq!(b.client.post(url).send().unwrap().status(), 200);
    }
    // What was left goes when nobody can be about to name it.
    age(&s3, "hello");
    b.uploads("hello", &source("the very last"), 200);
    assert_eq!(objects(&s3, "hello").len(), versions().len() + 1, "{:?}", objects(&s3, "hello"));
}

#[test]
fn a_server_says_why_it_cannot_use_a_storage() {
    let s3 = S3::start();
    let machine = Machine::new(Some(s3.address));
    let serve = |place: &str| format!("serve --storage {place} --image {}", faasm_tests::image().display());
    let said = machine.fails(5, &serve("s3://elsewhere/functions"));
    assert!(said.contains("hint: create the bucket"), "{said}");
    let said = machine.fails(3, &serve("./functions"));
    assert!(said.contains("it is no object store"), "{said}");
}
