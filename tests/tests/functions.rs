//! Python functions of all kinds, each loaded and called through the public API of `py_func` with a known result.

use std::fs;
use std::path::Path;

use faasm_tests::{call, function_source, image, limits, load, run, run_failure, runtime, text};
use py_func::{CallError, Function, Runtime};

/// Loads `tests/functions/<name>.py`.
#[track_caller]
fn function(runtime: &Runtime, name: &str) -> Function {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions").join(format!("{name}.py"));
    load(runtime, &fs::read_to_string(path).unwrap())
}

/// A function that says what it is, with an entry of each kind that Python has.
const ENTRIES: &str = r#"
import functools

def faasm_main(): return "default"
def required(data): return data
def optional(data=b"nothing"): return data
def keyword(*, data=b"keyword only"): return data
def variable(*arguments): return b"|".join(arguments)
def named(**options): return repr(options)
def second(data, more="more"): return data + more.encode()

class Handler:
    def __init__(self, greeting="Hello "): self.greeting = greeting.encode() if isinstance(greeting, str) else greeting
    def method(self, data): return self.greeting + data
    def plain(self): return self.greeting
    @classmethod
    def class_method(cls, data): return cls.__name__.encode() + data
    @staticmethod
    def static_method(data): return data * 2
    def __call__(self, data): return b"called " + data

handler = Handler()
method, plain, class_method, static_method = handler.method, handler.plain, Handler.class_method, Handler.static_method
partial = functools.partial(second, more="!")
partial_full = functools.partial(required, b"bound")

@functools.wraps(required)
def wrapper(*arguments): return b"wrapped " + required(*arguments)

@functools.lru_cache
def cached(data): return b"cached " + data

as_lambda = lambda data: data.upper()
builtin = bytes.upper
not_callable = 5
"#;

#[test]
fn inputs_of_any_size_can_be_read_again() {
    let runtime = limits().build().unwrap();
    let source = "import faasm\ndef faasm_main(data): return str([len(data), faasm.input() == faasm.input() == data])\n";
    let function = load(&runtime, source);
    for size in [0, 1, (1 << 20) - 1, 1 << 20, 3 << 20] {
        let input: Vec<u8> = (0..size).map(|at| (at / 1000) as u8).collect();
        assert_eq!(text(&function.call(input).wait().unwrap().output), format!("[{size}, True]"));
    }
    // What is there while a module is imported, however large, is no call's input.
    let source = format!("import faasm\nfaasm.input()\n{}\n{source}", "#".repeat(2 << 20));
    let function = load(&runtime, &source);
    assert_eq!(text(&function.call("x").wait().unwrap().output), "[1, True]");
}

#[test]
fn hello_greets_and_prints_the_version() {
    let hello = function(&runtime(), "hello");
    for (input, greeting) in [("", "Hello, world!"), ("Jörg", "Hello, Jörg!")] {
        let output = call(&hello, input.as_bytes());
        assert_eq!(text(&output.output), greeting);
        assert!(text(&output.stdout).starts_with("Python 3.13.5 ("), "{output:?}");
        assert_eq!(text(&output.stderr), "on wasi\n");
        assert_eq!(output.status, 0);
    }
}

#[test]
fn noop_leaves_nothing() {
    let output = call(&function(&runtime(), "noop"), b"input that nobody asks for");
    assert_eq!((output.status, output.output, output.stdout, output.stderr), (0, vec![], vec![], vec![]));
}

#[test]
fn echo_gives_back_every_byte() {
    let echo = function(&runtime(), "echo");
    let all: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    for input in [&b""[..], b"\0", b"text", "ünï\u{1f600}".as_bytes(), b"\xff\xfe\0\n", &all] {
        assert!(call(&echo, input).output == input, "{} bytes came back changed", input.len());
    }
}

#[test]
fn cases() {
    // The compressor of lzma alone takes 94 MiB.
    let runtime = limits().memory_limit(256 << 20).build().unwrap();
    let cases = [
        ("lang_test", "large square 11; shape 2; shape 1; n with 1; 1..3; singleton; other"),
        ("stdlib_test", "15 checks"),
        ("pyc_check", "all from byte code"),
        ("deltablue", "19 224775"),
    ];
    for (name, expected) in cases {
        assert_eq!(text(&call(&function(&runtime, name), b"").output), expected, "{name}");
    }
}

