use super::*;
use std::fs;

const HASH: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The findings for a recipe, each as severity, line, key and message.
fn findings(text: &str, others: &BTreeMap<String, Recipe>) -> Vec<(Severity, Option<u64>, String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path().join("a");
    fs::create_dir_all(directory.join("patches")).unwrap();
    fs::write(directory.join("patches/there.patch"), "").unwrap();
    fs::write(directory.join(FILE_NAME), text).unwrap();
    let found = check(&directory, others).unwrap();
    found.into_iter().map(|it| (it.severity, it.place.map(|it| it.line), it.key, it.message)).collect()
}

fn recipe(text: &str) -> Recipe {
    Recipe::parse(text, Path::new(FILE_NAME)).unwrap()
}

fn others() -> BTreeMap<String, Recipe> {
    let library = |name: &str, hosts: &str| {
        let text = format!(
            "package: {{name: {name}, version: '1'}}\nbuild: {{type: static_library}}\nrequirements: {{host: [{hosts}]}}"
        );
        (name.to_owned(), recipe(&text))
    };
    [library("libyaml", ""), library("x", "y"), library("y", "z, a"), library("z", "x")].into()
}

#[test]
fn a_good_recipe_has_no_findings() {
    let text = format!(
        "package:\n  name: A\n  version: 1.0\n  top-level: [a]\nsource:\n  pypi: a==1.0.0\n  sha256: {HASH}\n  \
         patches: [patches/there.patch]\nbuild:\n  cflags: -O2 -std=c99\nrequirements:\n  run: [b>=1]\n  host: [libyaml]\n"
    );
    assert_eq!(findings(&text, &others()), []);
    let wheel = format!(
        "package: {{name: a, version: '1', top-level: [a]}}\nsource:\n  url: https://example.org/a-1-py3-none-any.whl\n  \
         sha256: {HASH}\nrequirements:\n  host: [libyaml]\n"
    );
    assert_eq!(findings(&wheel, &others()), []);
}

