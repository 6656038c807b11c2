//! `cargo faasm` with the default image, which is built first if the cache has none.

mod cli_support;

use std::fs;
use std::sync::Once;

use cli_support::Place;
use serde_json::Value;
use snapbox::cmd::OutputAssert;
use snapbox::str;

const ECHO: &str = "def faasm_main(data): return data\n";

/// A place, once the default image is there: tests that look at standard error must not see it being built.
fn place() -> Place {
    static BUILT: Once = Once::new();
    let place = Place::new();
    BUILT.call_once(|| drop(place.faasm("build").assert().success()));
    place
}

fn stdout(assert: &OutputAssert) -> &[u8] {
    &assert.get_output().stdout
}

fn stderr(assert: &OutputAssert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

fn json(assert: &OutputAssert) -> Vec<Value> {
    std::str::from_utf8(stdout(assert))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn hello() {
    let place = place();
    place.file(
        "hello.py",
        "import sys\ndef faasm_main():\n    print(sys.version.split()[0])\n    return 'Hello'\n",
    );
    place.faasm("run hello.py").assert().success().stdout_eq("3.13.5\nHello").stderr_eq("");
}

#[test]
fn every_way_of_input() {
    let place = place();
    let all_bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    place.file("echo.py", ECHO);
    for input in [&b""[..], b"text", b"\0", &all_bytes] {
        place.file("input", input);
        for arguments in ["run echo.py", "run echo.py --file -"] {
            assert!(stdout(&place.faasm(arguments).stdin(input.to_vec()).assert().success()) == input);
        }
        assert!(stdout(&place.faasm("run echo.py --file input").assert().success()) == input);
    }
    place.faasm("run echo.py --data text").stdin("not this").assert().success().stdout_eq("text");
    place.faasm("run echo.py --data").arg("").stdin("not this").assert().success().stdout_eq("");
}

#[test]
fn what_a_function_prints() {
    let place = place();
    place.file(
        "f.py",
        "import sys\ndef faasm_main():\n    print('out')\n    print('err', file=sys.stderr)\n    return b'result'\n",
    );
    place.faasm("run f.py").assert().success().stdout_eq("out\nresult").stderr_eq("err\n");
}

#[test]
fn another_entry_point() {
    let place = place();
    place.file("f.py", "def one(): return '1'\ndef two(): return '2'\n");
    place.faasm("run f.py --entry two").assert().success().stdout_eq("2");
    place.faasm("run f.py").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
error: f.py has no function 'faasm_main'; it has one, two

hint: define `faasm_main`, or name another function as entry point

"#]]);
}

#[test]
fn statuses_become_exit_codes() {
    let place = place();
    for (body, code) in [
        ("return 0", 0),
        ("return 7", 7),
        ("return 256", 1),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit()", 0),
        ("import sys; sys.exit('message')", 1),
    ] {
        place.file("f.py", format!("def faasm_main():\n    {body}\n"));
        place.faasm("run f.py").assert().code(code).stdout_eq("");
    }
}

#[test]
fn an_exception() {
    let place = place();
    place.file(
        "f.py",
        "def faasm_main():\n    print('before')\n    inner()\n\ndef inner():\n    return 1 / 0\n",
    );
    place.faasm("run f.py").assert().code(1).stdout_eq("before\n").stderr_eq(str![[r#"
Traceback (most recent call last):
  File "f.py", line 3, in faasm_main
    inner()
    ~~~~~^^
  File "f.py", line 6, in inner
    return 1 / 0
           ~~^~~
ZeroDivisionError: division by zero

"#]]);
}

#[test]
fn an_exception_while_importing() {
    let place = place();
    place.file("f.py", "import no_such_module\n");
    place.faasm("run f.py").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
Traceback (most recent call last):
  File "f.py", line 1, in <module>
    import no_such_module
ModuleNotFoundError: No module named 'no_such_module'

"#]]);
}

#[test]
fn a_syntax_error() {
    let place = place();
    place.file("f.py", "def faasm_main(:\n");
    place.faasm("run f.py").assert().code(3).stdout_eq("").stderr_eq(str![[r#"
  File "f.py", line 1
    def faasm_main(:
                   ^
SyntaxError: invalid syntax

"#]]);
}

#[test]
fn no_result() {
    let place = place();
    place.file("f.py", "def faasm_main(): return 1.5\n");
    place.faasm("run f.py").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
error: the entry point returned 'float'; it may return None, an int status, bytes or str

hint: return None, an int as status, or the output as bytes or str

"#]]);
}

#[test]
fn an_infinite_loop() {
    let place = place();
    place.file("f.py", "def faasm_main():\n    while True: pass\n");
    place.faasm("run f.py --timeout 200ms").assert().code(4).stdout_eq("").stderr_eq(str![[r#"
error: the time limit of 0.2 s was reached
Traceback (most recent call last):
  File "f.py", line 2, in faasm_main
    while True: pass
          ^^^^
faasm.TimeLimit: the time limit was reached here

hint: raise the limit with --timeout if the function needs longer

"#]]);
    place.file("f.py", "while True: pass\n");
    place.faasm("run f.py --timeout 200ms").assert().code(4).stdout_eq("").stderr_eq(str![[r#"
error: the time limit of 0.2 s was reached
Traceback (most recent call last):
  File "f.py", line 1, in <module>
    while True: pass
          ^^^^
faasm.TimeLimit: the time limit was reached here

hint: raise the limit with --timeout if the function needs longer

"#]]);
}

#[test]
fn unbounded_memory() {
    let place = place();
    place.file("f.py", "def faasm_main():\n    x = []\n    while True: x.append(bytes(1 << 20))\n");
    let assert = place.faasm("run f.py --memory 128MiB").assert().code(4).stdout_eq("");
    let text = stderr(&assert);
    assert!(text.starts_with("error: the memory limit of 128 MiB was reached"), "{text}");
    assert!(text.contains("hint: raise the limit with --memory"), "{text}");
}

#[test]
fn a_flood_of_output() {
    let place = place();
    for body in ["while True: print('x' * 1000)", "return b'x' * (2 << 20)"] {
        place.file("f.py", format!("def faasm_main():\n    {body}\n"));
        let assert = place.faasm("run f.py --output 1MiB").assert().code(4);
        let text = stderr(&assert);
        assert!(text.contains("error: the output limit of 1 MiB was reached"), "{text}");
        assert!(stdout(&assert).len() <= 1 << 20);
    }
}

#[test]
fn results_as_json() {
    let place = place();
    place.file("f.py", "def faasm_main(data):\n    print('out')\n    return data\n");
    let returned = &json(&place.faasm("run f.py --message-format json --data x").assert().success())[0];
    assert_eq!(returned["reason"], "call-returned");
    assert_eq!(
        (&returned["status"], &returned["output"], &returned["stdout"]),
        (&0.into(), &"x".into(), &"out\n".into())
    );
    assert!(
        returned["usage"]["wall_time_seconds"].is_number() && returned["usage"]["memory_bytes"].is_number()
    );

    let binary =
        &json(&place.faasm("run f.py --message-format json").stdin(vec![0xff]).assert().success())[0];
    assert_eq!(binary["output"]["base64"], "/w==");

    place.file("f.py", "def faasm_main(): 1 / 0\n");
    let assert = place.faasm("run f.py --message-format json").assert().code(1).stderr_eq("");
    let failed = &json(&assert)[0];
    assert_eq!((&failed["reason"], &failed["error"]["kind"]), (&"call-failed".into(), &"exception".into()));
    assert!(failed["error"]["message"].as_str().unwrap().contains("ZeroDivisionError"));
}

#[test]
fn functions_of_a_store_share_state_and_find_each_other() {
    let place = place();
    place.file("echo.py", ECHO);
    place.faasm("upload python echo").assert().success();
    for name in ["state_write", "state_read"] {
        place.file(&format!("{name}.py"), faasm_tests::function_source(name));
        place.faasm(&format!("upload python {name} {name}.py")).assert().success();
    }
    place.file(
        "chain.py",
        "import faasm\ndef faasm_main(data): return faasm.chain('echo', data).output() * 2\n",
    );
    place.faasm("upload python chain chain.py").assert().success();
    place.faasm("invoke python state_write --data ''").assert().success();
    place.faasm("invoke python state_read --data ''").assert().success().stdout_eq("0199956789");
    place.faasm("invoke python chain --data hello").assert().success().stdout_eq("hellohello");
}

#[test]
fn from_upload_to_invoke() {
    let place = place();
    place.file("echo.py", ECHO);
    place.faasm("upload python echo").assert().success().stdout_eq("").stderr_eq(str![[r#"
    Uploaded python/echo (34 B)

"#]]);
    place.faasm("upload python late -").stdin("def faasm_main(): return 'late'").assert().success();
    place.faasm("invoke python echo --data hello").assert().success().stdout_eq("hello");
    place.faasm("invoke python late").assert().success().stdout_eq("late");
    place.faasm("list").assert().success().stdout_eq(str![[r#"
USER    FUNCTION  KIND    SIZE  UPLOADED
python  echo      module  34 B  just now
python  late      module  31 B  just now

"#]]);

    // An upload that fails leaves what was there.
    place.file("echo.py", "import no_such_module\n");
    place.faasm("upload python echo").assert().code(1).stdout_eq("").stderr_eq(str![[r#"
Traceback (most recent call last):
  File "echo.py", line 1, in <module>
    import no_such_module
ModuleNotFoundError: No module named 'no_such_module'
error: python/echo was not uploaded, because it cannot be loaded

"#]]);
    place.file("echo.py", "def\n");
    place.faasm("upload python echo").assert().code(3).stdout_eq("");
    place.faasm("invoke python echo --data hello").assert().success().stdout_eq("hello");

    let functions = json(&place.faasm("list --message-format json").assert().success());
    let names: Vec<&Value> = functions.iter().map(|it| &it["function"]).collect();
    assert_eq!(names, ["echo", "late"]);
}

#[test]
fn packages_and_shared_files() {
    let place = place();
    fs::create_dir_all(place.path().join("project/data")).unwrap();
    place.file("project/data/word.txt", "word");
    place.file("project/helper.py", "def read(): return open('/function/data/word.txt').read()\n");
    place.file("project/main.py", "import helper\ndef faasm_main(): return helper.read()\n");
    place.faasm("run project").assert().success().stdout_eq("word").stderr_eq("");
    place.faasm("upload python project project").assert().success();
    place.faasm("invoke python project").assert().success().stdout_eq("word");
    let listed = json(&place.faasm("list --message-format json").assert().success());
    assert_eq!((&listed[0]["function"], &listed[0]["package"]), (&"project".into(), &true.into()));
    // Shared files stay in the store.
    place.file("count.py", "import os\ndef faasm_main():\n    with open('/shared/f', 'ab') as f: f.write(b'x')\n    return str(os.path.getsize('/shared/f'))\n");
    place.faasm("upload python count").assert().success();
    place.faasm("invoke python count").assert().success().stdout_eq("1");
    place.faasm("invoke python count").assert().success().stdout_eq("2");

    fs::rename(place.path().join("project/main.py"), place.path().join("project/other.py")).unwrap();
    place.faasm("run project").assert().code(3).stderr_eq(str![[r#"
error: failed to load python/project
  caused by: find the module of the package: there is no `main.py` and no `__init__.py` in project/

hint: put the entry point into `main.py` at the top of the folder or archive, or in its only folder

"#]]);
}

#[test]
fn the_runtime_is_uploaded_as_py_func() {
    let place = place();
    let uploaded = json(&place.faasm("upload python py_func --message-format json").assert().success());
    assert_eq!(
        (&uploaded[0]["reason"], &uploaded[0]["python"]),
        (&"runtime-uploaded".into(), &"3.13.5".into())
    );
    place.file("echo.py", ECHO);
    place.faasm("upload python echo").assert().success();
    // Without a cache there is only the runtime in the store to run on.
    let empty = place.path().join("cache");
    place
        .faasm("invoke python echo --offline --data x")
        .env("FAASM_CACHE", empty)
        .assert()
        .success()
        .stdout_eq("x");
    let listed = json(&place.faasm("list --message-format json").assert().success());
    assert_eq!(listed[1]["sha256"], uploaded[0]["sha256"]);

    // A damaged image is not taken.
    let copy = place.path().join("copy");
    copy_tree(uploaded[0]["directory"].as_str().unwrap().as_ref(), &copy);
    let base = copy.join("base.mem");
    let mut bytes = fs::read(&base).unwrap();
    bytes[5000] ^= 1;
    fs::remove_file(&base).unwrap();
    fs::write(&base, bytes).unwrap();
    let manifest = copy.join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text + " ").unwrap();
    let assert = place.faasm("upload python py_func copy").assert().code(5);
    assert!(stderr(&assert).contains("base.mem"), "{}", stderr(&assert));
    assert_eq!(json(&place.faasm("list --message-format json").assert().success()), listed);
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_tree(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn the_interpreter() {
    let place = place();
    place.faasm("python -c print(6*7)").assert().success().stdout_eq("42\n").stderr_eq("");
    place.faasm("python -- -c raise(SystemExit(3))").assert().code(3).stdout_eq("").stderr_eq("");
    place
        .faasm("python")
        .stdin("print('from standard input')")
        .assert()
        .success()
        .stdout_eq("from standard input\n");
    place.file("script.py", "import sys\nprint(sys.argv, open('data').read())\n");
    place.file("data", "content");
    place.faasm("python script.py -v x").assert().success().stdout_eq("['script.py', '-v', 'x'] content\n");
}

/// How much a file has is not known to who reads all of it.
#[test]
fn the_interpreter_asks_for_more_than_a_file_has() {
    let place = place();
    place.file("data", "content");
    place
        .faasm("python -c")
        .arg("import os; print(os.read(os.open('data', os.O_RDONLY), 160 << 20))")
        .assert()
        .success()
        .stdout_eq("b'content'\n");
}

#[test]
fn what_the_interpreter_may_change() {
    let place = place();
    fs::create_dir(place.path().join("granted")).unwrap();
    place.file("try.py", "import sys\ntry:\n    open(sys.argv[1], 'x').write('new')\nexcept OSError as e: print(type(e).__name__)\n");
    let granted = "python --dir granted --dir granted:/data";
    for (path, changed) in [
        ("granted/one", true),
        ("/data/two", true),
        ("/tmp/three", true),
        ("four", false),
        ("/lib/five", false),
    ] {
        let assert = place.faasm(&format!("{granted} try.py {path}")).assert().success();
        assert_eq!(
            stdout(&assert).is_empty(),
            changed,
            "{path}: {}",
            String::from_utf8_lossy(stdout(&assert))
        );
    }
    assert_eq!(fs::read_dir(place.path().join("granted")).unwrap().count(), 2);
    assert!(!place.path().join("four").exists());
    let assert = place
        .faasm("python -c")
        .arg("import os, tempfile; print(tempfile.gettempdir(), os.listdir('/tmp'))")
        .assert();
    assert.success().stdout_eq("/tmp []\n");
}

/// Descriptors of one file have one offset, and what several name stays open until the last is closed.
#[test]
fn descriptors_of_the_interpreter() {
    let place = place();
    place.file(
        "descriptors.py",
        r#"
import os, sys

first = os.open("/tmp/file", os.O_RDWR | os.O_CREAT)
second = os.dup(first)
os.write(first, b"one ")
os.close(first)
os.write(second, b"two")
assert os.open("/tmp/file", os.O_RDONLY) == first
assert os.dup2(second, first) == first
os.lseek(first, 0, os.SEEK_SET)
assert os.read(second, 4) == b"one "
os.close(first)
assert os.read(second, 4) == b"two"
os.ftruncate(second, 0)
os.lseek(second, 0, os.SEEK_SET)
for wrong in (lambda: os.dup(first), lambda: os.dup2(second, 1 << 20), lambda: os.close(first)):
    try:
        wrong()
    except OSError:
        continue
    raise AssertionError("a descriptor that is not open was taken")

# Standard output goes to the file, and back to where it went before.
kept = os.dup(1)
os.dup2(second, 1)
os.write(1, b"to the file")
os.dup2(kept, 1)
os.close(kept)
os.write(1, b"to standard output, ")
os.lseek(second, 0, os.SEEK_SET)
print(os.read(second, 100).decode())
"#,
    );
    place.faasm("python descriptors.py").assert().success().stdout_eq("to standard output, to the file\n");
}

#[test]
fn variables_of_the_interpreter() {
    let place = place();
    let program =
        "import os; print(os.environ.get('GIVEN'), os.environ.get('PASSED'), os.environ.get('HOME'))";
    let command = place.faasm("python --env GIVEN=a=b --env PASSED -c").arg(program).env("PASSED", "on");
    command.assert().success().stdout_eq("a=b on None\n");
    place.faasm("python --env NO_SUCH_VARIABLE -c 0").assert().code(3).stderr_eq(str![[r#"
error: the environment variable NO_SUCH_VARIABLE cannot be passed on
  caused by: environment variable not found

hint: give it a value: --env NO_SUCH_VARIABLE=VALUE

"#]]);
}

#[test]
fn the_default_image() {
    let place = place();
    let assert = place.faasm("build --quiet").assert().success().stderr_eq("");
    let directory = std::str::from_utf8(stdout(&assert)).unwrap().trim_end().to_owned();
    let built = json(&place.faasm("build --quiet --message-format json").assert().success());
    let built = built.last().unwrap();
    assert_eq!(
        (&built["reason"], &built["python"], &built["directory"]),
        (&"image-built".into(), &"3.13.5".into(), &directory.as_str().into())
    );
    for file in ["wasm", "code", "boot", "base"] {
        let path = built["files"][file]["path"].as_str().unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), built["files"][file]["bytes"], "{file}");
    }
    let checks =
        json(&place.faasm("doctor --message-format json --image").arg(&directory).assert().success());
    let verdict = checks.iter().find(|it| it["name"] == "image").unwrap();
    assert_eq!(verdict["verdict"], "ok", "{verdict}");
}

#[test]
fn code_for_another_processor() {
    let place = place();
    let generated = json(
        &place
            .faasm("codegen --target aarch64-unknown-linux-gnu --out code --message-format json")
            .assert()
            .success(),
    );
    let code = fs::read(place.path().join("code")).unwrap();
    assert_eq!(generated[0]["bytes"], code.len());
    assert_eq!(&code[..4], b"\x7fELF");
    // e_machine of an ELF file; 183 is EM_AARCH64.
    assert_eq!(code[18], 183);
    if cfg!(not(target_arch = "aarch64")) {
        let refused = faasm_image::Code::load(&place.path().join("code")).err().unwrap();
        assert!(matches!(refused, faasm_image::Error::Load { .. }), "{refused}");
    }
}

#[test]
fn a_truncated_image() {
    let place = place();
    let assert = place.faasm("build --quiet").assert().success();
    let copy = place.path().join("copy");
    copy_tree(std::str::from_utf8(stdout(&assert)).unwrap().trim_end().as_ref(), &copy);
    place.file("f.py", ECHO);
    place.faasm("run f.py --image copy --data x").assert().success().stdout_eq("x");
    let base = fs::read(copy.join("base.mem")).unwrap();
    fs::remove_file(copy.join("base.mem")).unwrap();
    fs::write(copy.join("base.mem"), &base[..base.len() / 2]).unwrap();
    let assert = place.faasm("run f.py --image copy --data x").assert().code(5).stdout_eq("");
    let text = stderr(&assert);
    assert!(text.contains("base.mem") && text.contains("hint: run `cargo faasm build` again"), "{text}");
}
