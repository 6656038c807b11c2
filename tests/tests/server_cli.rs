//! `cargo faasm serve`, and the commands that speak to a server.

mod cli_support;
mod server_support;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Mutex;
use std::thread;

use cli_support::Place;
use serde_json::Value;
use server_support::process::serve;
use server_support::{client, eventually};

#[test]
fn commands_show_the_same_for_a_store_and_a_server() {
    let home = tempfile::tempdir().unwrap();
    let server = serve(home.path(), &[]);
    let (local, remote) = (Place::new(), Place::new());
    let image = format!("--image {}", faasm_tests::image().display());
    for place in [&local, &remote] {
        place.file("hello.py", "import sys\ndef faasm_main(data):\n    print('out')\n    print('err', file=sys.stderr)\n    return b'hello ' + data\n");
        place.file("fails.py", "import sys\ndef faasm_main(data):\n    print('before')\n    if data == b'exit': sys.exit(3)\n    return 1 / 0\n");
        place.file("broken.py", "print('seen')\ndef f(:\n");
        place.file("raises.py", "print('seen')\n1 / 0\n");
        place.file("slow.py", "def faasm_main():\n    while True: pass\n");
        place.file("bytes", [0, 255, 10]);
        place.file("two.py", "def faasm_main(): return 'two'\n");
    }
    for (command, uses_image) in [
        ("upload python hello", true),
        ("upload python fails", true),
        ("upload python slow", true),
        ("upload python broken", true),
        ("upload python raises", true),
        ("upload python missing", false),
        ("upload .. hello hello.py", false),
        ("invoke python hello --data you", true),
        ("invoke python hello --file bytes", true),
        ("invoke python fails", true),
        ("invoke python fails --data exit", true),
        ("invoke python slow --timeout 200ms", true),
        ("invoke python missing", false),
        ("rollback python hello", false),
        ("upload python hello two.py", true),
        ("invoke python hello", true),
        ("rollback python hello", true),
        ("invoke python hello --data again", true),
        ("rollback python hello 0000000000000000", false),
        ("rollback python missing", false),
        ("state put python key --data value", false),
        ("state put python bytes --file bytes", false),
        ("state list python", false),
        ("state list nobody", false),
        ("state get python key", false),
        ("state get python bytes", false),
        ("state get python bytes --message-format json", false),
        ("state delete python key", false),
        ("state get python missing", false),
    ] {
        let here = if uses_image { local.faasm(&format!("{command} {image}")) } else { local.faasm(command) };
        let there = remote.faasm(command).env("FAASM_URL", &server.url);
        let (here, there) = (here.assert(), there.assert());
        let (here, there) = (here.get_output(), there.get_output());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert_eq!(text(&here.stdout), text(&there.stdout), "{command}");
        assert_eq!(here.status.code(), there.status.code(), "{command}\n{}", text(&there.stderr));
        // Hints differ where there is something else to do.
        let said = |bytes: &[u8]| text(bytes).split("\nhint: ").next().unwrap().to_owned();
        assert_eq!(said(&here.stderr), said(&there.stderr), "{command}");
    }
    let versions = |place: &Place, url: Option<&str>| {
        let mut list = place.faasm("list --versions --message-format json");
        list = url.iter().fold(list, |list, url| list.env("FAASM_URL", url));
        let list = list.assert().success();
        let lines = String::from_utf8_lossy(&list.get_output().stdout).into_owned();
        let rows = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        rows.map(|row| format!("{} {}", row["function"], row["version"])).collect::<Vec<_>>()
    };
    let here = versions(&local, None);
    assert_eq!(here, versions(&remote, Some(&server.url)));
    assert_eq!(here.iter().filter(|row| row.starts_with("\"hello\"")).count(), 2, "{here:?}");
    // Times and places differ.
    for command in [
        "list",
        "list --versions",
        "list --message-format json",
        "invoke python hello --message-format json --data x",
    ] {
        let there = remote.faasm(command).env("FAASM_URL", &server.url).assert().success();
        assert!(String::from_utf8_lossy(&there.get_output().stdout).contains("hello"), "{command}");
    }
}