#[test]
fn each_rule() {
    let source = format!("source:\n  url: https://example.org/a.tar.gz\n  sha256: {HASH}\n");
    let with = |rest: &str| format!("package: {{name: a, version: 1.0, top-level: [a]}}\n{source}{rest}");
    let own = |rest: &str| format!("package: {{name: a, version: 1.0, top-level: [a]}}\n{rest}");
    let (error, warning, note) = (Severity::Error, Severity::Warning, Severity::Note);
    for (text, severity, line, key, part) in [
        (
            format!("package:\n  name: a b\n  version: 1\n  top-level: [a]\n{source}"),
            error,
            Some(2),
            "package/name",
            "a b",
        ),
        (
            format!("package:\n  name: b\n  version: 1\n  top-level: [a]\n{source}"),
            warning,
            Some(2),
            "package/name",
            "directory",
        ),
        (
            format!("package:\n  name: a\n  version: x\n  top-level: [a]\n{source}"),
            error,
            Some(3),
            "package/version",
            "`x`",
        ),
        (
            format!("package:\n  name: a\n  version: 1\n  top-level: [a-b]\n{source}"),
            error,
            Some(4),
            "package/top-level/0",
            "a-b",
        ),
        (
            format!("package: {{name: a, version: 1, top-level: [a], _disabled: true}}\n{source}"),
            note,
            Some(1),
            "package/_disabled",
            "not used",
        ),
        (own("source: {}"), error, Some(2), "source", "nowhere"),
        (
            own(&format!("source: {{crate: 'a==\"1\"', sha256: {}}}", "a".repeat(64))),
            error,
            Some(2),
            "source/crate",
            "name==version",
        ),
        (own("source:\n  url: https://example.org/a.zip\n"), error, Some(2), "source", "sha256"),
        (
            own("source:\n  url: https://example.org/a.zip\n  sha256: ABC\n"),
            error,
            Some(4),
            "source/sha256",
            "ABC",
        ),
        (
            own(&format!("source:\n  url: ftp://example.org/a.zip\n  sha256: {HASH}\n")),
            error,
            Some(3),
            "source/url",
            "https",
        ),
        (
            own(&format!("source:\n  url: https://example.org/a.rar?x=.zip\n  sha256: {HASH}\n")),
            error,
            Some(3),
            "source/url",
            "archive",
        ),
        (
            own(&format!("source:\n  pypi: a\n  sha256: {HASH}\n")),
            error,
            Some(3),
            "source/pypi",
            "name==version",
        ),
        (
            own(&format!("source:\n  pypi: a==2\n  sha256: {HASH}\n")),
            warning,
            Some(3),
            "source/pypi",
            "a==1.0",
        ),
        (own("source:\n  path: nowhere\n"), error, Some(3), "source/path", "nowhere"),
        (
            own(&format!("source:\n  pypi: a==1\n  url: https://example.org/a.zip\n  sha256: {HASH}\n")),
            error,
            Some(3),
            "source/pypi",
            "url",
        ),
        (with("  patches: [patches/missing.patch]"), error, Some(5), "source/patches/0", "missing.patch"),
        (
            with("  patches:\n    - patches/there.patch\n    - ../x\n"),
            error,
            Some(7),
            "source/patches/1",
            "outside",
        ),
        (
            with("  extras:\n    - [patches/there.patch, /etc/x]\n"),
            error,
            Some(6),
            "source/extras/0",
            "/etc/x",
        ),
        (
            with("build:\n  type: static_library\n  cflags: x\n  script: make\n"),
            error,
            Some(7),
            "build/cflags",
            "script",
        ),
        (
            own(&format!(
                "source:\n  url: https://example.org/a.whl\n  sha256: {HASH}\nbuild:\n  cflags: -O2\n"
            )),
            error,
            Some(6),
            "build/cflags",
            "not built",
        ),
        (with("build:\n  type: static_library\n"), error, Some(5), "build", "script"),
        (with("build:\n  exports: requested\n"), note, Some(6), "build/exports", "no effect"),
        (with("build:\n  ldflags: -lz -sUSE_ZLIB=1\n"), note, Some(6), "build/ldflags", "-sUSE_ZLIB=1"),
        (with("build:\n  script: emmake make\n"), warning, Some(6), "build/script", "emmake"),
        (with("requirements:\n  run:\n    - b\n    - c 1\n"), error, Some(8), "requirements/run/1", "c 1"),
        (
            with("requirements:\n  host: [libyml]\n"),
            error,
            Some(6),
            "requirements/host/0",
            "is `libyaml` meant?",
        ),
        (with("requirements:\n  host: [x]\n"), error, Some(6), "requirements/host", "a → x → y → a"),
        (with("test:\n  imports: [a.b-c]\n"), error, Some(6), "test/imports/0", "a.b-c"),
        (with("test:\n  source-files: [../x]\n"), error, Some(6), "test/source-files/0", "outside"),
    ] {
        let found = findings(&text, &others());
        let expected = found.iter().find(|it| it.2 == key && it.0 == severity);
        let (_, place, _, message) = expected.unwrap_or_else(|| panic!("{text}\n{found:?}"));
        assert_eq!(*place, line, "{text}\n{found:?}");
        assert!(message.contains(part), "{text}\n{found:?}");
        assert_eq!(found.len(), 1, "{text}\n{found:?}");
    }
}

/// Texts made from a recipe by changing bytes, and by putting YAML's own characters anywhere, are read or refused,
/// and never a reason to panic.
#[test]
fn no_text_is_a_reason_to_panic() {
    const PIECES: [&str; 24] = [
        ":", "-", "\n", " ", "[", "]", "{", "}", "'", "\"", "|", ">", "&a ", "*a", "!!map ", "? ", "<<: ",
        "%", "#", "\t", "\0", "é", "---\n", "1e999",
    ];
    let seed = format!(
        "package: &p\n  name: a\n  version: 1.0\n  top-level: [a]\nsource:\n  pypi: a==1\n  sha256: {HASH}\n  extras:\n  \
         - [x, y]\nbuild:\n  script: |\n    make\n  exports: [f]\nrequirements:\n  host: [x, libyaml]\n  run: [\"b; os_name == 'x'\"]\n\
         test:\n  suite: [-m unittest]\nextra: {{a: [1, {{b: *p}}]}}\n"
    );
    let others = others();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(FILE_NAME);
    // Numbers as Marsaglia's xorshift makes them.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let mut read = 0;
    for _ in 0..2000 {
        let mut text: Vec<char> = seed.chars().collect();
        for _ in 0..=random(4) {
            let at = random(text.len());
            match random(3) {
                0 => drop(text.drain(at..text.len().min(at + random(8)))),
                1 => drop(text.splice(at..at, PIECES[random(PIECES.len())].chars())),
                _ => text.swap(at, at / 2),
            }
        }
        fs::write(&path, text.iter().collect::<String>()).unwrap();
        read += usize::from(check(directory.path(), &others).is_ok());
    }
    // Otherwise the lint would hardly have been reached.
    assert!(read > 200, "{read}");
}
