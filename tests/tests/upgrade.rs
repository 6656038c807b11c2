//! Another runtime in the place of the one that a server runs, while it is called.

mod bundle_support;
mod server_support;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Instant;

use bundle_support::{Machine, S3, Served};
use py_func::server::RuntimeDocument;
use reqwest::blocking::Client;
use server_support::{client, json};

/// Says what it runs on: one of the runtimes has a file that the other one has not.
const EDITION: &str =
    "import os\ndef faasm_main():\n    return 'new' if os.path.exists('/edition') else 'old'\n";

const SLOW: &str = "import os, time\ndef faasm_main():\n    time.sleep(3)\n    return 'new' if os.path.exists('/edition') else 'old'\n";

/// Cannot be loaded on the newer one.
const PARTICULAR: &str = "import os\nif os.path.exists('/edition'):\n    raise RuntimeError('not here')\ndef faasm_main():\n    return 'old'\n";

/// A store of objects, two runtimes in it, and the machine that has signed them.
static PUBLISHED: LazyLock<(S3, [String; 2], Machine)> = LazyLock::new(|| {
    let s3 = S3::start();
    let machine = Machine::new(Some(s3.address));
    let runtimes = publish(&machine);
    (s3, runtimes, machine)
});

/// A machine that knows by which key they are signed.
fn machine() -> (Machine, &'static [String; 2]) {
    let (s3, runtimes, publisher) = &*PUBLISHED;
    let machine = Machine::new(Some(s3.address));
    fs::copy(publisher.work().join("key.pub"), machine.work().join("key.pub")).unwrap();
    (machine, runtimes)
}

fn publish(machine: &Machine) -> [String; 2] {
    let (secret, public) = faasm_bundle::sign::generate().unwrap();
    fs::write(machine.work().join("key"), secret).unwrap();
    fs::write(machine.work().join("key.pub"), public).unwrap();
    let newer = machine.work().join("newer");
    assert!(Command::new("cp").arg("-r").arg(faasm_tests::image()).arg(&newer).status().unwrap().success());
    fs::write(newer.join("root/edition"), "2").unwrap();
    let publish = |image: &Path, version: &str| {
        let command = format!(
            "package --image {} --version {version} --compression 1 --target native --sign key --to s3://bucket/runtimes",
            image.display()
        );
        machine.run(&command).trim().to_owned()
    };
    [publish(faasm_tests::image(), "1.0"), publish(&newer, "2.0")]
}

struct Running {
    server: Served,
    client: Client,
}

impl Running {
    fn on(server: Served) -> Self {
        Self { server, client: client() }
    }

    fn upload(&self, name: &str, source: &'static str) {
        let answer =
            self.client.put(format!("{}/p/python/{name}", self.server.url)).body(source).send().unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().unwrap());
    }

    /// The status of a call, and its output.
    fn call(&self, name: &str) -> (u16, String) {
        let answer = self.client.post(format!("{}/invoke/python/{name}", self.server.url)).send().unwrap();
        (answer.status().as_u16(), answer.text().unwrap())
    }

    fn version(&self) -> String {
        let document: RuntimeDocument =
            json(self.client.get(format!("{}/f", self.server.url)).send().unwrap(), 200);
        document.version.unwrap()
    }
}

fn ok(output: &str) -> (u16, String) {
    (200, output.to_owned())
}

