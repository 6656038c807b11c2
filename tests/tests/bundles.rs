//! Bundles from one machine to another: packaged, published, fetched, and run there; and what goes wrong on the way.

mod bundle_support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use bundle_support::{Direction, Machine, S3, Wire, failed, list, text};
use serde_json::Value;

const HELLO: &str = "def faasm_main(data):\n    return b'hello ' + data\n";

/// A machine with a function in its store.
fn publisher(s3: Option<&S3>) -> Machine {
    let machine = Machine::new(s3.map(|it| it.address));
    fs::write(machine.work().join("hello.py"), HELLO).unwrap();
    machine.run(&format!("upload python hello --image {}", faasm_tests::image().display()));
    machine
}

/// The command that packages the image of the tests.
fn package(more: &str) -> String {
    format!("package --image {} --compression 1 --version 1.0 {more}", faasm_tests::image().display())
}

/// A pair of keys in a machine's directory.
fn keys(machine: &Machine) {
    let (secret, public) = faasm_bundle::sign::generate(None).unwrap();
    fs::write(machine.work().join("key"), secret).unwrap();
    fs::write(machine.work().join("key.pub"), public).unwrap();
}

#[test]
fn what_one_machine_publishes_another_one_runs() {
    let s3 = S3::start();
    let one = publisher(Some(&s3));
    keys(&one);
    let published =
        one.run(&package("--include functions --target native --sign key --to s3://bucket/runtimes"));
    let url = published.trim();
    let target = faasm_image::host_target();
    let name = format!("py_func-1.0-{target}.tar.zst");
    assert_eq!(url, format!("s3://bucket/runtimes/{name}"));
    assert_eq!(s3.objects(), [format!("runtimes/{name}"), format!("runtimes/{name}.minisig")]);
    // Once more changes nothing.
    let again = one.run(&package("--include functions --target native --sign key --to s3://bucket/runtimes"));
    assert_eq!(again, published);

    // Signed by a key that is trusted: its machine code is used.
    let two = Machine::new(Some(s3.address));
    fs::copy(one.work().join("key.pub"), two.work().join("key.pub")).unwrap();
    let fetched: Value =
        serde_json::from_str(&two.run(&format!("fetch {url} --trust key.pub --message-format json")))
            .unwrap();
    assert_eq!((&fetched["compiled"], &fetched["was_there"]), (&false.into(), &false.into()), "{fetched}");
    assert_eq!(fetched["functions_added"][0][1], "hello");
    assert_eq!(two.run("invoke python hello --data you"), "hello you");
    let runtime = two.runtimes();
    assert_eq!(runtime.len(), 1, "{runtime:?}");
    let bundle = two.home().join("runtimes").join(&runtime[0]).join("bundle");
    let sbom: Value = serde_json::from_slice(&fs::read(bundle.join("sbom.cdx.json")).unwrap()).unwrap();
    let names: Vec<_> =
        sbom["components"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    for name in ["cpython", "zlib", "bzip2", "liblzma", "sqlite", "wasi-libc"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert!(bundle.join("licenses/cpython/LICENSE").is_file());
    assert!(list(&two.home().join("downloads")).is_empty());

    // A server fetches it as well. It is there, and a function of the same name that somebody has changed since stays.
    fs::write(two.work().join("hello.py"), HELLO.replace("hello ", "good day ")).unwrap();
    two.run("upload python hello");
    let server = two.serve(&format!("--runtime {url} --trust key.pub"));
    assert_eq!(two.run(&format!("invoke python hello --data you --url {}", server.url)), "good day you");
    let said = server.kill();
    assert!(said.contains("python/hello was left as it is") && said.contains("it was there"), "{said}");

    // A plus sign in a name is one in a store of objects, too.
    let plus = package("--target native --sign key --to s3://bucket/runtimes").replace("1.0", "1.0+1");
    let plus = one.run(&plus).trim().to_owned();
    assert!(s3.objects().contains(&format!("runtimes/py_func-1.0+1-{target}.tar.zst")), "{:?}", s3.objects());
    two.run(&format!("fetch {plus} --trust key.pub"));

    // Without a key it is compiled.
    let three = Machine::new(Some(s3.address));
    let fetched: Value =
        serde_json::from_str(&three.run(&format!("fetch {url} --message-format json"))).unwrap();
    assert_eq!(fetched["compiled"], true);
    assert_eq!(three.run("invoke python hello --data you"), "hello you");
}

#[test]
fn numpy_goes_from_one_machine_to_another() {
    let s3 = S3::start();
    let one = Machine::new(Some(s3.address));
    keys(&one);
    let image = faasm_tests::numpy_image().unwrap();
    let image = image.directory().display();
    let package = "--version 1.0 --target native --sign key --to s3://bucket/runtimes --message-format json";
    let said = one.run(&format!("package --image {image} {package}"));
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (written, url) = (&lines[0], lines[1]["url"].as_str().unwrap());
    // With machine code, and as small as it gets.
    let bytes = written["bytes"].as_u64().unwrap();
    assert!(bytes < 25 << 20, "{bytes}");

    let two = Machine::new(Some(s3.address));
    fs::copy(one.work().join("key.pub"), two.work().join("key.pub")).unwrap();
    let server = two.serve(&format!("--runtime {url} --trust key.pub"));
    let solve = "import numpy as np\ndef faasm_main(data):\n    \
                 return repr(np.linalg.solve([[3, 1], [1, 2]], [float(it) for it in data.split(b',')]).round(6).tolist())\n";
    for (name, source, input, output) in
        [("hello", HELLO, "you", "hello you"), ("solve", solve, "9,8", "[2.0, 3.0]")]
    {
        fs::write(two.work().join(format!("{name}.py")), source).unwrap();
        two.run(&format!("upload python {name} --url {}", server.url));
        assert_eq!(two.run(&format!("invoke python {name} --data {input} --url {}", server.url)), output);
    }
    let runtime = &two.runtimes()[0];
    let bundle = two.home().join("runtimes").join(runtime).join("bundle");
    let sbom: Value = serde_json::from_slice(&fs::read(bundle.join("sbom.cdx.json")).unwrap()).unwrap();
    assert!(sbom["components"].as_array().unwrap().iter().any(|it| it["name"] == "numpy"), "{sbom}");
}

#[test]
fn the_same_bundle_comes_from_other_directories() {
    let (one, two) = (publisher(None), publisher(None));
    let image = two.work().join("image");
    assert!(Command::new("cp").arg("-r").arg(faasm_tests::image()).arg(&image).status().unwrap().success());
    let first = one.run(&package("--include functions"));
    let second =
        two.run("package --image image --compression 1 --version 1.0 --include functions --output elsewhere");
    assert_eq!(fs::read(first.trim()).unwrap(), fs::read(second.trim()).unwrap());
    assert!(first.trim().ends_with("/py_func-1.0-wasm32-wasip1.tar.zst"), "{first}");
    assert_ne!(first, second);
}

#[test]
fn a_file_is_trusted_only_when_that_is_said() {
    let machine = publisher(None);
    keys(&machine);
    let path = machine.run(&package("--target native --sign key")).trim().to_owned();
    let other = Machine::new(None);
    keys(&other);
    // What is not signed by the key that is trusted is not used at all.
    let said = other.fails(5, &format!("fetch {path} --trust key.pub"));
    assert!(said.contains("by another key"), "{said}");
    fs::rename(format!("{path}.minisig"), format!("{path}.other")).unwrap();
    let said = other.fails(5, &format!("fetch {path} --trust key.pub"));
    assert!(said.contains("it is not signed"), "{said}");
    assert_eq!(other.runtimes(), [""; 0]);
    // Nor by another name.
    let renamed = path.replace("-1.0-", "-2.0-");
    fs::copy(&path, &renamed).unwrap();
    let said = other.fails(5, &format!("fetch {renamed} --trust-local"));
    assert!(said.contains("by another name"), "{said}");
    other.fails(3, "fetch s3://bucket/x.tar.zst --trust-local");
    other.fails(3, "fetch nothing-there.tar.zst");

    let json = |arguments: &str| -> Value {
        serde_json::from_str(&other.run(&format!("fetch {path} --message-format json {arguments}"))).unwrap()
    };
    let fetched = json("--trust-local");
    assert_eq!((&fetched["compiled"], &fetched["was_there"]), (&false.into(), &false.into()));
    assert_eq!(json("")["was_there"], true);
    fs::write(other.work().join("hello.py"), HELLO).unwrap();
    other.run("upload python hello");
    assert_eq!(other.run("invoke python hello --data you"), "hello you");
}

/// The commands of README.md under "As a bundle", run as they stand there.
#[test]
fn the_examples_do_what_they_say() {
    let s3 = S3::start();
    let machine = Machine::new(Some(s3.address));
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("\n## As a bundle\n").unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let lines: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("$ cargo faasm ")).collect();
    assert_eq!(lines.len(), block.lines().count());
    let mut served = false;
    for line in lines {
        let command = line.split(" # ").next().unwrap().trim();
        let command = command.replace("x86_64-unknown-linux-gnu", &faasm_image::host_target());
        match command.split_whitespace().next().unwrap() {
            "key" => drop(machine.run(&format!("{command} --no-password"))),
            // The image of the tests is the default one, and need not be built.
            "package" => {
                let image = faasm_tests::image().display();
                machine.run(&format!("{command} --image {image} --compression 1"));
            }
            "serve" => {
                let server = machine.serve(command.strip_prefix("serve").unwrap());
                fs::write(machine.work().join("hello.py"), HELLO).unwrap();
                machine.run(&format!("upload python hello --url {}", server.url));
                let answer = machine.run(&format!("invoke python hello --data you --url {}", server.url));
                assert_eq!(answer, "hello you");
                served = true;
            }
            _ => drop(machine.run(&command)),
        }
    }
    assert!(served);
}

#[test]
fn keys_are_made_to_sign_with() {
    use std::os::unix::fs::PermissionsExt as _;

    let machine = Machine::new(None);
    let other = Machine::new(None);
    let said = machine.fails(3, "key release.key");
    assert!(said.contains("hint: set FAASM_SIGN_PASSWORD"), "without a terminal nothing is asked: {said}");
    let output = machine.command("key release.key").env("FAASM_SIGN_PASSWORD", "").output().unwrap();
    assert!(text(&output.stderr).contains("the password is empty"), "{}", text(&output.stderr));
    for (key, password, option) in
        [("protected.key", Some("a secret"), ""), ("plain.key", None, " --no-password")]
    {
        let run = |arguments: &str| {
            let mut command = machine.command(arguments);
            let output = command.envs(password.map(|it| ("FAASM_SIGN_PASSWORD", it))).output().unwrap();
            assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
            text(&output.stdout).trim().to_owned()
        };
        let public = run(&format!("key {key}{option}"));
        let path = run(&package(&format!("--sign {key}")));
        let file = machine.work().join(key);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        // By the file and by the key itself.
        other.run(&format!("fetch {path} --trust {}.pub", file.display()));
        other.run(&format!("fetch {path} --trust {public}"));
        let before = fs::read(&file).unwrap();
        let said = machine.fails(3, &format!("key {key} --no-password"));
        assert!(said.contains("is there already"), "{said}");
        assert_eq!(fs::read(&file).unwrap(), before);
    }
}

#[test]
fn an_older_runtime_comes_back() {
    let machine = publisher(None);
    let first = machine.run(&package("--target native --include functions")).trim().to_owned();
    fs::write(machine.work().join("other.py"), HELLO.replace("hello ", "bye ")).unwrap();
    machine.run(&format!("upload python other --image {}", faasm_tests::image().display()));
    let second = package("--target native --include functions").replace("1.0", "2.0");
    let second = machine.run(&second).trim().to_owned();
    let other = Machine::new(None);
    let fetch = |path: &str| -> Value {
        let fetched = other.run(&format!("fetch {path} --trust-local --message-format json"));
        serde_json::from_str(&fetched).unwrap()
    };
    let fetched = [&first, &second, &first, &second].map(|path| fetch(path));
    assert_eq!(fetched.each_ref().map(|it| it["was_there"] == true), [false, false, true, true]);
    assert_eq!(fetched.each_ref().map(|it| it["functions_added"].as_array().unwrap().len()), [1, 1, 0, 0]);
    assert_eq!(fetched[0]["image"], fetched[2]["image"]);
    assert_ne!(fetched[0]["image"], fetched[1]["image"]);
    assert_eq!(fetched[0]["identity"], fetched[1]["identity"]);
    assert_eq!(other.runtimes().len(), 2);
    assert_eq!(other.run("invoke python other --data you"), "bye you");
}

#[test]
fn an_upload_that_is_cut_off_goes_on() {
    let s3 = S3::start();
    let wire = Wire::to(s3.address, Direction::Up);
    let machine = Machine::new(Some(wire.address));
    let command = package("--target native --to s3://bucket/runtimes");
    let local = machine.run(&package("--target native")).trim().to_owned();
    let len = fs::metadata(&local).unwrap().len();
    assert!(len > 8 << 20, "the bundle has more than one part: {len}");
    for at in [0, 100, 1000, len / 4, len / 2, len - 1000, len, len + 1000] {
        wire.cut_after(at);
        let output = machine.command(&command).output().unwrap();
        if output.status.success() {
            // It had enough.
            break;
        }
        let said = failed(&output, 5, &command);
        assert!(said.contains("hint: "), "{said}");
        assert!(!s3.objects().iter().any(|it| it.ends_with(".tar.zst")), "{:?}", s3.objects());
    }
    wire.mend();
    machine.run(&command);
    let name = format!("runtimes/py_func-1.0-{}.tar.zst", faasm_image::host_target());
    assert_eq!(s3.objects(), std::slice::from_ref(&name));
    assert_eq!(fs::read(s3.object(&name)).unwrap(), fs::read(&local).unwrap());
    assert_eq!(list(&machine.work()), [name.trim_start_matches("runtimes/")]);
    // All attempts together have sent little more than one would: what the store had was not sent again.
    assert!(wire.passed() < len * 3, "{} of {len}", wire.passed());
}

#[test]
fn a_download_that_is_cut_off_goes_on() {
    let s3 = S3::start();
    let publisher = publisher(Some(&s3));
    let url = publisher.run(&package("--target native --to s3://bucket/runtimes")).trim().to_owned();
    let len = fs::metadata(s3.object(url.trim_start_matches("s3://bucket/"))).unwrap().len();
    let wire = Wire::to(s3.address, Direction::Down);
    let machine = Machine::new(Some(wire.address));
    for at in [0, 300, 2000, len / 4, len / 4, len / 4] {
        wire.cut_after(at);
        let said = machine.fails(5, &format!("fetch {url}"));
        assert!(said.contains("hint: "), "{said}");
        assert_eq!(machine.runtimes(), [""; 0]);
    }
    wire.mend();
    machine.run(&format!("fetch {url}"));
    assert_eq!(machine.runtimes().len(), 1);
    assert!(list(&machine.home().join("downloads")).is_empty());
    assert!(wire.passed() < len + len / 4, "{} of {len}", wire.passed());
}

#[test]
fn what_a_store_refuses_is_said() {
    let s3 = S3::start();
    let machine = publisher(Some(&s3));
    let publish = package("--to s3://bucket/runtimes");
    let url = machine.run(&publish).trim().to_owned();
    let with = |name: &str, value: &str, arguments: &str| {
        let output = machine.command(arguments).env(name, value).output().unwrap();
        failed(&output, 5, arguments)
    };
    for (name, value) in [("AWS_SECRET_ACCESS_KEY", "wrong"), ("AWS_ACCESS_KEY_ID", "nobody")] {
        for arguments in [&format!("fetch {url}"), &publish] {
            let said = with(name, value, arguments);
            assert!(said.contains("hint: credentials") && !said.contains("not a secret"), "{said}");
        }
    }
    let said = machine.fails(5, &package("--to s3://elsewhere/runtimes"));
    assert!(said.contains("hint: create the bucket"), "{said}");
    let said = machine.fails(5, "fetch s3://elsewhere/runtimes/x.tar.zst");
    assert!(said.contains("hint: create the bucket"), "{said}");
    let said = machine.fails(5, "fetch s3://bucket/runtimes/x.tar.zst");
    assert!(said.contains("hint: check the bucket"), "{said}");
    let said = with("AWS_ENDPOINT_URL", "http://127.0.0.1:1", &format!("fetch {url}"));
    assert!(said.contains("hint: check the endpoint"), "{said}");
    s3.skew(true);
    for arguments in [&format!("fetch {url}"), &publish] {
        let said = machine.fails(5, arguments);
        assert!(
            said.contains("RequestTimeTooSkewed") && said.contains("hint: the clock of this machine"),
            "{said}"
        );
    }
    s3.skew(false);
    // Credentials from a profile.
    let config = machine.work().join("credentials");
    fs::write(&config, "[one]\naws_access_key_id = tester\naws_secret_access_key = not a secret\n").unwrap();
    let profile = |name: &str| {
        let mut command = machine.command(&format!("fetch {url}"));
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        command.env("AWS_PROFILE", name).env("AWS_SHARED_CREDENTIALS_FILE", &config).output().unwrap()
    };
    let output = profile("one");
    assert!(output.status.success(), "{}", text(&output.stderr));
    failed(&profile("two"), 3, "a profile that is not there");

    // Another bundle does not take the place of one that was published.
    let object = url.trim_start_matches("s3://bucket/");
    let before = fs::read(s3.object(object)).unwrap();
    let said = machine.fails(3, &package("--include functions --to s3://bucket/runtimes"));
    assert!(said.contains("hint: give it another version"), "{said}");
    assert_eq!(fs::read(s3.object(object)).unwrap(), before);
    machine.run(&package("--include functions --to s3://bucket/runtimes --overwrite"));
    assert_ne!(fs::read(s3.object(object)).unwrap(), before);

    // A damaged one is not used, and is fetched anew afterwards.
    let good = fs::read(s3.object(object)).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(s3.object(object), &bad).unwrap();
    let other = Machine::new(Some(s3.address));
    other.fails(5, &format!("fetch {url}"));
    assert_eq!(other.runtimes(), [""; 0]);
    fs::write(s3.object(object), &good).unwrap();
    other.run(&format!("fetch {url}"));
}

#[test]
fn of_two_publishers_one_wins() {
    let s3 = S3::start();
    let machines = [publisher(Some(&s3)), publisher(Some(&s3)), publisher(Some(&s3))];
    // The first two have the same, the third something else.
    fs::write(machines[2].work().join("hello.py"), HELLO.replace("hello ", "bye ")).unwrap();
    machines[2].run(&format!("upload python hello --image {}", faasm_tests::image().display()));
    let command = package("--include functions --to s3://bucket/runtimes");
    let outputs: Vec<_> = thread::scope(|scope| {
        let publish = |machine: &'_ Machine| machine.command(&command).output().unwrap();
        let running: Vec<_> = machines.iter().map(|it| scope.spawn(move || publish(it))).collect();
        running.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let won: Vec<bool> = outputs.iter().map(|it| it.status.success()).collect();
    assert!(won == [true, true, false] || won == [false, false, true], "{won:?}");
    let name = "py_func-1.0-wasm32-wasip1.tar.zst";
    let there = fs::read(s3.object(&format!("runtimes/{name}"))).unwrap();
    for ((machine, output), won) in machines.iter().zip(&outputs).zip(&won) {
        assert_eq!(fs::read(machine.work().join(name)).unwrap() == there, *won);
        if !won {
            assert!(failed(output, 3, "publishing").contains("another bundle was published"));
        }
    }
}

#[test]
fn being_killed_leaves_nothing_behind_that_counts() {
    let machine = publisher(None);
    let path = machine.run(&package("--include functions")).trim().to_owned();
    let other = Machine::new(None);
    let fetch = format!("fetch {path}");
    for milliseconds in [0, 50, 200, 500, 1000, 2000] {
        let mut running = other.command(&fetch).stderr(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(milliseconds));
        // As `kill -9` does.
        running.kill().unwrap();
        running.wait().unwrap();
        if other.home().join("runtime.json").exists() {
            break;
        }
        assert!(list(&other.home().join("runtimes")).is_empty());
    }
    other.run(&fetch);
    assert_eq!(other.runtimes().len(), 1, "what was left is gone");
    assert_eq!(other.run("invoke python hello --data you"), "hello you");
}

/// Kills a command when so many bytes have passed, as `kill -9` does. Answers whether it was there to be killed.
fn killed_after(wire: &Wire, bytes: u64, mut command: Command) -> bool {
    let before = wire.passed();
    let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while running.try_wait().unwrap().is_none() && wire.passed() - before < bytes {
        thread::sleep(Duration::from_millis(1));
    }
    let was_running = running.try_wait().unwrap().is_none();
    // It may have ended since.
    let _ = running.kill();
    running.wait().unwrap();
    was_running
}

#[test]
fn being_killed_in_a_transfer_leaves_it_to_be_gone_on_with() {
    let s3 = S3::start();
    let wire = Wire::to(s3.address, Direction::Up);
    let machine = Machine::new(Some(wire.address));
    let command = package("--target native --to s3://bucket/runtimes");
    let local = machine.run(&package("--target native")).trim().to_owned();
    let len = fs::metadata(&local).unwrap().len();
    let mut killed = 0;
    for at in [1, 1000, len / 3, len / 3, len / 3] {
        killed += u32::from(killed_after(&wire, at, machine.command(&command)));
        // What is there by its name is whole.
        let object = s3.object(&format!("runtimes/py_func-1.0-{}.tar.zst", faasm_image::host_target()));
        assert!(!object.exists() || fs::read(&object).unwrap() == fs::read(&local).unwrap());
    }
    assert!(killed > 0);
    let url = machine.run(&command).trim().to_owned();
    assert_eq!(s3.objects().len(), 1, "{:?}", s3.objects());

    let wire = Wire::to(s3.address, Direction::Down);
    let other = Machine::new(Some(wire.address));
    let mut killed = 0;
    for at in [1, 1000, len / 3, len / 3, len / 3] {
        killed += u32::from(killed_after(&wire, at, other.command(&format!("fetch {url}"))));
        if other.home().join("runtime.json").exists() {
            break;
        }
        assert!(list(&other.home().join("runtimes")).is_empty());
    }
    assert!(killed > 0);
    other.run(&format!("fetch {url}"));
    assert_eq!(other.runtimes().len(), 1, "what was left is gone");
    assert!(list(&other.home().join("downloads")).is_empty());
}

/// Needs a file system of its own, which only who may mount one can have.
#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_survived() {
    let machine = publisher(None);
    let path = machine.run(&package("")).trim().to_owned();
    let other = Machine::new(None);
    let fetch = |size: &str| {
        let command = other.command(&format!("fetch {path}"));
        let script = "mount -t tmpfs -o size=\"$1\" tmpfs \"$2\" || exit 77; shift 2; \"$@\"; code=$?; ls -A \"$FAASM_HOME/runtimes\" \
                      \"$FAASM_HOME/installing\" 2>/dev/null; exit $code";
        let mut outer = Command::new("unshare");
        outer.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", size]);
        outer.arg(other.home()).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => outer.env(name, value),
                None => outer.env_remove(name),
            };
        }
        outer.output()
    };
    let Ok(output) = fetch("20m") else {
        eprintln!("skipped: there is no `unshare`");
        return;
    };
    if output.status.code() == Some(77) || text(&output.stderr).starts_with("unshare: ") {
        eprintln!("skipped: {}", text(&output.stderr));
        return;
    }
    let said = failed(&output, 5, "fetching");
    assert!(said.contains("the disk that holds") && said.contains("is full"), "{said}");
    assert!(!text(&output.stdout).contains(".new-"), "{}", text(&output.stdout));
    let output = fetch("200m").unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// A file of an archive, which must be there.
fn member(archive: &[u8], name: &str) -> Vec<u8> {
    use std::io::Read as _;

    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.path().unwrap().to_str() == Some(name) {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            return content;
        }
    }
    panic!("there is no {name}");
}