#[test]
fn the_interpreter_collects_garbage_of_every_type() {
    let source = String::from_utf8(function_source("stdlib_test")).unwrap();
    let script = format!("{source}\ncheck_garbage()");
    assert_eq!(runtime().interpreter().arguments(["-c", script.as_str()]).run().unwrap().unwrap(), 0);
}

#[test]
fn unicode_goes_in_and_out() {
    let output = call(&function(&runtime(), "unicode_test"), "naïve é 日本 \u{1f600}".as_bytes());
    assert_eq!(text(&output.output), "21 bytes, 12 characters, 2 marks: \u{1f600} 本日 é evïan");
    assert_eq!(text(&output.stdout), "naïve é 日本 \u{1f600}\n");
}

#[test]
fn directories_list_what_the_image_has() {
    let list = function(&runtime(), "dir_test");
    // The library is longer than one buffer of directory entries.
    for directory in ["", "lib", "lib/python3.13", "lib/python3.13/json", "lib/python3.13/encodings"] {
        let host = image().join("root").join(directory);
        let mut expected: Vec<String> =
            fs::read_dir(&host).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
        expected.sort();
        let output = call(&list, format!("/{directory}").as_bytes()).output;
        // The sandbox may have directories of its own beside those of the image.
        let mut seen: Vec<&str> = text(&output).lines().collect();
        if directory.is_empty() {
            seen.retain(|name| !["dev", "tmp"].contains(name));
        }
        assert_eq!(seen, expected, "/{directory}");
    }
    assert!(fs::read_dir(image().join("root/lib/python3.13")).unwrap().count() > 150);
}

#[test]
fn hashes_and_orders_are_those_of_the_image() {
    let runtime = runtime();
    let first = function(&runtime, "hash_check");
    let seen = call(&first, b"").output;
    assert_eq!(call(&first, b"").output, seen);
    // All functions of an image share its seed; loading again changes nothing.
    assert_eq!(call(&function(&runtime, "hash_check"), b"").output, seen);
}

#[test]
fn pickles_go_from_call_to_call() {
    let runtime = runtime();
    let pickle = function(&runtime, "pickle_check");
    let data = pickle.call("").entry("dump").wait().unwrap().output;
    let again = function(&runtime, "pickle_check").call(data).entry("load").wait().unwrap();
    assert_eq!(text(&again.output), "the same");
}

#[test]
fn nothing_of_the_host_is_seen() {
    let output = call(&function(&runtime(), "env_check"), b"").output;
    let seen: serde_json::Value = serde_json::from_slice(&output).unwrap();
    let root = seen["root"].as_array().unwrap();
    assert!(root.contains(&"lib".into()), "{root:?}");
    assert!(
        root.iter().all(|name| ["bin", "dev", "lib", "tmp"].iter().any(|known| name == known)),
        "{root:?}"
    );
    assert_eq!(seen["cwd"], "/");
    assert_eq!(seen["environment"], serde_json::json!({}));
    assert_eq!(seen["stdin"].as_str().unwrap_or(""), "");
    assert_eq!(seen["flags"], serde_json::json!([1, 1, 1]));
    assert_eq!(seen["implementation"], serde_json::json!(["cpython", "wasi", i32::MAX, "little"]));
    assert_eq!(seen["write_bytecode"], false);
    for path in seen["path"].as_array().unwrap() {
        let path = path.as_str().unwrap();
        assert!(path.starts_with("/lib/python3"), "{path} is on the path");
    }
    // No path, name or variable of this process is anywhere in what the function saw.
    for host in [env!("CARGO_MANIFEST_DIR"), &std::env::var("HOME").unwrap_or_else(|_| "/home".to_owned())] {
        assert!(!text(&output).contains(host), "{host} in {}", text(&output));
    }
}

#[test]
fn results_of_every_kind() {
    let runtime = runtime();
    let cases: [(&str, i32, &[u8]); 16] = [
        ("pass", 0, b""),
        ("return None", 0, b""),
        ("return 0", 0, b""),
        ("return 7", 7, b""),
        ("return -1", -1, b""),
        ("return 2**31 - 1", i32::MAX, b""),
        ("return -2**31", i32::MIN, b""),
        ("return b''", 0, b""),
        ("return b'\\0\\xff'", 0, b"\0\xff"),
        ("return bytearray(b'array')", 0, b"array"),
        ("return memoryview(b'view')[1:]", 0, b"iew"),
        ("return ''", 0, b""),
        ("return 'text \\u00fc'", 0, "text ü".as_bytes()),
        ("import faasm; faasm.output(b'one'); faasm.output('two')", 0, b"two"),
        ("import faasm; faasm.output(b'output'); return 3", 3, b"output"),
        ("import faasm; faasm.output(b'output'); return 'result'", 0, b"result"),
    ];
    for (body, status, expected) in cases {
        let output = call(&load(&runtime, &format!("def faasm_main():\n    {body}\n")), b"");
        assert_eq!((output.status, &*output.output), (status, expected), "{body}");
    }
}

