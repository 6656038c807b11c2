//! The commands about Python packages and recipes. All but the last are offline, so that only recipes are looked at.

mod cli_support;

use std::fs;

use cli_support::Place;
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
