//! Modules that CPython does not have on WASI, or not all of: `ctypes`, `mmap`, `pwd` and `socket`, and what they say of what they cannot do.

use faasm_tests::{run, runtime};

const PRELUDE: &str = "import ctypes as c\nlibrary, python = c.CDLL(None), c.pythonapi\n\
    class Point(c.Structure):\n    _fields_ = [('x', c.c_int16), ('y', c.c_double)]\n\
    def typed(f, result, *arguments):\n    f.restype, f.argtypes = result, arguments\n    return f\n";

const CASES: [(&str, &str); 19] = [
    ("c.sizeof(c.c_void_p), c.sizeof(c.c_long), c.sizeof(Point)", "(4, 4, 16)"),
    ("bytes(Point(-2, 0.5)).hex()", "'feff000000000000000000000000e03f'"),
    ("Point.from_buffer_copy(bytes(Point(7, 1.5))).y", "1.5"),
    ("list((c.c_uint8 * 4).from_buffer(bytearray(b'abcd')))", "[97, 98, 99, 100]"),
    ("c.cast(c.pointer(c.c_uint32(0x01020304)), c.POINTER(c.c_uint8))[0]", "4"),
    ("c.string_at(c.create_string_buffer(b'text'))", "b'text'"),
    ("library.strlen(b'four')", "4"),
    ("library.abs(-5)", "5"),
    ("typed(library.sqrt, c.c_double, c.c_double)(2.25)", "1.5"),
    ("typed(library.pow, c.c_double, c.c_double, c.c_double)(2, 10)", "1024.0"),
    ("typed(library.toupper, c.c_char, c.c_char)(b'a')", "b'A'"),
    ("typed(python.PyLong_FromLongLong, c.py_object, c.c_longlong)(-1 << 40)", "-1099511627776"),
    ("typed(python.PyObject_Repr, c.py_object, c.py_object)([1])", "'[1]'"),
    (
        "typed(python.PyCapsule_SetName, c.c_int, c.py_object, c.c_char_p)\
         (typed(python.PyCapsule_New, c.py_object, c.c_void_p, c.c_char_p, c.c_void_p)(1, None, None), b'name')",
        "0",
    ),
    ("typed(python.PyLong_AsLong, c.c_long, c.py_object)('x')", "TypeError"),
    (
        "c.CDLL('libc.so.6')",
        "OSError: libc.so.6 cannot be loaded: there are no shared libraries in WebAssembly",
    ),
    ("library.printf", "AttributeError: printf is not among the functions that can be found by name"),
    ("c.CFUNCTYPE(c.c_int)(lambda: 1)()", "RuntimeError: ffi_prep_closure failed"),
    ("typed(library.abs, c.c_int, *[c.c_double] * 4)(1, 2, 3, 4)", "RuntimeError: ffi_prep_cif failed"),
];

#[test]
fn ctypes_works_or_says_why_not() {
    let runtime = runtime();
    for (expression, expected) in CASES {
        let source = format!(
            "{PRELUDE}def faasm_main():\n    try:\n        return repr(({expression}))\n    \
             except Exception as e:\n        return f'{{type(e).__name__}}: {{e}}'\n"
        );
        let answer = run(&runtime, &source);
        assert!(
            answer == expected || (expected.contains("Error") && answer.starts_with(expected)),
            "{expression}: {answer}"
        );
    }
}

#[test]
fn files_are_mapped_as_copies_that_are_written_back() {
    let source = "import mmap as m\ndef faasm_main():\n    \
        with open('/tmp/f', 'wb+') as f: f.write(b'first\\nsecond'); f.flush(); a = m.mmap(f.fileno(), 0)\n    \
        a[:5] = b'FIRST'; a.seek(6); a.write(b'S')\n    \
        before = open('/tmp/f', 'rb').read()\n    \
        v = memoryview(a)\n    \
        try: a.close()\n    except BufferError: v.release()\n    \
        a.close()\n    \
        with open('/tmp/f', 'rb') as f: r = m.mmap(f.fileno(), 5, access=m.ACCESS_READ)\n    \
        try: r[0] = 1\n    except TypeError: pass\n    \
        n = m.mmap(-1, 8); n.write(b'abc'); n.move(3, 0, 3)\n    \
        return repr([before, open('/tmp/f', 'rb').read(), bytes(r), n[:6], isinstance(n, m.mmap), a.closed, len(a)])\n";
    let expected = r"[b'first\nsecond', b'FIRST\nSecond', b'FIRST', b'abcabc', True, True, 0]";
    assert_eq!(run(&runtime(), source), expected);
}

#[test]
fn there_is_one_user_who_has_a_home() {
    let source = "import getpass, os, pathlib, pwd\ndef unknown(find, name):\n    \
        try: find(name)\n    except KeyError as e: return str(e.args[0])\n\
        def faasm_main():\n    \
        me = pwd.getpwuid(os.getuid())\n    \
        return repr([me.pw_name, me.pw_gid == os.getgid(), str(pathlib.Path.home()), os.path.expanduser('~/x'), getpass.getuser(), \
        pwd.getpwnam(me.pw_name) == me == pwd.getpwall()[0], unknown(pwd.getpwuid, 0), unknown(pwd.getpwnam, 'root')])\n";
    let expected = r#"['faasm', True, '/tmp', '/tmp/x', 'faasm', True, 'getpwuid(): uid not found: 0', "getpwnam(): name not found: 'root'"]"#;
    assert_eq!(run(&runtime(), source), expected);
}

#[test]
fn sockets_have_what_needs_no_network() {
    let source = "import socket as s\ndef faasm_main():\n    \
        try: s.inet_ntoa(b'12345')\n    except OSError as e: error = str(e)\n    \
        return repr([int(s.AI_NUMERICSERV), s.AI_NUMERICHOST.name, s.inet_ntoa(s.inet_aton('10.1')), error])\n";
    let expected = "[0, 'AI_NUMERICHOST', '10.0.0.1', 'packed IP wrong length for inet_ntoa']";
    assert_eq!(run(&runtime(), source), expected);
}
