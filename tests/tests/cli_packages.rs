//! The commands about Python packages and recipes. All but the last two are offline, so that only recipes are looked at.

mod cli_support;

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use cli_support::Place;
use sha2::{Digest as _, Sha256};
use snapbox::cmd::OutputAssert;

fn stdout(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// A package with recipes for `frame`, which needs `num`, and for `yam`, which is built with `libyam`.
fn package() -> Place {
    let place = Place::new();
    place.file(
        "Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\npy_func = \"0.1\"\n\n\
         [package.metadata.faasm]\nrecipe-dirs = [\"recipes\"] # ours\n",
    );
    fs::create_dir(place.path().join("src")).unwrap();
    place.file("src/lib.rs", "");
    for (name, text) in [
        ("num", "package: {name: num, version: '2.5'}\n"),
        ("frame", "package: {name: frame, version: '3.1'}\nrequirements: {run: [num>=2.3]}\n"),
        ("yam", "package: {name: yam, version: '6.0'}\nrequirements: {host: [libyam]}\n"),
        ("libyam", "package: {name: libyam, version: '0.2'}\nbuild: {type: static_library, script: make}\n"),
    ] {
        fs::create_dir_all(place.path().join("recipes").join(name)).unwrap();
        place.file(&format!("recipes/{name}/meta.yaml"), text);
    }
    place
}

#[test]
fn packages_are_added_shown_and_removed() {
    let place = package();
    let manifest = || fs::read_to_string(place.path().join("Cargo.toml")).unwrap();
    let added = place.faasm("add --offline Frame>=3 yam").assert().success();
    for line in ["Adding frame 3.1 (recipe)", "Adding libyam 0.2 (C library)", "Adding num 2.5 (recipe)"] {
        assert!(stderr(&added).contains(line), "{}", stderr(&added));
    }
    assert!(
        manifest().ends_with("recipe-dirs = [\"recipes\"] # ours\npackages = [\"frame>=3\", \"yam\"]\n"),
        "{}",
        manifest()
    );

    let tree = place.faasm("tree --offline --locked").assert().success();
    assert_eq!(stdout(&tree), "frame 3.1\n└── num 2.5\nyam 6.0\n└── libyam 0.2\n");
    let json = stdout(&place.faasm("tree --offline --message-format json").assert().success());
    let names: Vec<String> = json
        .lines()
        .map(|it| serde_json::from_str::<serde_json::Value>(it).unwrap()["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["frame", "libyam", "num", "yam"]);

    let removed = place.faasm("remove --offline frame").assert().success();
    assert!(stderr(&removed).contains("Removing num 2.5"), "{}", stderr(&removed));
    let lock = fs::read_to_string(place.path().join("faasm.lock")).unwrap();
    assert!(lock.contains("libyam") && !lock.contains("frame"), "{lock}");

    // What a recipe says has changed, so the lock file has to.
    place.file("recipes/yam/meta.yaml", "package: {name: yam, version: '6.1'}\n");
    let stale = place.faasm("tree --offline --locked").assert().code(3);
    assert!(
        stderr(&stale).contains("recipes have changed") && stderr(&stale).contains("hint: "),
        "{}",
        stderr(&stale)
    );
    let updated = place.faasm("update --offline").assert().success();
    assert!(stderr(&updated).contains("Updating yam 6.0 → 6.1"), "{}", stderr(&updated));
}

#[test]
fn commands_at_the_same_time_lose_nothing() {
    let place = package();
    std::thread::scope(|scope| {
        for name in ["frame", "yam"] {
            let add = place.faasm(&format!("add --offline {name}"));
            scope.spawn(move || add.assert().success());
        }
    });
    let manifest = fs::read_to_string(place.path().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("packages = [\"frame\", \"yam\"]"), "{manifest}");
    let tree = place.faasm("tree --offline --locked").assert().success();
    assert_eq!(stdout(&tree), "frame 3.1\n└── num 2.5\nyam 6.0\n└── libyam 0.2\n");
}

/// What was changed meanwhile is what it then reads.
#[test]
fn tree_waits_for_other_commands() {
    let place = package();
    let other = File::open(place.path()).unwrap();
    other.lock().unwrap();
    let mut tree = Command::new(env!("CARGO_BIN_EXE_cargo-faasm-under-test"))
        .args(["faasm", "tree", "--offline"])
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tree.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.next().unwrap();
    assert!(first.contains("Waiting for another command"), "{first}");
    let manifest = fs::read_to_string(place.path().join("Cargo.toml")).unwrap();
    place.file("Cargo.toml", manifest + "packages = ['frame']\n");
    drop(other);
    assert!(lines.any(|it| it.contains("Adding frame 3.1")));
    let output = tree.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "frame 3.1\n└── num 2.5\n");
}

#[test]
fn requirements_of_files_are_followed() {
    let place = package();
    place.file("requirements.txt", "num>=2 # comment\n");
    place.faasm("add --offline -r requirements.txt").assert().success();
    assert_eq!(stdout(&place.faasm("tree --offline").assert().success()), "num 2.5\n");
    place.file("requirements.txt", "yam\n");
    assert_eq!(stdout(&place.faasm("tree --offline").assert().success()), "yam 6.0\n└── libyam 0.2\n");
}

#[test]
fn what_does_not_fit_changes_nothing() {
    let place = package();
    let before = fs::read(place.path().join("Cargo.toml")).unwrap();
    for (arguments, code, part) in [
        ("add num<2", 3, "of num there is only 2.5"),
        ("add frame num<2.2", 3, "num"),
        ("add no-such-package", 5, "network is not to be used"),
        ("add a[b", 3, "failed to use the requirement"),
        ("remove num", 3, "`num` is not in Cargo.toml"),
        ("update num", 3, "`num` is not in faasm.lock"),
        ("add", 2, "required"),
    ] {
        let assert = place.faasm(&format!("{arguments} --offline")).assert().code(code);
        assert!(stderr(&assert).contains(part), "{arguments}: {}", stderr(&assert));
        assert_eq!(fs::read(place.path().join("Cargo.toml")).unwrap(), before, "{arguments}");
        assert!(!place.path().join("faasm.lock").exists(), "{arguments}");
    }
}

#[test]
fn recipes_are_checked() {
    let place = package();
    let bad = "package:\n  name: bad\n  version: x\nsource:\n  url: https://example.org/a.tar.gz\nrequirements:\n  host: [libyan]\n";
    fs::create_dir(place.path().join("recipes/bad")).unwrap();
    place.file("recipes/bad/meta.yaml", bad);
    let findings = stdout(&place.faasm("recipe check recipes/bad --offline").assert().code(3));
    for part in ["recipes/bad/meta.yaml:3:3: package/version", "`sha256` is missing", "is `libyam` meant?"] {
        assert!(findings.contains(part), "{findings}");
    }
    place.file("recipes/bad/meta.yaml", bad.replace("version:", "versoin:"));
    let unread = place.faasm("recipe check recipes/bad --offline").assert().code(3);
    assert!(
        stderr(&unread).contains("line 3, column 3") && stderr(&unread).contains("did you mean `version`?"),
        "{}",
        stderr(&unread)
    );
    place.file(
        "recipes/bad/meta.yaml",
        "package: {name: bad, version: '1'}\nsource: {path: ., patches: [patches/fix.patch]}\n",
    );
    let missing = place.faasm("add num --offline").assert().code(3);
    for part in ["recipes/bad/meta.yaml", "`patches/fix.patch`, which is not there"] {
        assert!(stderr(&missing).contains(part), "{}", stderr(&missing));
    }
}

/// A package index with one project, `thing`, of which there is a source archive. Answers its address.
fn index(files: &[(&str, &str)]) -> String {
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("thing-1.0/{name}"), text.as_bytes()).unwrap();
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    let hash: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    let page = format!("<a href=\"/thing-1.0.tar.gz#sha256={hash}\">thing-1.0.tar.gz</a>");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/simple", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map(Result::unwrap)
                .take_while(|line| !line.is_empty())
                .collect();
            let (status, content) = match head[0].split(' ').nth(1).unwrap() {
                "/simple/thing/" => ("200 OK", page.as_bytes()),
                "/thing-1.0.tar.gz" => ("200 OK", archive.as_slice()),
                _ => ("404 Not Found", [].as_slice()),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                content.len()
            );
            stream.write_all(&[head.as_bytes(), content].concat()).unwrap();
        }
    });
    address
}