#[test]
fn what_is_no_result_is_named() {
    let runtime = runtime();
    let cases = [
        ("1.5", "'float'"),
        ("True", "'bool'"),
        ("[1]", "'list'"),
        ("{}", "'dict'"),
        ("object()", "'object'"),
        ("(x for x in ())", "'generator'"),
        ("__import__('decimal').Decimal(1)", "'Decimal'"),
        ("2**31", "2147483648"),
        ("-2**31 - 1", "-2147483649"),
    ];
    for (expression, name) in cases {
        let failure = run_failure(&runtime, &format!("def faasm_main(): return {expression}\n"));
        let CallError::Result { text } = &failure.error else { panic!("{expression}: {failure}") };
        assert!(text.contains(name), "{expression}: {text}");
        assert!(failure.error.hint().unwrap().starts_with("return None, an int as status"));
    }
    // Text that is no Unicode has no bytes.
    let failure = run_failure(&runtime, r"def faasm_main(): return '\ud800'");
    assert!(failure.to_string().contains("UnicodeEncodeError"), "{failure}");
}

#[test]
fn a_status_of_thousands_of_digits_is_no_result() {
    // Python refuses to write such a number, which must not become the error.
    let failure = run_failure(&runtime(), "def faasm_main(): return 10**5000\n");
    assert!(matches!(failure.error, CallError::Result { .. }), "{failure}");
}

#[test]
fn entries_of_every_kind() {
    let entries = load(&runtime(), ENTRIES);
    let cases = [
        ("faasm_main", "default"),
        ("required", "in"),
        ("optional", "in"),
        ("keyword", "keyword only"),
        ("variable", "in"),
        ("named", "{}"),
        ("second", "inmore"),
        ("method", "Hello in"),
        ("plain", "Hello "),
        ("class_method", "Handlerin"),
        ("static_method", "inin"),
        ("handler", "called in"),
        ("partial", "in!"),
        ("partial_full", "bound"),
        ("wrapper", "wrapped in"),
        ("cached", "cached in"),
        ("as_lambda", "IN"),
        ("builtin", "IN"),
    ];
    for (entry, expected) in cases {
        let output = entries.call("in").entry(entry).wait();
        match output {
            Ok(output) => assert_eq!(text(&output.output), expected, "{entry}"),
            Err(failure) => panic!("{entry}: {failure}"),
        }
    }
    // No name is the default one, and a class is called like anything else; an instance is no result.
    assert_eq!(text(&call(&entries, b"in").output), "default");
    let failure = entries.call("in").entry("Handler").wait().unwrap_err();
    assert!(matches!(&failure.error, CallError::Result { text } if text.contains("'Handler'")), "{failure}");
}

#[test]
fn the_default_entry_can_be_another_one() {
    let runtime = runtime();
    for (entry, expected) in [("required", "in"), ("cached", "cached in"), ("method", "Hello in")] {
        let function = runtime.function("python", "f").source(ENTRIES).entry(entry).load().unwrap();
        assert_eq!(text(&call(&function, b"in").output), expected);
        assert_eq!(text(&function.call("in").entry("optional").wait().unwrap().output), "in");
    }
}