#[test]
fn no_call_fails_while_the_runtime_changes_and_changes_back() {
    let (machine, [old, new]) = machine();
    let running = Running::on(machine.serve(&format!("--runtime {old} --trust key.pub")));
    let url = &running.server.url;
    for name in ["a", "b", "c"] {
        running.upload(name, EDITION);
    }
    running.upload("slow", SLOW);
    assert_eq!((running.version().as_str(), running.call("a")), ("1.0", ok("old")));

    let ended = AtomicBool::new(false);
    let calls = Mutex::new(Vec::new());
    let mut changes = Vec::new();
    thread::scope(|scope| {
        for name in ["a", "b", "c"] {
            let (running, ended, calls) = (&running, &ended, &calls);
            scope.spawn(move || {
                while !ended.load(Ordering::SeqCst) {
                    let began = Instant::now();
                    let answer = running.call(name);
                    calls.lock().unwrap().push((began, Instant::now(), answer));
                }
            });
        }
        let slow = scope.spawn(|| running.call("slow"));
        thread::sleep(std::time::Duration::from_millis(500));
        // A panic would leave the others calling for ever.
        let mut change = |arguments: &str| {
            let began = Instant::now();
            let output = machine.command(&format!("upgrade {arguments} --url {url}")).output().unwrap();
            changes.push((began, Instant::now(), bundle_support::text(&output.stderr)));
            output.status.success()
        };
        let changed = [change(new), change("--rollback"), change(new), change(old)];
        ended.store(true, Ordering::SeqCst);
        assert_eq!(changed, [true; 4], "{changes:?}");
        // It has ended on what it has begun on.
        assert_eq!(slow.join().unwrap(), ok("old"));
    });
    let calls = calls.into_inner().unwrap();
    let mut counts = [0; 9];
    for (began, done, answer) in &calls {
        assert_eq!(answer.0, 200, "{answer:?}");
        // Between two changes it is known which runtime a call is to run on; during one it may be either.
        let before = changes.iter().filter(|it| it.1 < *began).count();
        let during = changes.iter().any(|it| it.0 < *done && it.1 > *began);
        if !during {
            assert_eq!(answer.1, ["old", "new", "old", "new", "old"][before], "after {before} changes");
        }
        counts[2 * before + usize::from(during)] += 1;
    }
    assert!(counts[1] > 0 && counts[0] > 0, "{counts:?}");
    assert_eq!((running.version().as_str(), running.call("a")), ("1.0", ok("old")));
    let said = running.server.kill();
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn a_runtime_on_which_functions_cannot_be_loaded_is_refused() {
    let (machine, [old, new]) = machine();
    let running = Running::on(machine.serve(&format!("--runtime {old} --trust key.pub")));
    let url = &running.server.url;
    running.upload("particular", PARTICULAR);
    running.upload("edition", EDITION);
    // What the import has left would be used, because both runtimes have the same memory.
    fs::remove_dir_all(machine.home().join("images")).unwrap();
    fs::create_dir(machine.home().join("images")).unwrap();

    let said = machine.fails(3, &format!("upgrade {new} --url {url}"));
    assert!(said.contains("1 functions cannot be loaded") && said.contains("python/particular"), "{said}");
    assert!(said.contains("force"), "{said}");
    let said = machine.fails(3, &format!("upgrade --rollback --url {url}"));
    assert!(said.contains("no other runtime before"), "{said}");
    machine.fails(4, &format!("upgrade {new}.not --url {url}"));
    machine.fails(3, &format!("upgrade ftp://x/y --url {url}"));
    // One that is not signed.
    let unsigned =
        format!("package --image {} --version 3.0 --compression 1", faasm_tests::image().display());
    let unsigned = machine.run(&unsigned).trim().to_owned();
    let said = machine.fails(3, &format!("upgrade {unsigned} --url {url}"));
    assert!(said.contains("it is not signed"), "{said}");
    assert_eq!((running.version().as_str(), running.call("edition")), ("1.0", ok("old")));
    assert_eq!(running.call("particular"), ok("old"));

    machine.run(&format!("upgrade {new} --force --url {url}"));
    assert_eq!(running.call("edition"), ok("new"));
    let (status, text) = running.call("particular");
    assert!(status == 500 && text.contains("not here"), "{status} {text}");
    // The store has it as well, for the next start.
    drop(running);
    let running = Running::on(machine.serve(""));
    assert_eq!((running.version().as_str(), running.call("edition")), ("2.0", ok("new")));
}

#[test]
fn servers_that_come_later_run_what_one_was_upgraded_to() {
    let (machine, [old, new]) = machine();
    let storage = "--storage s3://bucket/functions --trust key.pub";
    let first = Running::on(machine.serve(&format!("--runtime {old} {storage}")));
    first.upload("edition", EDITION);
    assert_eq!(first.call("edition"), ok("old"));
    let said = machine.fails(3, &format!("upgrade ./local.tar.zst --url {}", first.server.url));
    assert!(said.contains("all of them can fetch"), "{said}");
    machine.run(&format!("upgrade {new} --url {}", first.server.url));
    assert_eq!(first.call("edition"), ok("new"));

    let (other, _) = self::machine();
    let second = Running::on(other.serve(storage));
    assert_eq!((second.version().as_str(), second.call("edition")), ("2.0", ok("new")));
    machine.run(&format!("upgrade --rollback --url {}", first.server.url));
    assert_eq!((first.call("edition"), second.call("edition")), (ok("old"), ok("new")));
    let objects = PUBLISHED.0.objects();
    assert!(!objects.contains(&"functions/runtime.json".to_owned()), "{objects:?}");
}

#[test]
fn an_upgrade_survives_a_restart_until_something_else_is_named() {
    let (machine, [old, new]) = machine();
    let with = |named: &str| Running::on(machine.serve(&format!("{named} --trust key.pub")));
    let first = format!("--runtime {old}");
    let running = with(&first);
    running.upload("edition", EDITION);
    machine.run(&format!("upgrade {new} --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("new"));
    running.server.kill();

    // What it was upgraded to goes before what it was started with, and it can go back.
    let running = with(&first);
    assert_eq!((running.version().as_str(), running.call("edition")), ("2.0", ok("new")));
    machine.run(&format!("upgrade --rollback --url {}", running.server.url));
    assert_eq!((running.version().as_str(), running.call("edition")), ("1.0", ok("old")));
    running.server.kill();
    let running = with(&first);
    assert_eq!((running.version().as_str(), running.call("edition")), ("1.0", ok("old")));
    machine.run(&format!("upgrade --rollback --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("new"));
    running.server.kill();

    // Another command line is a newer instruction, after which the one before is no longer what was last said.
    let image = format!("--image {}", faasm_tests::image().display());
    let running = with(&image);
    assert_eq!(running.call("edition"), ok("old"));
    machine.run(&format!("upgrade --rollback --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("new"));
    running.server.kill();
    assert_eq!(with(&image).call("edition"), ok("new"), "an image is known by its content");
    assert_eq!(with(&first).call("edition"), ok("old"));
    // Who names nothing gets the store's.
    assert_eq!(with("").call("edition"), ok("old"));
}

#[test]
fn a_server_of_a_storage_runs_after_a_restart_what_any_was_upgraded_to() {
    let (machine, [old, new]) = machine();
    let (other, _) = self::machine();
    let command = |named: &str| format!("{named} --storage s3://bucket/restarts --trust key.pub");
    let first = command(&format!("--runtime {old}"));
    let [a, b] = [&machine, &other].map(|it| Running::on(it.serve(&first)));
    a.upload("edition", EDITION);
    machine.run(&format!("upgrade {new} --url {}", a.server.url));
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("old")));
    drop((a, b));
    let [a, b] = [&machine, &other].map(|it| Running::on(it.serve(&first)));
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("new")));

    machine.run(&format!("upgrade --rollback --url {}", a.server.url));
    drop((a, b));
    let [a, b] = [&machine, &other].map(|it| Running::on(it.serve(&first)));
    assert_eq!((a.call("edition"), b.call("edition")), (ok("old"), ok("old")));

    // Who was started with something else was told something else.
    machine.run(&format!("upgrade {new} --url {}", a.server.url));
    drop((a, b));
    let image = command(&format!("--image {}", faasm_tests::image().display()));
    let a = Running::on(machine.serve(&image));
    assert_eq!(a.call("edition"), ok("old"));
    drop(a);
    assert_eq!(Running::on(machine.serve(&command(""))).call("edition"), ok("new"));
}
