//! The commands of README.md under "As a server", run as they stand there.

mod server_support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use server_support::process::serve;

#[test]
fn the_examples_do_what_they_say() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("curl cannot be started, so the examples are not run");
        return;
    }
    let lines = examples();
    assert_eq!(lines.first().map(String::as_str), Some("cargo faasm serve --watch functions"));
    let (home, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let functions = directory.path().join("functions");
    fs::create_dir(&functions).unwrap();
    fs::write(functions.join("watched.py"), "def faasm_main(): pass\n").unwrap();
    fs::write(directory.path().join("data.csv"), "a,b\n1,2\n").unwrap();
    fs::write(directory.path().join("hello.py"), faasm_tests::function_source("hello")).unwrap();
    let server = serve(home.path(), &["--watch", functions.to_str().unwrap()]);

    let mut answers = Vec::new();
    let mut id = String::new();
    for line in &lines[1..] {
        assert!(line.starts_with("curl "), "{line}");
        let command = line
            .replace("localhost:8080", server.url.strip_prefix("http://").unwrap())
            .replace("/ID/", &format!("/{id}/"))
            .replacen("curl ", "curl --silent --show-error --fail-with-body --noproxy '*' ", 1);
        let ran = Command::new("sh").args(["-c", &command]).current_dir(directory.path()).output().unwrap();
        let output = String::from_utf8(ran.stdout).unwrap();
        assert!(ran.status.success(), "{command}\n{output}\n{}", String::from_utf8_lossy(&ran.stderr));
        if line.contains("?async") {
            id = serde_json::from_str::<Value>(&output).unwrap()["id"].to_string();
        }
        answers.push((
            line.split_whitespace().filter(|it| it.contains("localhost")).collect::<String>(),
            output,
        ));
    }
    let answer = |part: &str| {
        let found = answers.iter().find(|(url, _)| url.contains(part));
        found.map_or_else(|| panic!("no example has {part}"), |(_, output)| output.as_str())
    };
    assert_eq!(answer("/output"), answer("/invoke/python/hello"));
    assert!(answer("/invoke/python/hello").contains("world"));
    assert!(answers.iter().any(|(url, output)| url.contains("/s/python/key") && output == "value"));
    let file = fs::read(home.path().join("files/python/data.csv")).unwrap();
    assert_eq!(file, b"a,b\n1,2\n");
    assert!(answer("/metrics").contains("faasm_calls_total"));
}

/// The commands of the first block of the section.
fn examples() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let (_, section) = readme.split_once("\n## As a server\n").unwrap();
    let (_, block) = section.split_once("```console\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    block.lines().filter_map(|line| line.strip_prefix("$ ")).map(str::to_owned).collect()
}
