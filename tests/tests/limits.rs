//! Functions that misbehave, in every way that could be thought of. Each must end with its limit's name, and the runtime
//! must go on as if nothing had been.

use std::time::{Duration, Instant};

use faasm_tests::{call, limits, load, load_failure, run, run_failure, runtime, text, traceback};
use py_func::{CallError, CallFailure, Error, Runtime};

/// A function that is in the runtime before the bad ones, and must not notice them.
struct Witness {
    runtime: Runtime,
    function: py_func::Function,
}

impl Witness {
    fn new(runtime: Runtime) -> Self {
        let function =
            load(&runtime, "import json\ndef faasm_main(data): return json.dumps(data.decode())\n");
        Self { runtime, function }
    }

    #[track_caller]
    fn check(&self, after: &str) {
        assert_eq!(text(&call(&self.function, b"x").output), "\"x\"", "after {after}");
    }
}

#[test]
fn sources_that_do_not_compile() {
    let runtime = runtime();
    let cases: [(&[u8], &[&str]); 8] = [
        (b"def faasm_main(:\n    pass\n", &["f.py\", line 1", "^", "SyntaxError"]),
        (b"\n\nx = (\n", &["line 3", "'(' was never closed"]),
        (b"if x:\npass\n", &["line 2", "IndentationError"]),
        (b"if x:\n        y\n\tz\n", &["line 3", "TabError"]),
        (b"return 1\n", &["'return' outside function"]),
        (b"x = 'a\0b'\n", &["null bytes"]),
        (b"x = '\xff'\n", &["f.py", "utf-8"]),
        (b"# coding: nonsense\n", &["unknown encoding"]),
    ];
    for (source, expected) in cases {
        match runtime.function("python", "f").source(source).load() {
            Err(Error::Load { source: CallFailure { error: CallError::Syntax { text }, .. }, .. }) => {
                for part in expected {
                    assert!(text.contains(part), "{part:?} is missing in {text}");
                }
            }
            other => panic!("{:?}: {:?}", String::from_utf8_lossy(source), other.err()),
        }
    }
    assert_eq!(run(&runtime, "def faasm_main(): return 'still here'"), "still here");
}

#[test]
fn sources_too_deep_to_compile() {
    let runtime = runtime();
    for source in [
        format!("x = {}1{}\n", "(".repeat(5000), ")".repeat(5000)),
        format!("x = {}1{}\n", "[".repeat(150), "]".repeat(150)),
        format!("x = {}1\n", "-".repeat(100_000)),
        format!("x = a{}\n", ".a".repeat(100_000)),
        format!("x = {}1\n", "1+".repeat(100_000)),
    ] {
        let failure = load_failure(&runtime, &source);
        let text = failure.to_string();
        assert!(
            matches!(
                failure.error,
                CallError::Syntax { .. } | CallError::Exception { .. } | CallError::StackLimit
            ),
            "{text}"
        );
        // The user's mistake, in the user's words: no frame of this project, and nothing about a traceback that failed.
        for part in ["_guest.py", "could not be made"] {
            assert!(
                !text.contains(part) && failure.stderr.is_empty(),
                "{text}\n{}",
                String::from_utf8_lossy(&failure.stderr)
            );
        }
    }
}

