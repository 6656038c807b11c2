//! Files, as functions see them: their private ones, those that calls of a user share, and those of functions that are packages.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use faasm_tests::{
    call, chain, function_source, image, limits, load, load_failure, run, runtime, text, traceback,
};
use py_func::{CallError, Error, Function, Runtime};

fn load_for(runtime: &Runtime, user: &str, source: &str) -> Function {
    runtime.function(user, "f").source(source).load().unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// A runtime whose functions share files in a directory.
fn sharing(directory: &Path, quota: u64) -> Runtime {
    limits().shared_files(directory, quota).build().unwrap()
}

#[test]
fn programs_find_the_files_they_expect() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = sharing(directory.path(), 64 << 20);
    let function = runtime.function("ada", "files").source(function_source("files_test")).load().unwrap();
    // Twice, because nothing of the first time is there in the second.
    for place in ["/tmp", "/shared", "/tmp", "/shared"] {
        let output = call(&function, place.as_bytes());
        assert_eq!(text(&output.output), "all as it should be", "in {place}");
        assert_eq!((text(&output.stdout), text(&output.stderr)), ("", "said on /dev/stderr"));
    }
    assert_eq!(fs::read_dir(directory.path().join("ada")).unwrap().count(), 0);
}

#[test]
fn private_files_are_gone_with_their_call() {
    let source = r#"
import os
def write():
    os.chdir("/tmp")
    os.mkdir("d")
    open("d/f", "w").write("private")
    os.open("d/f", os.O_RDONLY)
    os.dup2(os.open("/tmp/d", os.O_RDONLY), 77)
def fail():
    write()
    raise ValueError
def leave():
    write()
    os._exit(3)
def faasm_main():
    open_ones = []
    for descriptor in range(256):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        open_ones.append(descriptor)
    return f"{os.listdir('/tmp')} {os.getcwd()} {open_ones}"
"#;
    let function = load(&runtime(), source);
    for entry in ["write", "fail", "leave"] {
        assert_eq!(function.call("").entry(entry).wait().is_ok(), entry != "fail");
        assert_eq!(text(&call(&function, b"").output), "[] / [0, 1, 2, 3]", "after {entry}");
    }
    // Nor are those of the import there.
    let source =
        "import os\nopen('/tmp/f', 'w').close()\ndef faasm_main(): return repr(os.listdir('/tmp'))\n";
    assert_eq!(run(&runtime(), source), "[]");
}

#[test]
fn what_is_read_only_is_known_before_it_is_written_to() {
    let source = r#"
import os
def faasm_main():
    open("/tmp/f", "w").close()
    os.symlink("/lib", "/tmp/l")
    paths = ["/", "/lib/python3.13/os.py", "/tmp/l", "/tmp/f", "/tmp", "/dev/null", "/none"]
    top = os.open("/", os.O_RDONLY)
    for path in paths:
        asked = [os.access(path, mode) for mode in (os.F_OK, os.R_OK, os.W_OK)]
        below = os.access(path[1:] or ".", os.W_OK, dir_fd=top)
        print(path, *asked, below, os.access(path, os.W_OK, follow_symlinks=False))
"#;
    let function = load(&runtime(), source);
    assert_eq!(
        text(&call(&function, b"").stdout),
        "/ True True False False False\n\
         /lib/python3.13/os.py True True False False False\n\
         /tmp/l True True False False True\n\
         /tmp/f True True True True True\n\
         /tmp True True True True True\n\
         /dev/null True True True True True\n\
         /none False False False False False\n"
    );
}

#[test]
fn no_file_has_the_empty_name() {
    let source = r#"
import os
def faasm_main():
    os.chdir("/tmp")
    top = os.open("/", os.O_RDONLY)
    uses = [
        open, os.stat, os.lstat, os.listdir, os.chdir, os.mkdir, os.rmdir, os.unlink, os.readlink,
        lambda path: os.stat(path, dir_fd=top), lambda path: os.rename(path, "/tmp/f"), lambda path: os.link(path, "/tmp/f"),
    ]
    for use in uses:
        try:
            use("")
        except FileNotFoundError as error:
            continue
        except OSError as error:
            print(use, repr(error))
        else:
            print(use)
    print(os.path.exists(""), os.access("", os.F_OK), os.getcwd())
"#;
    let function = load(&runtime(), source);
    assert_eq!(text(&call(&function, b"").stdout), "False False /tmp\n");
}