fn sha256(content: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_container_image_is_one_and_runs() {
    let machine = publisher(None);
    let server = env!("CARGO_BIN_EXE_py_func-under-test");
    // Its own machine code, so that this test need not compile any.
    let command = package(&format!("--oci --include functions --target native --server {server}"));
    let path = machine.run(&command).trim().to_owned();
    let archive = fs::read(&path).unwrap();
    machine.run(&format!("{command} --output elsewhere"));
    let other = fs::read(machine.work().join("elsewhere").join(path.rsplit('/').next().unwrap())).unwrap();
    assert_eq!(sha256(&archive), sha256(&other), "the same files make the same image");

    // What the specification asks for.
    let layout: Value = serde_json::from_slice(&member(&archive, "oci-layout")).unwrap();
    assert_eq!(layout["imageLayoutVersion"], "1.0.0");
    let blob = |descriptor: &Value, media_type: &str| {
        assert_eq!(descriptor["mediaType"], media_type);
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let content = member(&archive, &format!("blobs/sha256/{digest}"));
        assert_eq!(
            (sha256(&content), content.len() as u64),
            (digest.to_owned(), descriptor["size"].as_u64().unwrap())
        );
        content
    };
    let index: Value = serde_json::from_slice(&member(&archive, "index.json")).unwrap();
    assert_eq!(index["schemaVersion"], 2);
    let manifest = blob(&index["manifests"][0], "application/vnd.oci.image.manifest.v1+json");
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let config = blob(&manifest["config"], "application/vnd.oci.image.config.v1+json");
    let config: Value = serde_json::from_slice(&config).unwrap();
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["rootfs"]["type"], "layers");
    let diffs = config["rootfs"]["diff_ids"].as_array().unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let comments: Vec<_> = config["history"].as_array().unwrap().iter().map(|it| &it["comment"]).collect();
    assert_eq!(comments, ["operating system", "server", "runtime", "functions"]);
    assert_eq!(layers.len(), diffs.len());

    // Its layers make a root in which the server runs, as the user and with the environment that the configuration says.
    let root = machine.work().join("root");
    for (layer, diff) in layers.iter().zip(diffs) {
        let content = blob(layer, "application/vnd.oci.image.layer.v1.tar+gzip");
        let mut plain = Vec::new();
        std::io::copy(&mut flate2::read::GzDecoder::new(content.as_slice()), &mut plain).unwrap();
        assert_eq!(format!("sha256:{}", sha256(&plain)), diff.as_str().unwrap());
        let mut layer = tar::Archive::new(plain.as_slice());
        layer.set_preserve_permissions(true);
        layer.unpack(&root).unwrap();
    }
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let program = &words(&config["config"]["Entrypoint"])[0];
    let environment = words(&config["config"]["Env"]);
    let home = environment.iter().find_map(|it| it.strip_prefix("FAASM_HOME=")).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // A name space gives this test what a container engine would: the root, and what the system has in it.
    let script = "mount --rbind /proc \"$1/proc\" && mount -t tmpfs tmpfs \"$1$2\" || exit 77; root=$1; shift 2; exec chroot \"$root\" \"$@\"";
    let run = |arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&root).arg(home);
        command.arg(program).args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(environment.iter().filter_map(|it| it.split_once('=')));
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("FAASM_LISTEN", format!("0.0.0.0:{port}"));
        command
    };
    let refused = run(&[]).output().unwrap();
    let said = text(&refused.stderr);
    if refused.status.code() == Some(77) || said.starts_with("unshare: ") {
        eprintln!("skipped: {said}");
        return;
    }
    assert!(said.contains("hint: "), "without tokens it is not exposed: {said}");
    let mut serving = run(&["--insecure-no-auth"]).spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let mut healthy = false;
    for _ in 0..200 {
        healthy = run(&["health"]).output().unwrap().status.success();
        if healthy || serving.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    if healthy {
        let at = format!("--url {url}");
        let invoke = |name: &str| machine.run(&format!("invoke python {name} --data you {at}"));
        assert_eq!(invoke("hello"), "hello you", "the function of the image");
        // What is uploaded goes before it, and can be removed; what is in the image cannot.
        fs::write(machine.work().join("hello.py"), HELLO.replace("hello ", "bye ")).unwrap();
        machine.run(&format!("upload python hello {at}"));
        machine.run(&format!("upload python other hello.py {at}"));
        assert_eq!((invoke("hello"), invoke("other")), ("bye you".to_owned(), "bye you".to_owned()));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::blocking::Client::builder().no_proxy().build().unwrap();
        let remove = || client.delete(format!("{url}/p/python/hello")).send().unwrap().status().as_u16();
        assert_eq!((remove(), remove()), (204, 409));
        assert_eq!(invoke("hello"), "hello you");
    }
    serving.kill().unwrap();
    let said = text(&serving.wait_with_output().unwrap().stderr);
    assert!(healthy, "{said}");
    assert!(!run(&["health"]).output().unwrap().status.success());
}
