//! Calls start from the same memory, and must not be the same for that: what is random differs from call to call, and
//! nothing that a call did is there in the next one.

use std::collections::BTreeSet;

use faasm_tests::{call, load, load_failure, run_failure, runtime, text, traceback};

/// Statements that run when the module is imported, and so become part of the image; an expression whose value must
/// never be seen twice.
const SOURCES_OF_RANDOMNESS: [(&str, &str); 19] = [
    ("import random", "random.random()"),
    ("import random; random.seed(42)", "random.random()"),
    ("import random; random.random(); random.gauss()", "(random.gauss(), random.random())"),
    ("import random; random.gauss()", "random.gauss()"),
    ("from random import random, randrange", "(random(), randrange(2**60))"),
    ("import random; choose = random.choices", "choose(range(1000), k=10)"),
    ("import random; r = random.SystemRandom()", "r.random()"),
    ("", "__import__('random').random()"),
    ("import os", "os.urandom(16)"),
    ("import os; os.urandom(100000)", "os.urandom(16)"),
    ("import os", "os.getrandom(16) if hasattr(os, 'getrandom') else os.urandom(16)"),
    ("import secrets", "secrets.token_hex(16)"),
    ("import secrets; secrets.randbelow(10)", "(secrets.randbelow(2**100), secrets.choice(range(10**9)))"),
    ("import uuid", "uuid.uuid4()"),
    ("import uuid; uuid.uuid4()", "uuid.uuid4()"),
    ("import uuid; uuid.uuid1()", "uuid.uuid1()"),
    ("import uuid; uuid.getnode()", "uuid.getnode()"),
    ("import tempfile; next(tempfile._get_candidate_names())", "next(tempfile._get_candidate_names())"),
    (
        "import email.utils, email.generator",
        "(email.utils.make_msgid(domain='x'), email.generator._make_boundary())",
    ),
];

#[test]
fn no_two_calls_draw_the_same() {
    const CALLS: usize = 20;
    let runtime = runtime();
    for (at_load, expression) in SOURCES_OF_RANDOMNESS {
        let function = load(&runtime, &format!("{at_load}\ndef faasm_main(): return repr({expression})\n"));
        let seen: BTreeSet<Vec<u8>> = (0..CALLS).map(|_| call(&function, b"").output).collect();
        assert_eq!(
            seen.len(),
            CALLS,
            "{at_load}; {expression}: {:?}",
            seen.iter().map(|it| text(it)).collect::<Vec<_>>()
        );
    }
}

#[test]
fn no_two_functions_draw_the_same_while_loading() {
    const LOADS: usize = 5;
    let runtime = runtime();
    for (at_load, expression) in SOURCES_OF_RANDOMNESS {
        let source = format!("{at_load}\nVALUE = repr({expression})\ndef faasm_main(): return VALUE\n");
        // A fixed seed is what the module asked for; it holds while the module is imported.
        if at_load.contains("seed(42)") {
            continue;
        }
        let seen: BTreeSet<Vec<u8>> =
            (0..LOADS).map(|_| call(&load(&runtime, &source), b"").output).collect();
        assert_eq!(seen.len(), LOADS, "{at_load}; {expression}");
    }
}

#[test]
fn no_two_calls_draw_the_same_from_sqlite() {
    const CALLS: usize = 10;
    let runtime = runtime();
    // A generator within C code: unused until the call, and used before it.
    let draw = "db.execute('select hex(randomblob(16)), random()').fetchone()";
    for at_load in ["", draw] {
        let source = format!(
            "import sqlite3\ndb = sqlite3.connect(':memory:')\n{at_load}\ndef faasm_main(): return repr({draw})\n"
        );
        let function = load(&runtime, &source);
        let seen: BTreeSet<Vec<u8>> = (0..CALLS).map(|_| call(&function, b"").output).collect();
        assert_eq!(seen.len(), CALLS, "with {at_load:?} at load");
    }
}

#[test]
fn a_seed_that_a_call_sets_holds_in_that_call() {
    let function = load(
        &runtime(),
        "import random\ndef faasm_main():\n    random.seed(1)\n    return repr(random.random())\n",
    );
    for _ in 0..2 {
        assert_eq!(text(&call(&function, b"").output), "0.13436424411240122");
    }
}

#[test]
fn clocks_go_on() {
    let source = "import time\nLOADED = time.time(), time.monotonic()\n\
        def faasm_main(): return f'{time.time() >= LOADED[0]} {time.monotonic() >= LOADED[1]} {time.time()}'\n";
    let function = load(&runtime(), source);
    let host = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let output = call(&function, b"").output;
    let (flags, time) = text(&output).rsplit_once(' ').unwrap();
    assert_eq!(flags, "True True");
    assert!((time.parse::<f64>().unwrap() - host).abs() < 60.0, "{time} and {host}");
}

#[test]
fn hooks_run_once_in_each_call_and_in_order() {
    let source = r#"
import faasm
import random

order = []

@faasm.on_restore
def first():
    order.append("first")

@faasm.on_restore
def second():
    order.append("second")
    order.append(random.random())

assert callable(second)

def faasm_main():
    return repr(order)

def other():
    return faasm_main()
"#;
    let function = load(&runtime(), source);
    let mut seen = BTreeSet::new();
    for entry in ["faasm_main", "other", "faasm_main"] {
        let output = function.call("").entry(entry).wait().unwrap().output;
        let order = text(&output).to_owned();
        // Generators are reseeded before hooks run, so that a hook may draw from them.
        assert!(
            order.starts_with("['first', 'second', 0.") && order.matches("first").count() == 1,
            "{order}"
        );
        assert!(seen.insert(order.clone()), "{order} came twice");
    }
}