#[test]
fn private_files_have_a_limit() {
    let source = r#"
import os
def faasm_main():
    results = []
    try:
        with open("/tmp/f", "wb", buffering=0) as file:
            while True:
                file.write(bytes(100_000))
    except OSError as error:
        results.append((error.errno == __import__("errno").ENOSPC, os.path.getsize("/tmp/f")))
    os.remove("/tmp/f")
    count = 0
    try:
        while True:
            os.mkdir(f"/tmp/{count}")
            count += 1
    except OSError as error:
        results.append((error.errno == __import__("errno").ENOSPC, count))
    return repr(results)
"#;
    let runtime = limits().tmp_limit(1 << 20).build().unwrap();
    let result = run(&runtime, source);
    assert!(result.starts_with("[(True, 10"), "{result}");
    assert!(result.contains(", (True, 1"), "{result}");
}

#[test]
fn floods_of_descriptors_and_wild_names() {
    let source = r#"
import errno, os
def errors(*actions):
    for action in actions:
        try:
            action()
        except OSError as error:
            yield errno.errorcode[error.errno]
        else:
            yield "none"
def faasm_main():
    os.mkdir("/tmp/d")
    held = []
    def flood():
        while True: held.append(os.open("/tmp/d", os.O_RDONLY))
    def flood_of_duplicates():
        while True: held.append(os.dup(0))
    seen = [*errors(flood, flood_of_duplicates), len(held)]
    for descriptor in held: os.close(descriptor)
    held.clear()
    seen += [*errors(flood_of_duplicates), len(held)]
    for descriptor in held: os.close(descriptor)
    seen += errors(
        lambda: os.open("/tmp/" + "x" * 256, os.O_WRONLY | os.O_CREAT), lambda: os.stat("/tmp" + "/x" * 3000),
        lambda: os.close(3), lambda: os.dup2(0, 3), lambda: os.dup2(0, 1 << 20), lambda: os.dup(77),
        lambda: os.rmdir("/tmp"), lambda: os.listdir("/dev/null"), lambda: os.open("/lib", os.O_RDWR),
        lambda: os.open("/lib/new", os.O_WRONLY | os.O_CREAT), lambda: os.rename("/tmp/d", "/tmp/d/e"),
    )
    return " ".join(map(str, seen))
"#;
    assert_eq!(
        run(&runtime(), source),
        "EMFILE EMFILE 252 EMFILE 252 ENAMETOOLONG ENAMETOOLONG ENOTSUP ENOTSUP EBADF EBADF EBUSY ENOTDIR EISDIR EROFS EINVAL"
    );
}

#[test]
fn listings_are_the_hosts() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("ada");
    fs::create_dir(&place).unwrap();
    let mut expected: Vec<String> =
        (0..700).map(|number| format!("a file with the number {number}")).collect();
    for name in &expected {
        fs::write(place.join(name), "").unwrap();
    }
    expected.sort();
    let runtime = sharing(directory.path(), 64 << 20);
    let list = runtime.function("ada", "list").source(function_source("dir_test")).load().unwrap();
    assert_eq!(text(&call(&list, b"/shared").output), expected.join("\n"));
    let names = ["null", "random", "stderr", "stdin", "stdout", "urandom", "zero"];
    assert_eq!(text(&call(&list, b"/dev").output), names.join("\n"));

    // Removing what is listed while it is listed.
    let source = r#"
import os
def faasm_main():
    with os.scandir("/shared") as entries:
        count = sum(1 for entry in entries if os.remove(entry.path) is None)
    return f"{count} {os.listdir('/shared')}"
"#;
    assert_eq!(text(&call(&load_for(&runtime, "ada", source), b"").output), "700 []");
}

const SHARING: &str = r#"
import os
def write(data):
    with open("/shared/f", "wb") as file: file.write(data)
def read():
    with open("/shared/f", "rb") as file: return file.read()
def fill(data):
    try:
        with open("/shared/big", "ab", buffering=0) as file:
            while True: file.write(bytes(int(data)))
    except OSError as error:
        return f"{__import__('errno').errorcode[error.errno]} {os.path.getsize('/shared/big')}"
def list(): return repr(sorted(os.listdir("/shared")))
def escape():
    found = []
    for path in ("/shared/../ada/f", "/shared/../../ada/f", "/shared/../files/ada/f", "../ada/f", "/ada/f", "/shared/link"):
        try: found.append(open(path).read())
        except OSError: pass
    return repr(found)
"#;