/// What is required, and what it is built with as far as there are recipes for it, with which alone it can be built.
#[test]
fn recipes_are_written() {
    let place = package();
    let manifest = fs::read_to_string(place.path().join("Cargo.toml")).unwrap();
    fs::create_dir(place.path().join("recipes/off")).unwrap();
    place.file("recipes/off/meta.yaml", "package: {name: off, version: '1', _disabled: true}\n");
    let index = index(&[
        (
            "pyproject.toml",
            "[build-system]\nrequires = ['setuptools', 'Num>=2', 'libyam', 'off', 'thing', 'yam; python_version<\"3\"']\n",
        ),
        (
            "PKG-INFO",
            "Metadata-Version: 2.1\nName: Thing\nVersion: 1.0\nSummary: A thing\nLicense: MIT\n\
             Requires-Dist: num>=2.3\nRequires-Dist: yam; extra == 'all'\n",
        ),
    ]);
    let new = |arguments: &str| {
        place
            .faasm(arguments)
            .env("FAASM_CACHE", place.path().join("cache"))
            .env("PIP_INDEX_URL", &index)
            .env("NO_PROXY", "127.0.0.1")
    };
    let created = new("recipe new Thing==1.0").assert().success();
    assert_eq!(stdout(&created), "recipes/thing\n");
    assert!(stderr(&created).contains("thing 1.0, built by setuptools"), "{}", stderr(&created));
    let text = fs::read_to_string(place.path().join("recipes/thing/meta.yaml")).unwrap();
    for part in [
        "  pypi: thing==1.0\n",
        "requirements:\n  run:\n    - num>=2.3\n  host:\n    - num\n\n",
        "  summary: A thing\n  license: MIT\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    place.faasm("recipe check recipes/thing --offline").assert().success();
    // What the index has under the name of a C library, what is disabled and the package itself are nothing to build with.
    new("recipe new thing --dir again").assert().success();
    assert_eq!(fs::read_to_string(place.path().join("again/thing/meta.yaml")).unwrap(), text);
    let again = new("recipe new thing").assert().code(3);
    assert!(stderr(&again).contains("recipes/thing exists already"), "{}", stderr(&again));
    // Without a folder of recipes, and whatever is wrong with the package.
    fs::remove_dir_all(place.path().join("recipes")).unwrap();
    let first = new("recipe new thing").assert().success();
    assert!(!stderr(&first).contains("warning"), "{}", stderr(&first));
    place.file(
        "Cargo.toml",
        manifest.replace("[\"recipes\"]", "['recipes', 'else']\nrequirements = ['missing.txt']"),
    );
    fs::create_dir_all(place.path().join("more/num")).unwrap();
    place.file("more/num/meta.yaml", "package: {name: num, version: '2.5'}\n");
    let beside = new("recipe new thing --dir more").assert().success();
    assert!(stderr(&beside).contains("are not looked at: failed to read"), "{}", stderr(&beside));
    assert_eq!(fs::read_to_string(place.path().join("more/thing/meta.yaml")).unwrap(), text);
    let other = new("recipe new thing==2.0").assert().failure();
    assert!(
        stderr(&other).contains("no source and no pure Python wheel of version 2.0"),
        "{}",
        stderr(&other)
    );
}

/// What was built is exported as a wheel, and an image is made with that where nothing can be compiled.
#[test]
fn packages_are_built_once_and_used_elsewhere() {
    let place = Place::new();
    let recipes = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes");
    for _ in 0..2 {
        let built =
            place.faasm(&format!("recipe build {recipes}/extensions --wheel wheels")).assert().success();
        assert!(
            stderr(&built).contains("Exported wheels/extensions/extensions-1.0-cp313-cp313-wasi_wasm32.whl")
        );
        assert_eq!(stdout(&built), "extensions._cpp\nextensions.one._native\nextensions.two._native\n");
    }
    let exported = fs::read_to_string(place.path().join("wheels/extensions/meta.yaml")).unwrap();
    assert!(exported.contains("path: extensions-1.0-cp313-cp313-wasi_wasm32.whl"), "{exported}");

    // The C libraries that its modules are linked with have recipes of their own.
    for file in [
        "greeting/meta.yaml",
        "greeting/src/greeting.c",
        "greeting/src/greeting.h",
        "patched/meta.yaml",
        "patched/readme.patch",
    ] {
        let copy = place.path().join("wheels").join(file);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(format!("{recipes}/{file}"), copy).unwrap();
    }
    let checked = place.faasm("recipe check wheels/extensions --offline").assert().success();
    assert_eq!(stdout(&checked), "");
    let modules = stdout(&place.faasm("recipe build wheels/extensions --offline").assert().success());
    assert_eq!(modules, "extensions._cpp\nextensions.one._native\nextensions.two._native\n");
    let tested = place.faasm("recipe test --imports wheels/extensions --offline").assert().success();
    assert!(stderr(&tested).contains("Imported extensions"), "{}", stderr(&tested));

    // What has changed on the way is refused, and so is replacing what is no wheel.
    let wheel = place.path().join("wheels/extensions/extensions-1.0-cp313-cp313-wasi_wasm32.whl");
    let mut content = fs::read(&wheel).unwrap();
    content.push(0);
    fs::write(&wheel, content).unwrap();
    let refused = place.faasm("recipe build wheels/extensions --offline").assert().failure();
    assert!(stderr(&refused).contains("and not that of its recipe"), "{}", stderr(&refused));
    for (command, part) in [
        (format!("recipe build {recipes}/extensions --wheel {recipes}"), "has no wheel in it"),
        (format!("recipe build {recipes}/greeting --wheel wheels"), "of which there are no wheels"),
    ] {
        let refused = place.faasm(&command).assert().failure();
        assert!(stderr(&refused).contains(part), "{command}: {}", stderr(&refused));
    }
}