#[test]
fn a_hook_that_fails_fails_the_call() {
    let runtime = runtime();
    let source = "import faasm\n@faasm.on_restore\ndef hook(): raise ValueError('in the hook')\ndef faasm_main(): return 'not reached'\n";
    let failure = run_failure(&runtime, source);
    assert!(traceback(&failure).contains("line 3, in hook"), "{failure}");
    assert!(traceback(&failure).contains("ValueError: in the hook"), "{failure}");
}

/// What a call changes, and an expression that is true in a call where that did not happen.
const TRACES: [(&str, &str); 22] = [
    ("global count; count = 1", "'count' not in globals()"),
    ("values.append(1)", "values == []"),
    ("table['new'] = 1", "table == {'old': 0}"),
    ("table.clear()", "table == {'old': 0}"),
    ("import sys; sys.modules['json'] = None", "__import__('json').dumps([]) == '[]'"),
    ("import sys; del sys.modules['os']", "'os' in __import__('sys').modules"),
    ("import sys; sys.path.clear()", "len(__import__('sys').path) > 0"),
    ("import csv", "'csv' not in __import__('sys').modules"),
    ("import builtins; builtins.len = lambda x: -1", "len([]) == 0"),
    ("import builtins; del builtins.print", "print() is None"),
    ("import json; json.dumps = None", "__import__('json').dumps is not None"),
    ("import os; os.environ['NEW'] = '1'; os.putenv('OLD', '1')", "'NEW' not in __import__('os').environ"),
    ("import os; os.chdir('/lib')", "__import__('os').getcwd() == '/'"),
    ("import sys; sys.setrecursionlimit(50)", "__import__('sys').getrecursionlimit() == 1000"),
    ("import sys; sys.stdout = None", "__import__('sys').stdout is not None"),
    ("import sys; sys.argv.append('x')", "'x' not in __import__('sys').argv"),
    ("import gc; gc.disable()", "__import__('gc').isenabled()"),
    ("import warnings; warnings.simplefilter('error')", "__import__('warnings').warn('x') is None"),
    ("import decimal; decimal.getcontext().prec = 2", "__import__('decimal').getcontext().prec == 28"),
    ("import faasm; faasm.on_restore(lambda: 1 / 0)", "True"),
    ("import faasm; faasm.output('left over')", "True"),
    ("while True: values.append(bytes(1 << 20))", "values == []"),
];

#[test]
fn nothing_survives_a_call() {
    let runtime = runtime();
    for (change, untouched) in TRACES {
        let source = format!(
            "import decimal, gc, json, os, sys, warnings\nvalues, table = [], {{'old': 0}}\n\
             def change():\n    {change}\n\ndef crash():\n    {change}\n    os.abort()\n\ndef faasm_main(): return repr({untouched})\n"
        );
        let function = load(&runtime, &source);
        assert_eq!(text(&call(&function, b"").output), "True", "before {change}");
        for entry in ["change", "crash"] {
            // How it ends is not the matter here; some of these end badly.
            let _ = function.call("").entry(entry).wait();
            let output = call(&function, b"");
            assert_eq!(text(&output.output), "True", "after {change}, {entry}");
        }
        // Another function does not see it either.
        assert_eq!(
            text(&call(&load(&runtime, "def faasm_main(): return repr(len('abc'))"), b"").output),
            "3"
        );
    }
}

#[test]
fn files_of_a_call_are_its_own() {
    let source = r#"
import os, tempfile
def write():
    wrote = []
    for directory in ("/tmp", "/", "/lib", os.getcwd(), tempfile.gettempdir()):
        try:
            with open(os.path.join(directory, "trace"), "x") as file:
                file.write("here")
            wrote.append(directory)
        except OSError:
            pass
    return repr(wrote)

def faasm_main():
    places = [directory for directory, _, names in os.walk("/") if "trace" in names]
    return repr(places)
"#;
    let runtime = runtime();
    let function = load(&runtime, source);
    for _ in 0..2 {
        // A module may not find a directory for temporary files; then there is nothing to leave a trace in.
        let _ = function.call("").entry("write").wait();
        assert_eq!(text(&call(&function, b"").output), "[]");
    }
}

#[test]
fn what_was_open_while_loading_is_refused() {
    let runtime = runtime();
    // A descriptor is no memory: the calls would find it closed, or worse, find another file.
    let cases = ["file = open('/lib/python3.13/os.py')\n", "import os\nfd = os.open('/lib', os.O_RDONLY)\n"];
    for source in cases {
        let failure = load_failure(&runtime, &format!("{source}def faasm_main(): pass\n"));
        assert!(failure.to_string().contains("open"), "{failure}");
    }
    // Closed again, it is no matter.
    let source = "with open('/lib/python3.13/os.py') as file: first = file.readline()\ndef faasm_main(): return first\n";
    assert!(text(&call(&load(&runtime, source), b"").output).starts_with("r\"\"\""));
}