#[test]
fn shared_files_are_those_of_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = sharing(&directory.path().join("files"), 1 << 20);
    let (ada, bob) = (load_for(&runtime, "ada", SHARING), load_for(&runtime, "bob", SHARING));
    let entry = |function: &Function, entry: &str, data: &str| {
        function.call(data).entry(entry).wait().map(|output| text(&output.output).to_owned())
    };
    entry(&ada, "write", "of Ada").unwrap();
    assert_eq!(entry(&ada, "read", "").unwrap(), "of Ada");
    assert!(matches!(entry(&bob, "read", "").unwrap_err().error, CallError::Exception { .. }));
    std::os::unix::fs::symlink("../ada/f", directory.path().join("files/bob/link")).unwrap();
    assert_eq!(entry(&bob, "escape", "").unwrap(), "[]");
    entry(&bob, "write", "of Bob").unwrap();
    assert_eq!(entry(&ada, "read", "").unwrap(), "of Ada");

    // The quota is the user's, whichever runtime the calls are made on.
    let full = entry(&ada, "fill", "4096").unwrap();
    assert_eq!(full, format!("EDQUOT {}", (1 << 20) - 3 * 4096));
    assert_eq!(entry(&bob, "fill", "4096").unwrap(), format!("EDQUOT {}", (1 << 20) - 4 * 4096));
    let again = sharing(&directory.path().join("files"), 1 << 20);
    let again = load_for(&again, "ada", SHARING);
    assert_eq!(entry(&again, "fill", "4096").unwrap(), full);
    assert_eq!(entry(&again, "list", "").unwrap(), "['big', 'f']");

    // Where no directory was given for them there are none.
    assert_eq!(
        run(&faasm_tests::runtime(), "import os\ndef faasm_main(): return repr(os.path.exists('/shared'))\n"),
        "False"
    );
}

#[test]
fn locks_hold_off_other_calls() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = sharing(directory.path(), 16 << 20);
    let source = r#"
import sqlite3
def setup():
    with sqlite3.connect("/shared/db") as connection:
        connection.execute("create table t (n)")
        connection.execute("insert into t values (0)")
def database():
    connection = sqlite3.connect("/shared/db", timeout=60, isolation_level=None)
    for _ in range(20):
        connection.execute("begin immediate")
        (n,) = connection.execute("select n from t").fetchone()
        connection.execute("update t set n = ?", (n + 1,))
        connection.execute("commit")
def total():
    return str(sqlite3.connect("/shared/db").execute("select n from t").fetchone()[0])
def counter():
    import fcntl
    for _ in range(50):
        with open("/shared/counter", "a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            n = int(file.read() or "0")
            file.truncate(0)
            file.write(str(n + 1))
def count(): return open("/shared/counter").read()
"#;
    let function = load_for(&runtime, "ada", source);
    let entry = |entry| text(&function.call("").entry(entry).wait().unwrap().output).to_owned();
    entry("setup");
    std::thread::scope(|scope| {
        for entry in ["database", "counter", "database", "counter", "database", "counter"] {
            let function = &function;
            scope.spawn(move || {
                let failure = function.call("").entry(entry).wait().err();
                assert!(failure.is_none(), "{entry}: {}", failure.unwrap());
            });
        }
    });
    assert_eq!((entry("total"), entry("count")), ("60".to_owned(), "150".to_owned()));
}

#[test]
fn waiting_for_a_lock_ends_with_the_time_limit() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = sharing(directory.path(), 1 << 20);
    let source = r#"
import fcntl
def faasm_main():
    first, second = open("/shared/f", "w"), open("/shared/f", "w")
    fcntl.flock(first, fcntl.LOCK_EX)
    fcntl.flock(second, fcntl.LOCK_EX)
"#;
    let limit = std::time::Duration::from_secs(1);
    let failure = load_for(&runtime, "ada", source).call("").timeout(limit).wait().unwrap_err();
    assert!(
        matches!(&failure.error, CallError::TimeLimit { text, .. } if text.contains("a lock of a file")),
        "{failure}"
    );
}

