//! Another runtime in the place of the one that a server runs, while it is called.

mod bundle_support;
mod server_support;

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Instant;

use bundle_support::{Direction, Machine, S3, Served, Wire, list};
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
    let (secret, public) = faasm_bundle::sign::generate(None).unwrap();
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
    let (third, _) = self::machine();
    let third = Running::on(third.serve(storage));
    assert_eq!((third.version().as_str(), third.call("edition")), ("1.0", ok("old")));
}

#[test]
fn any_server_of_a_storage_can_go_back() {
    let (machine, [old, new]) = machine();
    let storage = "--storage s3://bucket/back --trust key.pub";
    let named = format!("--runtime {old} {storage}");
    let a = Running::on(machine.serve(&named));
    a.upload("edition", EDITION);
    let rollback = |server: &Running| machine.run(&format!("upgrade --rollback --url {}", server.server.url));
    let refused = |server: &Running| {
        let said = machine.fails(3, &format!("upgrade --rollback --url {}", server.server.url));
        assert!(said.contains("no other runtime was run before"), "{said}");
    };
    refused(&a);
    machine.run(&format!("upgrade {new} --url {}", a.server.url));

    // One that came after the upgrade, and one that was there before and has not changed.
    let (other, _) = self::machine();
    let b = Running::on(other.serve(storage));
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("new")));
    rollback(&b);
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("old")));
    drop(a);
    let a = Running::on(machine.serve(&named));
    assert_eq!(a.call("edition"), ok("old"));
    // Back again, on the one and the other, and what each was started with does not get in the way.
    rollback(&a);
    drop((a, b));
    let [a, b] = [machine.serve(&named), other.serve(storage)].map(Running::on);
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("new")));
    rollback(&b);
    // The other one follows, and what new servers run stays.
    assert_eq!((a.call("edition"), b.call("edition")), (ok("new"), ok("old")));
    rollback(&a);
    assert_eq!(a.call("edition"), ok("old"));
    drop((a, b));
    assert_eq!(Running::on(machine.serve(&named)).call("edition"), ok("old"));

    // What others cannot fetch only the one that has it can go back to.
    let image = format!(
        "--image {} --storage s3://bucket/back-to-an-image --trust key.pub",
        faasm_tests::image().display()
    );
    let a = Running::on(machine.serve(&image));
    a.upload("edition", EDITION);
    machine.run(&format!("upgrade {new} --url {}", a.server.url));
    let (fresh, _) = self::machine();
    let b = Running::on(fresh.serve("--storage s3://bucket/back-to-an-image --trust key.pub"));
    assert_eq!(b.call("edition"), ok("new"));
    refused(&b);
    rollback(&a);
    assert_eq!(a.call("edition"), ok("old"));
}

