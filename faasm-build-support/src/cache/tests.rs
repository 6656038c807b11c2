use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use super::*;

fn cache() -> (tempfile::TempDir, Cache) {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new(directory.path().join("root"));
    (directory, cache)
}

/// A second handle with locks of its own, as another process would have.
fn other(cache: &Cache) -> Cache {
    Cache::new(cache.root().to_path_buf())
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
}

fn make_file(directory: &Path) -> Result<()> {
    write(&directory.join("file"), "content")
}

#[test]
fn an_entry_is_built_once_and_says_what_from() {
    let (_directory, cache) = cache();
    let key = Key::new().value("version", "1");
    let path = cache.entry("kind", "na/me", &key, || (), make_file).unwrap();
    assert_eq!(path, cache.path("kind", "na/me", &key));
    assert_eq!(fs::read_to_string(path.join("file")).unwrap(), "content");
    assert!(fs::read_to_string(path.join(KEY_FILE)).unwrap().contains("version"));
    let again = cache.entry("kind", "na/me", &key, || (), |_| panic!("it is there already")).unwrap();
    assert_eq!(again, path);
    assert!(names(&cache.root().join("tmp")).is_empty());
}

#[test]
fn the_second_of_two_builders_waits_and_does_not_build() {
    let (_directory, cache) = cache();
    let builds = AtomicUsize::new(0);
    let (waits, second_waits) = mpsc::channel();
    let (builds_now, first_builds) = mpsc::channel();
    std::thread::scope(|scope| {
        let (cache, builds) = (&cache, &builds);
        scope.spawn(move || {
            let build = |directory: &Path| {
                builds.fetch_add(1, Ordering::SeqCst);
                builds_now.send(()).unwrap();
                second_waits.recv().unwrap();
                make_file(directory)
            };
            other(cache).entry("kind", "name", &Key::new(), || (), build).unwrap();
        });
        first_builds.recv().unwrap();
        let build = |_: &Path| panic!("the first builder was not waited for");
        other(cache).entry("kind", "name", &Key::new(), || waits.send(()).unwrap(), build).unwrap();
    });
    assert_eq!(builds.load(Ordering::SeqCst), 1);
}

#[test]
fn a_failed_build_leaves_nothing() {
    let (_directory, cache) = cache();
    let failing = |directory: &Path| {
        make_file(directory)?;
        Err(Error::NoCacheDirectory { reason: "the build failed".to_owned() })
    };
    cache.entry("kind", "name", &Key::new(), || (), failing).unwrap_err();
    assert!(!cache.path("kind", "name", &Key::new()).exists());
    assert!(names(&cache.root().join("tmp")).is_empty());
    cache.entry("kind", "name", &Key::new(), || (), make_file).unwrap();
}

const CHILD_ROOT: &str = "FAASM_TEST_CACHE_OF_KILLED_BUILDER";

#[test]
#[ignore = "the process that another test kills"]
fn builder_that_is_killed() {
    let root = env::var_os(CHILD_ROOT).expect("is run by a_killed_build_leaves_nothing_for_long");
    let never_ending = |directory: &Path| {
        make_file(directory)?;
        println!("building");
        std::thread::sleep(Duration::from_secs(600));
        Ok(())
    };
    Cache::new(root.into()).entry("kind", "name", &Key::new(), || (), never_ending).unwrap();
}

#[test]
fn a_killed_build_leaves_nothing_for_long() {
    use std::io::{BufRead as _, BufReader};

    let (_directory, cache) = cache();
    let mut child = Command::new(env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "cache::tests::builder_that_is_killed"])
        .env(CHILD_ROOT, cache.root())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(output.any(|line| line.unwrap().contains("building")), "the child did not get to build");
    child.kill().unwrap();
    child.wait().unwrap();

    let temporary = cache.root().join("tmp");
    assert_eq!(names(&temporary).len(), 2, "the killed build left its directory and its lock file");
    assert!(!cache.path("kind", "name", &Key::new()).exists());
    let waiting = || panic!("nobody else is building");
    cache.entry("kind", "name", &Key::new(), waiting, make_file).unwrap();
    assert!(names(&temporary).is_empty());
}

#[test]
fn a_living_builder_keeps_its_directory() {
    let (_directory, cache) = cache();
    let outer = |directory: &Path| {
        other(&cache).entry("kind", "inner", &Key::new(), || (), make_file)?;
        make_file(directory)
    };
    let path = cache.entry("kind", "outer", &Key::new(), || (), outer).unwrap();
    assert!(path.join("file").exists());
}

#[test]
fn what_is_in_use_is_not_removed() {
    let (_directory, cache) = cache();
    other(&cache).entry("kind", "old", &Key::new(), || (), make_file).unwrap();
    let held = cache.entry("kind", "held", &Key::new(), || (), make_file).unwrap();
    let old = SystemTime::now() - Duration::from_secs(3600);
    let stamp = cache.path("kind", "old", &Key::new()).join(USED_FILE);
    File::options().append(true).open(stamp).unwrap().set_modified(old).unwrap();

    let usage = cache.usage().unwrap();
    let sizes: Vec<bool> = usage.iter().map(|entry| entry.bytes > 0).collect();
    assert_eq!(sizes, [true, true]);
    let removed = |entries: Vec<EntryUsage>| entries.into_iter().map(|it| it.name).collect::<Vec<_>>();
    let maintainer = other(&cache);
    assert_eq!(removed(maintainer.remove_unused(Duration::from_secs(7200)).unwrap()), [""; 0]);
    // A child that another test has just forked holds copies of all locks until it executes its program.
    let eventually = |remove: &dyn Fn() -> Result<Vec<EntryUsage>>| {
        for _ in 0..1000 {
            let names = removed(remove().unwrap());
            if !names.is_empty() {
                return names;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("what nobody uses was not removed")
    };
    assert_eq!(eventually(&|| maintainer.remove_unused(Duration::from_secs(1800))).len(), 1);
    assert_eq!(removed(maintainer.remove_all().unwrap()), [""; 0]);
    assert!(held.join("file").exists());
    drop(cache);
    assert_eq!(eventually(&|| maintainer.remove_all()).len(), 1);
    assert!(maintainer.usage().unwrap().is_empty());
}

#[test]
fn names_stay_within_their_directory() {
    for (text, name) in
        [("a-1.2+b_c", "a-1.2+b_c"), ("../x", "_.._x"), ("", ""), ("/etc", "_etc"), (".hidden", "_.hidden")]
    {
        assert_eq!(file_name(text), name);
    }
}