#[test]
fn functions_may_be_called_as_modules_are() {
    let runtime = runtime();
    for name in ["json", "sys", "faasm", "_faasm", "os", "__main__", "re", "a.b-c", "0", "None"] {
        let source = "import json, os, re, sys\nimport faasm\ndef faasm_main(data): return json.dumps([os.sep, re.escape('.'), data.decode()])";
        let function = runtime.function("python", name).source(source).load().unwrap();
        assert_eq!(text(&call(&function, b"x").output), r#"["/", "\\.", "x"]"#, "{name}");
    }
}

#[test]
fn sources_may_be_encoded_and_end_anyhow() {
    let runtime = runtime();
    let cases: [(&[u8], &str); 7] = [
        (b"def faasm_main(): return 'plain'", "plain"),
        (b"\xef\xbb\xbfdef faasm_main(): return 'mark'\n", "mark"),
        (b"# coding: latin-1\ndef faasm_main(): return '\xfc'\n", "ü"),
        (b"def faasm_main():\r\n\treturn 'carriage'\r\n", "carriage"),
        ("def faasm_main(): return 'ü\u{1f600}'".as_bytes(), "ü\u{1f600}"),
        (b"def faasm_main(): return 'spaces'\n\n   \n#", "spaces"),
        (b"def faasm_main(): return __name__ + ' ' + __file__", "f f.py"),
    ];
    for (source, expected) in cases {
        let function = runtime.function("python", "f").source(source).load().unwrap();
        assert_eq!(text(&call(&function, b"").output), expected);
    }
}

#[test]
fn the_guest_api_takes_what_it_documents() {
    let source = r#"
import array
import faasm

def faasm_main():
    assert faasm.input() == faasm.input() == b"in"
    for data in (bytearray(b"x"), memoryview(b"xyz")[::1], "ü", b""):
        faasm.output(data)
    for wrong in (None, 5, ["x"], memoryview(b"xyz")[::2]):
        try:
            faasm.output(wrong)
        except (TypeError, BufferError):
            continue
        raise AssertionError(f"{wrong!r} was taken")
    assert set(faasm.__all__) >= {"input", "output", "on_restore"}
    return "done"
"#;
    assert_eq!(text(&call(&load(&runtime(), source), b"in").output), "done");
}

#[test]
fn bytes_written_to_the_streams_arrive_unchanged() {
    let source = r#"
import sys
def faasm_main():
    sys.stdout.buffer.write(bytes(range(256)))
    sys.stdout.write("text without end")
    print("\udc80", file=sys.stderr)
    return sys.stdout.encoding + sys.stderr.errors
"#;
    let output = call(&load(&runtime(), source), b"");
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(output.stdout, [&all[..], b"text without end"].concat());
    assert_eq!(output.stderr, b"\\udc80\n");
    assert_eq!(text(&output.output), "utf-8backslashreplace");
}

#[test]
fn statuses_of_sys_exit() {
    let runtime = runtime();
    let cases = [
        ("sys.exit()", 0, ""),
        ("sys.exit(None)", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit(-1)", -1, ""),
        ("sys.exit(2**40)", 1, ""),
        ("sys.exit('a message')", 1, "a message\n"),
        ("sys.exit((1, 2))", 1, "(1, 2)\n"),
        ("raise SystemExit", 0, ""),
        ("raise SystemExit(4)", 4, ""),
    ];
    for (statement, status, stderr) in cases {
        let source = format!("import sys\ndef faasm_main():\n    print('before')\n    {statement}\n");
        let output = call(&load(&runtime, &source), b"");
        assert_eq!((output.status, text(&output.stderr)), (status, stderr), "{statement}");
        assert_eq!(text(&output.stdout), "before\n", "{statement}");
    }
}

#[test]
fn tracebacks_name_the_users_file_and_line() {
    let runtime = runtime();
    let source = "def faasm_main():\n    inner()\n\ndef inner():\n    raise ValueError('ü', 1)\n";
    let function = runtime.function("python", "f").file("dir/my file.py").source(source).load().unwrap();
    let failure = function.call("").wait().unwrap_err();
    let CallError::Exception { traceback } = &failure.error else { panic!("{failure}") };
    assert_eq!(
        traceback,
        "Traceback (most recent call last):\n  File \"dir/my file.py\", line 2, in faasm_main\n    inner()\n    ~~~~~^^\n  \
         File \"dir/my file.py\", line 5, in inner\n    raise ValueError('ü', 1)\nValueError: ('ü', 1)\n"
    );
}

#[test]
fn private_files_can_be_written_where_they_may() {
    let source = r#"
import os, tempfile
def faasm_main():
    problems = []
    for path in ("/lib/python3.13/os.py", "/lib/new", "/new", "/lib/python3.13/site-packages/faasm/__init__.py"):
        for action in (lambda: open(path, "w"), lambda: open(path, "ab"), lambda: os.mkdir(path), lambda: os.remove(path)):
            try:
                action()
            except OSError:
                continue
            problems.append(path)
    for path in ("/../etc/passwd", "../../etc/passwd", "/etc/passwd", "/proc/self/environ", "/dev/tty"):
        try:
            open(path).close()
        except OSError:
            continue
        problems.append(path)
    return repr(problems)
"#;
    assert_eq!(run(&runtime(), source), "[]");
}