#[test]
fn a_server_starts_when_what_it_was_upgraded_to_cannot_be_run_any_more() {
    let (machine, [old, new]) = machine();
    let first = format!("--runtime {old} --trust key.pub");
    let running = Running::on(machine.serve(&first));
    running.upload("edition", EDITION);
    machine.run(&format!("upgrade {new} --url {}", running.server.url));
    running.server.kill();
    let runtimes = machine.home().join("runtimes");
    let newer = machine.runtimes().into_iter().find(|it| runtimes.join(it).join("root/edition").exists());
    let (newer, aside) = (runtimes.join(newer.unwrap()), machine.work().join("aside"));
    let warned = |said: &str| said.contains("cannot be run, and another runtime takes its place");

    // As if this program were of a version that cannot run it, and as if somebody had removed it.
    let manifest = fs::read_to_string(newer.join("manifest.json")).unwrap();
    let engine = faasm_image::ENGINE_VERSION;
    let damages: [&dyn Fn(); 2] =
        [&|| fs::write(newer.join("manifest.json"), manifest.replace(engine, "1.2.3")).unwrap(), &|| {
            fs::rename(&newer, &aside).unwrap();
        }];
    for damage in damages {
        damage();
        let running = Running::on(machine.serve(&first));
        assert_eq!(running.call("edition"), ok("old"));
        let said = running.server.kill();
        assert!(warned(&said), "{said}");
    }
    // When it can be run again, it is; what was to be run is not forgotten by having been tried.
    fs::rename(&aside, &newer).unwrap();
    fs::write(newer.join("manifest.json"), &manifest).unwrap();
    let running = Running::on(machine.serve(&first));
    assert_eq!(running.call("edition"), ok("new"));
    running.server.kill();

    // Going back makes what took its place the one to run.
    fs::rename(&newer, &aside).unwrap();
    let running = Running::on(machine.serve(&first));
    machine.run(&format!("upgrade --rollback --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("old"));
    assert!(warned(&running.server.kill()));
    fs::rename(&aside, &newer).unwrap();
    let running = Running::on(machine.serve(&first));
    assert_eq!(running.call("edition"), ok("old"));
    assert!(!warned(&running.server.kill()));
}

#[test]
fn a_server_starts_when_what_others_were_upgraded_to_cannot_be_fetched_any_more() {
    let (machine, [old, new]) = machine();
    let storage = "--storage s3://bucket/gone --trust key.pub";
    let first = format!("--runtime {old} {storage}");
    let running = Running::on(machine.serve(&first));
    running.upload("edition", EDITION);
    let (s3, ..) = &*PUBLISHED;
    let bucket = |url: &str| s3.object(url.strip_prefix("s3://bucket/").unwrap());
    let copy = new.replace("runtimes/", "removed/");
    fs::create_dir(s3.object("removed")).unwrap();
    for end in ["", ".minisig"] {
        fs::copy(bucket(&format!("{new}{end}")), bucket(&format!("{copy}{end}"))).unwrap();
    }
    machine.run(&format!("upgrade {copy} --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("new"));
    drop(running);
    fs::remove_dir_all(s3.object("removed")).unwrap();
    let running = Running::on(machine.serve(&first));
    assert_eq!(running.call("edition"), ok("old"));
    let said = running.server.kill();
    assert!(said.contains("removed/") && said.contains("another runtime takes its place"), "{said}");
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

/// The moment in which so many bytes have passed since somebody first waited for it.
fn after(wire: &Wire, bytes: u64) -> Box<dyn Fn() -> bool + '_> {
    let begun = Cell::new(None);
    Box::new(move || {
        let passed = wire.passed();
        let before = begun.get().unwrap_or(passed);
        begun.set(Some(before));
        passed - before >= bytes
    })
}

/// Moments in which to kill a server that gets another runtime, when nothing is left in the way of getting it.
fn moments(machine: &Machine) -> [Box<dyn Fn() -> bool>; 3] {
    let home = machine.home();
    let [installing, runtimes, upgraded] =
        ["installing", "runtimes", "upgraded.json"].map(|name| home.join(name));
    let before = list(&runtimes).len();
    [
        Box::new(move || list(&installing).iter().any(|it| it.starts_with(".new-"))),
        Box::new(move || list(&runtimes).len() > before),
        Box::new(move || upgraded.exists()),
    ]
}

#[test]
fn a_server_that_is_killed_in_an_upgrade_starts_again_and_completes_it() {
    let (s3, [old, new], publisher) = &*PUBLISHED;
    let wire = Wire::to(s3.address, Direction::Down);
    let machine = Machine::new(Some(wire.address));
    fs::copy(publisher.work().join("key.pub"), machine.work().join("key.pub")).unwrap();
    let first = format!("--runtime {old} --trust key.pub");
    let start = || Running::on(machine.serve(&first));
    let mut running = start();
    running.upload("edition", EDITION);

    let len = fs::metadata(s3.object(new.strip_prefix("s3://bucket/").unwrap())).unwrap().len();
    // What was transferred is not transferred again.
    let parts = [1, 1000, len / 3, len / 3];
    let in_transfer = parts.map(|part| after(&wire, part));
    let mut killed = 0;
    for moment in in_transfer.into_iter().chain(moments(&machine)) {
        let mut upgrade = machine.command(&format!("upgrade {new} --url {}", running.server.url));
        let upgrade = upgrade.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let upgrade = Mutex::new(upgrade);
        let ended = || upgrade.lock().unwrap().try_wait().unwrap().is_some();
        let came = running.server.kill_when(moment, ended);
        let was_done = upgrade.into_inner().unwrap().wait().unwrap().success();
        killed += u32::from(came && !was_done);
        // All of one runtime, or all of the other.
        running = start();
        let version = running.version();
        assert_eq!(running.call("edition"), ok(if version == "1.0" { "old" } else { "new" }));
        assert!(!was_done || version == "2.0");
        if version == "2.0" {
            break;
        }
    }
    assert!(killed > 0, "it was always too late");
    machine.run(&format!("upgrade {new} --url {}", running.server.url));
    assert_eq!((running.version().as_str(), running.call("edition")), ("2.0", ok("new")));
    assert_eq!(machine.runtimes().len(), 2, "what was left is gone: {:?}", machine.runtimes());
    assert!(list(&machine.home().join("downloads")).is_empty());
    machine.run(&format!("upgrade --rollback --url {}", running.server.url));
    assert_eq!(running.call("edition"), ok("old"));
}

#[test]
fn a_server_that_is_killed_while_a_runtime_is_sent_starts_again_and_takes_it() {
    let (machine, _) = machine();
    let first = format!("--image {}", faasm_tests::image().display());
    let start = || Running::on(machine.serve(&first));
    let wasm = fs::read(faasm_tests::image().join("py_func.wasm")).unwrap();
    let send = |client: &Client, url: &str| {
        client.put(format!("{url}/f/python/py_func")).body(wasm.clone()).send().map(|it| it.status().as_u16())
    };
    let mut running = start();
    running.upload("edition", EDITION);
    let mut killed = 0;
    for moment in moments(&machine) {
        let (url, client) = (running.server.url.clone(), running.client.clone());
        thread::scope(|scope| {
            let sending = scope.spawn(|| send(&client, &url));
            killed += u32::from(running.server.kill_when(moment, || sending.is_finished()));
        });
        running = start();
        assert_eq!(running.call("edition"), ok("old"));
    }
    assert!(killed > 0, "it was always too late");
    assert_eq!(send(&running.client, &running.server.url).unwrap(), 200);
    let upgraded = fs::read_to_string(machine.home().join("upgraded.json")).unwrap();
    assert!(machine.runtimes().iter().any(|name| upgraded.contains(name)), "{upgraded}");
    assert_eq!(running.call("edition"), ok("old"));
    // The one that it runs, and the one that it goes back to if one of the others was taken before the server was killed.
    assert!(machine.runtimes().len() <= 2, "what was left is gone: {:?}", machine.runtimes());
}