#[test]
fn logs_show_what_calls_wrote() {
    let home = tempfile::tempdir().unwrap();
    let server = serve(home.path(), &[]);
    let place = Place::new();
    place.file("f.py", "def faasm_main(data):\n    print('out', data)\n    return 1 // int(data)\n");
    let faasm = |command: &str| place.faasm(command).env("FAASM_URL", &server.url);
    faasm("upload python f").assert().success();
    faasm("invoke python f --data 1").assert().code(1);
    faasm("invoke python f --data 0").assert().failure();
    let logs = faasm("logs python f").assert().success();
    let text = String::from_utf8_lossy(&logs.get_output().stdout).into_owned();
    let (first, second) = text.split_once("python/f exception").expect(&text);
    assert!(first.contains("python/f status 1") && first.contains("    out b'1'"), "{text}");
    assert!(second.contains("    out b'0'") && second.contains("ZeroDivisionError"), "{text}");
    let json = faasm("logs --message-format json --limit 1").assert().success();
    let call: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(call["error"], "exception");
    faasm("flush").assert().success();
    place.faasm("logs").assert().code(3);
    place.faasm("flush --url nowhere").assert().code(3);
    place.faasm("list --url http://127.0.0.1:1").assert().code(5);
    faasm("upload python py_func").assert().code(3);
    faasm("invoke python f --memory 1GiB").assert().code(3);
}

#[test]
fn files_of_a_watched_directory_are_uploaded_when_they_change() {
    let (home, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = directory.path().join("f.py");
    std::fs::write(&file, "def faasm_main(): return 'one'").unwrap();
    let server = serve(home.path(), &["--watch", directory.path().to_str().unwrap()]);
    let client = client();
    let call = |name: &str| {
        client.post(format!("{}/invoke/python/{name}", server.url)).send().unwrap().text().unwrap()
    };
    assert_eq!(call("f"), "one");
    // What does not load leaves what there is.
    std::fs::write(&file, "def faasm_main(:").unwrap();
    std::fs::write(directory.path().join("g.py"), "def faasm_main(): return 'new'").unwrap();
    eventually(|| call("g") == "new");
    assert_eq!(call("f"), "one");
    std::fs::write(&file, "def faasm_main(): return 'three'").unwrap();
    eventually(|| call("f") == "three");
}

#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_server_is_killed() {
    let home = tempfile::tempdir().unwrap();
    let client = client();
    let acknowledged: Mutex<BTreeMap<String, u32>> = Mutex::default();
    for round in 0..3_u32 {
        let server = serve(home.path(), &[]);
        for (path, value) in &*acknowledged.lock().unwrap() {
            let url = format!("{}{path}", server.url);
            let text = client.get(url).send().unwrap().text().unwrap();
            // A request that was not answered may have had its effect, too.
            let found: u32 = text.trim_start_matches("version = ").parse().unwrap();
            assert!(found >= *value, "{path} is {found} and was {value}");
        }
        let url = server.url.clone();
        let enough = acknowledged.lock().unwrap().values().sum::<u32>() + 200;
        thread::scope(|scope| {
            for worker in 0..4 {
                let (url, client, acknowledged) = (&url, &client, &acknowledged);
                scope.spawn(move || {
                    for count in 0_u32.. {
                        let value = round * 1_000_000 + count;
                        let path = match worker % 2 {
                            0 => format!("/s/python/key-{worker}-{}", count % 5),
                            _ => format!("/p/python/f-{worker}-{}", count % 5),
                        };
                        let body =
                            if worker % 2 == 0 { value.to_string() } else { format!("version = {value}") };
                        match client.put(format!("{url}{path}")).body(body).send() {
                            Ok(answer) if answer.status().is_success() => {
                                acknowledged.lock().unwrap().insert(path, value);
                            }
                            Ok(answer) => panic!("{}", answer.text().unwrap()),
                            // It was killed.
                            Err(_) => return,
                        }
                    }
                });
            }
            eventually(|| {
                let known = acknowledged.lock().unwrap();
                known.len() == 20 && known.values().sum::<u32>() > enough
            });
            drop(server);
        });
    }
}

#[test]
fn a_server_that_is_told_to_end_does() {
    let home = tempfile::tempdir().unwrap();
    let mut server = serve(home.path(), &[]);
    // The shell's own `kill` is on every system.
    let kill = format!("kill -TERM {}", server.process.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    assert!(server.process.wait().unwrap().success());
}
