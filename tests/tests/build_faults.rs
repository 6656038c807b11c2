//! Builds that are killed, run twice at once, or run out of disk: whatever happens, what is in the cache is whole, and the
//! next build goes on from there.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use faasm_build_support::{Context, source};
use tempfile::TempDir;

fn step(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_build-step"));
    command.args(arguments).env("FAASM_CACHE", cache);
    command
}

/// Runs a step that must succeed, and answers its events.
#[track_caller]
fn finish(cache: &Path, arguments: &[&str]) -> Vec<String> {
    let output = step(cache, arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A step that runs; killed when it is dropped.
struct Running {
    child: Child,
    events: std::io::Lines<BufReader<ChildStdout>>,
}

impl Running {
    fn start(cache: &Path, arguments: &[&str]) -> Self {
        let mut child = step(cache, arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, events }
    }

    /// Waits until the step says so.
    #[track_caller]
    fn wait_for(&mut self, event: &str) {
        let mut seen = Vec::new();
        for line in &mut self.events {
            let line = line.unwrap();
            if line == event {
                return;
            }
            seen.push(line);
        }
        panic!("the step ended without saying {event:?}, but {seen:?}");
    }

    fn kill(mut self) {
        // On Unix this is SIGKILL.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is in the cache below `directory`, besides files that say what it was made from.
fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with('.'));
    names.sort();
    names
}

fn only_entry(cache: &Path, kind: &str) -> PathBuf {
    let names = names(&cache.join(kind));
    let [name] = &names[..] else { panic!("{kind} has {names:?}") };
    cache.join(kind).join(name)
}

/// Nothing half-made is under a final name, and nothing that is in the making is there any longer.
#[track_caller]
fn assert_clean(cache: &Path) {
    assert_eq!(names(&cache.join("tmp")), [""; 0]);
}

#[test]
fn a_build_that_is_killed_is_made_again() {
    let cache = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let mut running = Running::start(cache.path(), &["stall"]);
        running.wait_for("stalled");
        running.kill();
        assert_eq!(names(&cache.path().join("test")), [""; 0], "a killed build left an entry");
    }
    assert_eq!(finish(cache.path(), &["make"]), ["started test entry", "built test entry"]);
    assert_eq!(fs::read(only_entry(cache.path(), "test").join("file")).unwrap(), b"made");
    assert_clean(cache.path());
    assert_eq!(finish(cache.path(), &["make"]), ["cached test entry"]);
}

#[test]
fn of_several_processes_one_builds() {
    let cache = tempfile::tempdir().unwrap();
    let builders: Vec<Child> =
        (0..8).map(|_| step(cache.path(), &["make"]).stdout(Stdio::piped()).spawn().unwrap()).collect();
    let mut built = 0;
    for builder in builders {
        let Output { status, stdout, .. } = builder.wait_with_output().unwrap();
        assert!(status.success());
        let events = String::from_utf8(stdout).unwrap();
        built += events.matches("started test entry").count();
    }
    assert_eq!(built, 1);
    assert_clean(cache.path());
}

#[test]
fn who_waits_for_a_builder_that_is_killed_builds() {
    let cache = tempfile::tempdir().unwrap();
    let mut first = Running::start(cache.path(), &["stall"]);
    first.wait_for("stalled");
    let mut second = Running::start(cache.path(), &["make"]);
    second.wait_for("message test entry: waiting for another build of it");
    first.kill();
    second.wait_for("built test entry");
    assert_eq!(fs::read(only_entry(cache.path(), "test").join("file")).unwrap(), b"made");
}

/// A cache in which everything up to CPython is that of the machine's cache, and nothing after it is there.
fn cache_without_image() -> TempDir {
    let ours = Context::from_env().unwrap().cache;
    let cache = tempfile::tempdir().unwrap();
    for kind in ["cpython", "source", "toolchain", "downloads"] {
        // Entry by entry, since what is made here goes with this cache: a toolchain has its place in its programs.
        fs::create_dir(cache.path().join(kind)).unwrap();
        for entry in fs::read_dir(ours.root().join(kind)).into_iter().flatten() {
            let entry = entry.unwrap();
            symlink(entry.path(), cache.path().join(kind).join(entry.file_name())).unwrap();
        }
    }
    cache
}

#[test]
fn a_build_of_an_image_that_is_killed_in_any_step_goes_on() {
    let cache = cache_without_image();
    for (event, left) in [
        ("started image link", 0),
        ("started image code", 1),
        ("message image base: starting the interpreter", 2),
    ] {
        let mut running = Running::start(cache.path(), &["image"]);
        running.wait_for(event);
        running.kill();
        assert_eq!(names(&cache.path().join("image")).len(), left, "killed after: {event}");
    }
    let events = finish(cache.path(), &["image"]);
    let steps: Vec<&str> = events.iter().filter_map(|it| it.strip_prefix("built ")).collect();
    assert_eq!(steps, ["image base"]);
    let image = events.last().unwrap().strip_prefix("image ").unwrap();
    faasm_image::Image::open(Path::new(image)).unwrap().verify().unwrap();
    let runtime = faasm_tests::limits().image(image).build().unwrap();
    assert_eq!(faasm_tests::run(&runtime, "def faasm_main(): return 'whole'"), "whole");
    assert_clean(cache.path());
}

/// A step with a file system for itself that holds `bytes`, if the machine lets its users make one.
fn on_small_disk(cache: &Path, bytes: usize, arguments: &[&str]) -> Option<Output> {
    let script = format!(
        "mount -t tmpfs -o size={bytes} none '{0}' || exit 99; \"$@\"; status=$?; \
         find '{0}/test' -mindepth 1; find '{0}/tmp' -mindepth 1; exit $status",
        cache.display()
    );
    let mut command = Command::new("unshare");
    command.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        &script,
        "sh",
        env!("CARGO_BIN_EXE_build-step"),
    ]);
    let output = command.args(arguments).env("FAASM_CACHE", cache).output().ok()?;
    let refused =
        output.status.code() == Some(99) || String::from_utf8_lossy(&output.stderr).contains("unshare");
    if refused {
        eprintln!("not tried, no file system can be mounted: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

/// An archive whose one file has 4 MiB.
fn archive(directory: &Path) -> PathBuf {
    let path = directory.join("large.tar.gz");
    let file = directory.join("large");
    let content: Vec<u8> =
        (0..4_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(&file, content).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("-czf").arg(&path).arg("-C").arg(directory).arg("large");
    assert!(tar.status().unwrap().success());
    path
}

#[test]
fn a_full_disk() {
    let (cache, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive(directory.path());
    let Some(output) = on_small_disk(cache.path(), 1 << 20, &["unpack", archive.to_str().unwrap()]) else {
        return;
    };
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in
        ["failed to unpack into", "No space left on device", "hint: the disk that holds", "FAASM_CACHE"]
    {
        assert!(stderr.contains(part), "{part:?} is missing in {stderr}");
    }
    // What was left in the cache comes after the events.
    assert_eq!(stdout, "started test unpacked\nfailed test unpacked\n");
}

#[test]
fn files_that_may_not_become_large() {
    let (cache, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive(directory.path());
    // In units of 512 bytes. The signal would end the process; ignored, it becomes an error.
    let mut limited = Command::new("sh");
    limited
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1000; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_build-step"),
            "unpack",
        ])
        .arg(&archive)
        .env("FAASM_CACHE", cache.path());
    let output = limited.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("failed to unpack into") && stderr.contains("File too large"), "{stderr}");
    assert!(!stderr.contains("hint: remove"), "the archive is not to blame: {stderr}");
    assert_eq!(names(&cache.path().join("test")), [""; 0]);
    assert_clean(cache.path());
    // Without the limit, it goes on as if nothing had been.
    let events = finish(cache.path(), &["unpack", archive.to_str().unwrap()]);
    assert_eq!(events, ["started test unpacked", "built test unpacked"]);
}

#[test]
fn a_cache_that_cannot_be_written() {
    for (cache, expected) in [
        ("/proc/nowhere", "/proc/nowhere"),
        ("/dev/null/cache", "/dev/null/cache"),
        ("relative/cache", "it must be an absolute path"),
    ] {
        let output = step(Path::new(cache), &["make"]).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{cache}: {stderr}");
        assert!(stderr.starts_with("failed to ") && stderr.contains(expected), "{cache}: {stderr}");
    }
}

#[test]
fn a_damaged_archive_is_to_be_removed() {
    let (cache, directory) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = archive(directory.path());
    let content = fs::read(&archive).unwrap();
    fs::write(&archive, &content[..content.len() / 2]).unwrap();
    let output = step(cache.path(), &["unpack", archive.to_str().unwrap()]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("large.tar.gz") && stderr.contains("hint: remove"), "{stderr}");
    assert_eq!(names(&cache.path().join("test")), [""; 0]);
    assert_clean(cache.path());
}

#[test]
fn a_damaged_download_is_not_used() {
    let Ok(download) = source::fetch(&Context::from_env().unwrap(), &source::pin::CPYTHON) else {
        panic!("the source from which the image was built is in the cache, or can be had");
    };
    let cache = tempfile::tempdir().unwrap();
    let place = cache.path().join("downloads").join(download.file_name().unwrap());
    fs::create_dir(place.parent().unwrap()).unwrap();
    let mut content = fs::read(&download).unwrap();
    content.truncate(content.len() / 2);
    fs::write(&place, content).unwrap();
    let cx = Context {
        cache: faasm_build_support::cache::Cache::new(cache.path().to_owned()),
        offline: true,
        ..Context::from_env().unwrap()
    };
    let error = source::fetch(&cx, &source::pin::CPYTHON).unwrap_err();
    let text = format!("{error:?}");
    for part in
        ["Python-3.13.5.tar.xz", "93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640", "hint: "]
    {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
}