#[test]
fn modules_that_cannot_be_imported() {
    let runtime = runtime();
    let cases = [
        ("import nope\n", "ModuleNotFoundError: No module named 'nope'"),
        ("from json import nope\n", "ImportError: cannot import name 'nope' from 'json'"),
        ("print('before')\n1 / 0\n", "ZeroDivisionError"),
        ("import _ssl\n", "ModuleNotFoundError"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("import sys\nsys.exit('not at load')\n", "SystemExit: not at load"),
    ];
    for (source, expected) in cases {
        let failure = load_failure(&runtime, source);
        assert!(traceback(&failure).contains(expected), "{source}: {failure}");
        let line = source.lines().count();
        assert!(
            traceback(&failure).contains(&format!("File \"f.py\", line {line}, in <module>")),
            "{failure}"
        );
    }
    assert_eq!(load_failure(&runtime, "print('before')\n1 / 0\n").stdout, b"before\n");
}

#[test]
fn entries_that_are_missing() {
    let runtime = runtime();
    let cases = [
        (
            "def other(): pass\ndef _hidden(): pass\nclass C: pass\n",
            None,
            "f.py has no function 'faasm_main'; it has other",
        ),
        ("", None, "f.py has no function 'faasm_main', and no other"),
        ("faasm_main = 5\n", None, "no function 'faasm_main'"),
        ("def faasm_main(): pass\n", Some("nope"), "f.py has no function 'nope'; it has faasm_main"),
        ("def faasm_main(): pass\n", Some("ü.x y\n"), "has no function"),
        ("import json\ndef faasm_main(): pass\n", Some("json.dumps"), "has no function 'json.dumps'"),
    ];
    for (source, entry, expected) in cases {
        let function = load(&runtime, source);
        let mut request = function.call("");
        if let Some(entry) = entry {
            request = request.entry(entry);
        }
        let failure = request.wait().unwrap_err();
        assert!(matches!(&failure.error, CallError::Entry { text } if text.contains(expected)), "{failure}");
        assert!(failure.error.hint().unwrap().contains("faasm_main"));
    }
    // The name of an entry is input, too: a long one is no fault of the sandbox.
    let long =
        load(&runtime, "def faasm_main(): pass\n").call("").entry("x".repeat(1 << 20)).wait().unwrap_err();
    assert!(matches!(long.error, CallError::Entry { .. }), "{long}");
}

#[test]
fn loops_without_end() {
    let witness = Witness::new(runtime());
    let limit = Duration::from_millis(200);
    let mut problems = Vec::new();
    let bodies = [
        "while True: pass",
        "while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        "for _ in iter(int, 1): pass",
        "import itertools; sum(itertools.repeat(1))",
        "import itertools, collections; collections.deque(itertools.count(), maxlen=0)",
        "pow(3, 10**8)",
        "import sys; sys.set_int_max_str_digits(0); str(1 << 5 * 10**7)",
        "import re; re.match(r'(a+)+$', 'a' * 60 + 'b')",
        "import re; re.match(r'(a|aa)+$', 'a' * 80 + 'b')",
        "sorted(range(10**5), key=lambda x: sum(range(10**5)))",
        "import hashlib\n    while True: hashlib.sha256(bytes(1 << 20))",
        "import zlib\n    data = bytes(1 << 20)\n    while True: zlib.compress(data, 9)",
        "import decimal; decimal.getcontext().prec = 10**6; decimal.Decimal(2).sqrt()",
        "import json; json.loads('[' * 50) if 0 else [json.dumps(list(range(1000))) for _ in iter(int, 1)]",
        "import sqlite3; sqlite3.connect(':memory:').execute('with recursive t(n) as (select 1 union all select n + 1 from t) select max(n) from t').fetchone()",
        "class A:\n        def __del__(self): A()\n    A()\n    while True: pass",
        "exec('while 1: pass')",
        "import time; time.sleep(1000)",
        "import time\n    while True: time.sleep(0.01)",
        "import time\n    while True:\n        try: time.sleep(1000)\n        except BaseException: pass",
        "import select; select.select([], [], [], 1000)",
        "import threading; threading.Event().wait(1000)",
        "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire(timeout=1000)",
        "import faasm\n    while True: faasm.output(b'x')",
        "import os\n    while True: os.listdir('/')",
        "import os\n    while True: os.urandom(100)",
    ];
    for body in bodies {
        let function = load(&witness.runtime, &format!("def faasm_main():\n    {body}\n"));
        let started = Instant::now();
        match function.call("").timeout(limit).wait() {
            Err(failure) if matches!(failure.error, CallError::TimeLimit { limit: it, .. } if it == limit) => {
                assert!(failure.to_string().starts_with("the time limit of 0.2 s was reached"), "{failure}");
                assert!(failure.error.hint().unwrap().contains("--timeout"));
            }
            // Where the sandbox has no such function, an exception is as good an end.
            Err(failure) if body.contains("select.") || body.contains("threading.") => {
                traceback(&failure);
            }
            other => problems.push(format!("{body}: {other:?}")),
        }
        // Far more than the limit and far less than what was asked for.
        assert!(started.elapsed() < Duration::from_secs(20), "{body} took {:?}", started.elapsed());
        witness.check(body);
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_loop_while_loading() {
    let witness = Witness::new(limits().timeout(Duration::from_secs(1)).build().unwrap());
    for source in [
        "print('before', flush=True)\nwhile True: pass\n",
        "print('before', flush=True)\nimport time\ntime.sleep(1000)\n",
    ] {
        let failure = load_failure(&witness.runtime, source);
        assert!(matches!(failure.error, CallError::TimeLimit { .. }), "{failure}");
        assert_eq!(failure.stdout, b"before\n");
        witness.check(source);
    }
}

#[test]
fn a_time_limit_shows_where_the_function_was() {
    let runtime = runtime();
    for (body, line) in [
        ("while True: pass", "while True: pass"),
        ("time.sleep(1000)", "time.sleep(1000)"),
        ("return sum(n for n in itertools.count())", "sum(n for n in itertools.count())"),
    ] {
        let source = format!(
            "import time, itertools\ndef faasm_main():\n    try:\n        {body}\n    finally:\n        print('cleaned up')\n"
        );
        let function = load(&runtime, &source);
        let failure = function.call("").timeout(Duration::from_secs(1)).wait().unwrap_err();
        let CallError::TimeLimit { text, .. } = &failure.error else { panic!("{failure}") };
        assert!(text.contains(r#"File "f.py", line 4, in faasm_main"#) && text.contains(line), "{text}");
        assert!(text.ends_with("faasm.TimeLimit: the time limit was reached here\n"), "{text}");
        assert_eq!(failure.stdout, b"cleaned up\n");
    }
    // What looks at nothing is stopped without a word, and so is what does not heed the exception.
    for body in [
        "2 ** 10**9 % 7",
        "\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
    ] {
        let function = load(&runtime, &format!("def faasm_main():\n    {body}\n"));
        let failure = function.call("").timeout(Duration::from_millis(100)).wait().unwrap_err();
        let CallError::TimeLimit { text, .. } = &failure.error else { panic!("{failure}") };
        assert_eq!(text, "", "{body}");
        assert_eq!(failure.to_string(), "the time limit of 0.1 s was reached");
    }
}

#[test]
fn a_limit_of_nothing() {
    let witness = Witness::new(runtime());
    // A short call may be done before anyone looks at the clock, a long one may not.
    let busy = load(&witness.runtime, "def faasm_main():\n    while True: pass\n");
    let failure = busy.call("").timeout(Duration::ZERO).wait().unwrap_err();
    assert!(matches!(failure.error, CallError::TimeLimit { limit: Duration::ZERO, .. }), "{failure}");
    // As good as none, and no overflow.
    let output = witness.function.call("x").timeout(Duration::MAX).wait().unwrap();
    assert_eq!(output.output, b"\"x\"");
}

#[test]
fn waits_that_end_in_time_are_left_alone() {
    let source = "import time\ndef faasm_main():\n    before = time.monotonic()\n    time.sleep(0.05)\n    return str(time.monotonic() - before >= 0.05)\n";
    assert_eq!(run(&runtime(), source), "True");
}

#[test]
fn memory_without_end() {
    let witness = Witness::new(runtime());
    let bodies = [
        "x = []\n    while True: x.append('a' * 100000)",
        "x = []\n    while True: x.append(None)",
        "x = b'a'\n    while True: x += x",
        "x = {}\n    while True: x[len(x)] = None",
        "x = {0}\n    while True: x.add(len(x))",
        "x = ''\n    while True: x += 'some text'",
        "bytearray(10**9)",
        "'a' * 10**9",
        "[0] * 10**8",
        "1 << (8 * 10**9 // 4)",
        "import zlib; zlib.decompress(zlib.compress(bytes(60 << 20)) * 1, bufsize=1 << 30)",
        "import itertools; list(itertools.product(range(1000), repeat=3))",
        "import io\n    x = io.BytesIO()\n    while True: x.write(bytes(1 << 20))",
        "import array; array.array('d', bytes(8)) * 10**8",
        "f'{1:1000000000}'",
    ];
    for body in bodies {
        let failure = run_failure(&witness.runtime, &format!("def faasm_main():\n    {body}\n"));
        let CallError::MemoryLimit { limit, .. } = &failure.error else { panic!("{body}: {failure}") };
        assert_eq!(*limit, 128 << 20);
        assert!(failure.to_string().starts_with("the memory limit of 128 MiB was reached"), "{failure}");
        assert!(failure.error.hint().unwrap().contains("--memory"));
        assert!(failure.usage.memory <= 128 << 20, "{} bytes", failure.usage.memory);
        witness.check(body);
    }
    // More than a 32-bit size can say is an error before any memory is asked for.
    for body in ["bytearray(10**10)", "'a' * 10**10", "[None] * 2**40", "list(range(10**9))"] {
        let failure = run_failure(&witness.runtime, &format!("def faasm_main():\n    {body}\n"));
        let text = failure.to_string();
        assert!(text.contains("OverflowError") || text.contains("MemoryError"), "{body}: {failure}");
    }
}

#[test]
fn memory_without_end_while_loading() {
    let witness = Witness::new(runtime());
    let failure = load_failure(&witness.runtime, "x = []\nwhile True: x.append('a' * 100000)\n");
    assert!(matches!(failure.error, CallError::MemoryLimit { .. }), "{failure}");
    witness.check("load");
}

#[test]
fn a_container_of_itself_that_grows_without_end() {
    let failure = run_failure(&runtime(), "def faasm_main():\n    x = {}\n    while True: x[len(x)] = x\n");
    assert!(matches!(failure.error, CallError::MemoryLimit { .. }), "{failure}");
}

#[test]
fn a_memory_error_can_be_caught() {
    let source = r#"
import json
def faasm_main():
    count = 0
    for size in (10**9, 10**8 * 2, 2**31 - 1):
        for make in (bytearray, lambda n: "a" * n, lambda n: [0] * n):
            try:
                make(size)
            except MemoryError:
                count += 1
    x = []
    try:
        while True: x.append(bytes(1 << 16))
    except MemoryError:
        reached = len(x)
        x.clear()
    for _ in range(reached - 1): x.append(bytes(1 << 16))
    return json.dumps({"caught": count})
"#;
    assert_eq!(run(&runtime(), source), r#"{"caught": 9}"#);
}

#[test]
fn all_memory_up_to_the_limit_can_be_had() {
    // Of 128 MiB the image takes some twelve.
    let runtime = runtime();
    for (body, expected) in [
        ("return str(len(bytearray(100 << 20)))", 100 << 20),
        ("x = [bytes(1 << 16) for _ in range(1500)]; return str(len(x))", 1500),
    ] {
        assert_eq!(
            run(&runtime, &format!("def faasm_main():\n    {body}\n")),
            expected.to_string(),
            "{body}"
        );
    }
}

#[test]
fn memory_that_was_freed_can_be_had_in_other_sizes() {
    let source = r#"
def faasm_main():
    for size in (1 << 10, 1 << 16, 1 << 20, 1 << 14):
        x = [bytes(size) for _ in range((60 << 20) // size)]
        del x
    return str(len(bytearray(60 << 20)) >> 20)
"#;
    assert_eq!(run(&runtime(), source), "60");
}

#[test]
fn input_larger_than_the_memory() {
    let witness = Witness::new(limits().memory_limit(32 << 20).build().unwrap());
    let echo = load(&witness.runtime, "def faasm_main(data): return str(len(data))\n");
    let failure = echo.call(vec![b'x'; 64 << 20]).wait().unwrap_err();
    assert!(matches!(failure.error, CallError::MemoryLimit { .. }), "{failure}");
    assert_eq!(text(&call(&echo, &vec![b'x'; 8 << 20]).output), "8388608");
    witness.check("much input");
}

#[test]
fn memory_limits_that_cannot_be() {
    // Less than the image itself needs: it says so, and does not fault.
    let error = limits().memory_limit(1 << 20).build().and_then(|runtime| {
        runtime.function("python", "f").source("def faasm_main(): pass").load().map(drop)
    });
    let error = error.unwrap_err();
    let text = faasm_tests::chain(&error);
    assert!(text.contains("limit") && text.contains("1048576"), "{text}");
    // More than there can be is as much as there can be.
    let runtime = limits().memory_limit(usize::MAX).build().unwrap();
    assert_eq!(run(&runtime, "def faasm_main(): return str(len(bytes(600 << 20)))"), "629145600");
}

#[test]
fn floods_of_output() {
    let limit = 1 << 20;
    let witness = Witness::new(limits().output_limit(limit).build().unwrap());
    let bodies = [
        "while True: print('a' * 1000)",
        "while True: print('a' * 1000, file=__import__('sys').stderr)",
        "while True: print('a')",
        "print('a' * (20 << 20))",
        "__import__('os').write(1, b'a' * (2 << 20))",
        "while True: __import__('os').write(2, b'a' * 5000)",
        "import faasm; faasm.output(b'a' * ((1 << 20) + 1))",
        "return b'a' * (2 << 20)",
        "return 'ü' * (1 << 19) + 'a'",
        "raise ValueError('a' * (2 << 20))",
        "try:\n        while True: print('a' * 1000)\n    except BaseException: pass",
        "import faasm\n    try: faasm.output(b'a' * (2 << 20))\n    except BaseException: return 'caught'",
    ];
    for body in bodies {
        let failure = run_failure(&witness.runtime, &format!("def faasm_main():\n    {body}\n"));
        assert_eq!(failure.error, CallError::OutputLimit { limit }, "{body}: {failure}");
        assert_eq!(failure.to_string(), "the output limit of 1 MiB was reached");
        assert!(failure.error.hint().unwrap().contains("--output"));
        assert!(failure.stdout.len() <= limit && failure.stderr.len() <= limit, "{body}");
        witness.check(body);
    }
}

#[test]
fn exactly_as_much_output_as_allowed() {
    let limit = 1 << 20;
    let runtime = limits().output_limit(limit).build().unwrap();
    let source = "import sys\ndef faasm_main(n):\n    n = int(n)\n    sys.stdout.write('o' * n)\n    sys.stderr.write('e' * n)\n    return b'x' * n\n";
    let function = load(&runtime, source);
    for length in [limit - 1, limit] {
        let output = call(&function, length.to_string().as_bytes());
        assert_eq!((output.stdout.len(), output.stderr.len(), output.output.len()), (length, length, length));
    }
    let failure = function.call((limit + 1).to_string()).wait().unwrap_err();
    assert_eq!(failure.error, CallError::OutputLimit { limit });
    assert_eq!(failure.stdout.len(), limit);
}

#[test]
fn recursion_without_end() {
    let witness = Witness::new(runtime());
    let preludes = [
        "def f(): f()\n    f()",
        "f = lambda: f()\n    f()",
        "import sys; sys.setrecursionlimit(10**9)\n    def f(): f()\n    f()",
        "import sys; sys.setrecursionlimit(10**9)\n    def f(x): return [f(x) for _ in x]\n    f([1])",
        "class A:\n        def __repr__(self): return repr(self)\n    repr(A())",
        "class A:\n        def __getattr__(self, name): return getattr(self, name + 'x')\n    A().x",
        "class A:\n        def __eq__(self, other): return other == self\n    A() == A()",
        "class A:\n        __slots__ = ()\n        def __len__(self): return len(self)\n    len(A())",
        "x = []\n    for _ in range(10**6): x = [x]\n    repr(x)",
        "x = []\n    for _ in range(10**6): x = [x]\n    x == [x]\n    import copy; copy.deepcopy(x)",
        "x = ()\n    for _ in range(10**6): x = (x,)\n    hash(x)",
        "x = y = []\n    for _ in range(10**6): x, y = [x], [y]\n    x == y",
        "import json\n    x = []\n    for _ in range(10**6): x = [x]\n    json.dumps(x)",
        "import json; json.loads('[' * 10**6)",
        "import json; json.loads('{\"a\":' * 10**5)",
        "import pickle\n    x = []\n    for _ in range(10**5): x = [x]\n    pickle.dumps(x)",
        "import marshal\n    x = []\n    for _ in range(10**5): x = [x]\n    marshal.dumps(x)",
        "import marshal; marshal.loads(b'(\\x01\\x00\\x00\\x00' * 10**5 + b'N')",
        "import ast; ast.parse('-' * 10**5 + '1')",
        "compile('a' + '.a' * 10**5, '', 'exec')",
        "compile('f' + '()' * 10**5, '', 'exec')",
        "eval('(' * 190 + ')' * 190)",
        "eval('+'.join(['1'] * 10**5))",
        "eval('not ' * 10**5 + '1')",
        "import re; re.compile('(' * 5000 + ')' * 5000)",
        "import re; re.match('(?:a|b)*c', 'ab' * 10**6)",
        "import operator, functools\n    f = int\n    for _ in range(10**5): f = functools.partial(map, f)\n    repr(f)",
        "import itertools\n    x = []\n    for _ in range(10**5): x = itertools.chain(x)\n    next(x)",
        "x = iter(())\n    for _ in range(10**5): x = map(int, x)\n    next(x)",
        "import xml.etree.ElementTree as E; E.tostring(E.fromstring('<a>' * 10**5 + '</a>' * 10**5))",
        "class A: pass\n    x = None\n    for _ in range(10**6):\n        y = A(); y.x = x; x = y\n    del x, y",
        "def g(n):\n        yield from g(n + 1)\n    next(g(0))",
        "import sys\n    def f(): sys.settrace(lambda *a: f())\n    f()\n    f()",
    ];
    for body in preludes {
        let function =
            load(&witness.runtime, &format!("def faasm_main():\n    {body}\n    return 'survived'\n"));
        match function.call("").wait() {
            // Deep data alone is no recursion, and some of these are not as recursive as they look.
            Ok(output) => assert_eq!(output.output, b"survived", "{body}"),
            Err(failure) => {
                let text = failure.to_string();
                let expected = match &failure.error {
                    CallError::StackLimit | CallError::MemoryLimit { .. } => true,
                    CallError::Exception { .. } => {
                        // `SystemError` is how marshal words it, `ValueError` is its and the iterator's.
                        [
                            "RecursionError",
                            "SystemError",
                            "MemoryError",
                            "SyntaxError",
                            "ValueError",
                            "StopIteration",
                            "IndexError",
                            "EOFError",
                            "JSONDecodeError",
                            "OverflowError",
                        ]
                        .iter()
                        .any(|name| text.contains(name))
                    }
                    _ => false,
                };
                assert!(expected, "{body}: {text}");
            }
        }
        witness.check(body);
    }
    // Plain recursion is Python's to report, with its own limit and in its own words.
    let failure = run_failure(&witness.runtime, "def faasm_main():\n    faasm_main()\n");
    assert!(traceback(&failure).contains("RecursionError: maximum recursion depth exceeded"), "{failure}");
    assert!(traceback(&failure).contains("[Previous line repeated"), "{failure}");
}

#[test]
fn a_long_traceback_is_shortened_in_its_middle() {
    let source = "import sys\ndef first(): f(50_000)\ndef f(n): return f(n - 1) if n else last()\n\
                  def last(): raise KeyError('at the end')\n\
                  def faasm_main():\n    sys.setrecursionlimit(10**6)\n    first()\n";
    let failure = run_failure(&runtime(), source);
    let text = traceback(&failure);
    for part in ["48004 entries in the middle", "in first\n", "in last\n", "KeyError: 'at the end'"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn recursion_that_is_allowed() {
    let source =
        "import sys\ndef faasm_main():\n    def f(n): return n and 1 + f(n - 1)\n    return str(f(900))\n";
    assert_eq!(run(&runtime(), source), "900");
}

#[test]
fn ways_to_end_the_process() {
    let witness = Witness::new(runtime());
    let bodies = [
        "import os; os.abort()",
        "import os; os._exit(7)",
        "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import signal; signal.raise_signal(signal.SIGABRT)",
        "import signal; signal.raise_signal(signal.SIGSEGV)",
        "import faulthandler; faulthandler._sigsegv()",
        "import faulthandler; faulthandler._fatal_error_c_thread()",
        "import _testcapi; _testcapi.crash_no_current_thread()",
        "import ctypes; ctypes.string_at(0xffff0000)",
        "import ctypes; ctypes.memset(0, 0xff, 1 << 24)",
        "import ctypes; f = ctypes.CDLL(None).strlen; f.argtypes = [ctypes.c_double]; f(1.0)",
        "import atexit; atexit.register(print); raise SystemError",
        "import sys; sys.modules.clear(); import os",
        "import sys; sys.stdout = sys.stderr = None; raise ValueError",
        "import sys; sys.stdout.close(); print('x')",
        "import builtins\n    for name in list(vars(builtins)): delattr(builtins, name)\n    len([])",
        "import sys\n    for name in list(sys.modules): del sys.modules[name]\n    raise ValueError",
        "import traceback; traceback.format_exception = None; raise ValueError",
        "import _faasm; _faasm.fail(10**9, b'')",
        "import _faasm; _faasm.fail(-1, b'')",
        "import _faasm; _faasm.fail(1, b'\\xff')",
        "import gc; [setattr(o, 'x', 1) for o in gc.get_objects() if isinstance(o, type)]",
        "raise BaseException",
        "raise GeneratorExit",
        "raise KeyboardInterrupt",
        "class E(Exception):\n        def __str__(self): raise E\n    raise E",
        "class E(Exception):\n        def __str__(self): return 'x' * 10**7\n    raise E",
        "class E(Exception): __module__ = None\n    raise E from E()",
        "(lambda: None).__code__.replace(co_code=b'\\xff' * 10) and exec((lambda: None).__code__.replace(co_code=b'd\\x64S\\x00'))",
        "exec((lambda: 0).__code__.replace(co_code=bytes(range(256)), co_stacksize=1))",
        "exec((lambda: 0).__code__.replace(co_consts=()))",
    ];
    for body in bodies {
        let function =
            load(&witness.runtime, &format!("def faasm_main():\n    {body}\n    return 'returned'\n"));
        match function.call("").timeout(Duration::from_secs(10)).wait() {
            Ok(output) => assert!([&b"returned"[..], b""].contains(&&*output.output), "{body}: {output:?}"),
            Err(failure) => assert!(!failure.to_string().is_empty(), "{body}"),
        }
        witness.check(body);
    }
}

#[test]
fn exits_past_the_interpreter_are_reported() {
    let runtime = runtime();
    for (body, expected) in [("import os; os.abort()", "abort"), ("import os; os._exit(7)", "7")] {
        let source = format!("def faasm_main():\n    print('before', flush=True)\n    {body}\n");
        let (stdout, text) = match load(&runtime, &source).call("").wait() {
            Ok(output) => (output.stdout, format!("status {}", output.status)),
            Err(failure) => (failure.stdout.clone(), failure.to_string()),
        };
        assert_eq!(stdout, b"before\n");
        assert!(text.contains(expected), "{body}: {text}");
    }
}

#[test]
fn names_that_cannot_be_used() {
    let runtime = runtime();
    for (user, name) in [("", "f"), ("python", ""), ("../x", "f"), ("python", "a/b"), (".x", "f"), ("ü", "f")]
    {
        let error = runtime.function(user, name).source("").load().err().unwrap();
        assert!(matches!(error, Error::Name { .. }), "{user}/{name}: {error}");
    }
    assert!(matches!(runtime.function("python", "f").load(), Err(Error::NoSource { .. })));
}