/// A package: its files and their contents.
const PACKAGE: [(&str, &str); 5] = [
    (
        "main.py",
        r#"
import os
from helper import shout
from inner.deep import NAME
with open("/function/data/words.txt") as file: WORDS = file.read().split()
def faasm_main(data):
    import late
    beside = open(os.path.join(os.path.dirname(__file__), "data/words.txt")).read().split()
    return shout(" ".join([data.decode(), NAME, late.NAME, *WORDS, *beside]))
def fail():
    import late
    late.fail()
def change():
    open("/function/data/words.txt", "w")
"#,
    ),
    ("helper.py", "def shout(text): return text.upper() + '!'\n"),
    ("late.py", "NAME = 'late'\ndef fail():\n    raise ValueError('on purpose')\n"),
    ("inner/deep.py", "from helper import shout\nNAME = 'deep'\n"),
    ("data/words.txt", "one two"),
];

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = directory.path().join("top").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

fn zip(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (path, content) in files {
        archive.start_file(*path, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

#[test]
fn packages_are_functions() {
    let directory = folder(&PACKAGE);
    let runtime = runtime();
    let from_folder = runtime.function("ada", "f").folder(directory.path().join("top")).load();
    let from_zip = runtime.function("ada", "g").source(zip(&PACKAGE)).load();
    // What is unpacked is in memory.
    drop(directory);
    for function in [from_folder, from_zip] {
        let function = function.unwrap_or_else(|error| panic!("{}", chain(&error)));
        for _ in 0..2 {
            let output = call(&function, b"hello").output;
            assert_eq!(text(&output), "HELLO DEEP LATE ONE TWO ONE TWO!");
        }
        let failure = function.call("").entry("fail").wait().unwrap_err();
        assert_eq!(
            traceback(&failure),
            "Traceback (most recent call last):\n  File \"main.py\", line 12, in fail\n    late.fail()\n    ~~~~~~~~~^^\n  \
             File \"late.py\", line 3, in fail\n    raise ValueError('on purpose')\nValueError: on purpose\n"
        );
        let failure = function.call("").entry("change").wait().unwrap_err();
        assert!(traceback(&failure).contains("Read-only file system"), "{failure}");
        let failure = function.call("").entry("missing").wait().unwrap_err();
        assert!(failure.to_string().starts_with("main.py has no function 'missing'"), "{failure}");
    }
    // A function of one module has no files.
    let source = "import os\ndef faasm_main(): return repr(os.path.exists('/function'))\n";
    assert_eq!(run(&runtime, source), "False");
}

#[test]
fn packages_that_cannot_be_loaded() {
    let runtime = runtime();
    let load = |files: &[(&str, &str)]| match runtime.function("ada", "f").source(zip(files)).load() {
        Ok(_) => panic!("{files:?} was loaded"),
        Err(error) => error,
    };
    let Error::Load { source, .. } = load(&[("main.py", "import a\n"), ("a.py", "def f():\n  1 +\n")]) else {
        panic!("this is another error")
    };
    assert!(
        matches!(&source.error, CallError::Syntax { text } if text.contains("File \"a.py\", line 2")),
        "{source}"
    );
    let Error::Load { source, .. } = load(&[("main.py", "import a\n"), ("a.py", "1 / 0\n")]) else {
        panic!("this is another error")
    };
    assert_eq!(
        traceback(&source),
        "Traceback (most recent call last):\n  File \"main.py\", line 1, in <module>\n    import a\n  \
         File \"a.py\", line 1, in <module>\n    1 / 0\n    ~~^~~\nZeroDivisionError: division by zero\n"
    );
    let Error::Load { source, .. } = load(&[("json/__init__.py", "")]) else {
        panic!("this is another error")
    };
    assert!(source.to_string().contains("called json"), "{source}");
    for (files, expected) in [
        (&[("a.py", ""), ("b.py", "")][..], "no `main.py`"),
        (&[("main.py", ""), ("../a.py", "")], "../a.py: its path leads out"),
    ] {
        let error = load(files);
        assert!(matches!(error, Error::Package { .. }));
        assert!(chain(&error).contains(expected), "{}", chain(&error));
    }
    // What was open during the import is refused as it is for modules.
    let failure = load_failure(&runtime, "file = open('/tmp/f', 'w')\ndef faasm_main(): pass\n");
    assert!(failure.to_string().contains("still open"), "{failure}");
}

#[test]
fn a_package_is_called_by_name_and_has_its_files_there() {
    let archive = zip(&PACKAGE);
    let lookup = move |_: &str, name: &str| (name == "package").then(|| archive.clone());
    let runtime = limits().image(image()).lookup(lookup).build().unwrap();
    let source = "import faasm\ndef faasm_main(): return faasm.chain('package', b'chained').output()\n";
    assert_eq!(run(&runtime, source), "CHAINED DEEP LATE ONE TWO ONE TWO!");
}
