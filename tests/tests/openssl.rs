//! The modules of the standard library that are made with OpenSSL, which is a package.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use faasm_build_support::{Built, Context, GuestSources, Image, cpython, toolchain};
use faasm_tests::{call, load, text};
use py_func::Runtime;

/// An image with OpenSSL. The first time it takes minutes. It needs Perl with its modules, which not every machine has.
fn build(preload: &[&str]) -> Option<Built> {
    let has_perl = Command::new("perl").args(["-MFindBin", "-MIPC::Cmd", "-e", "1"]).status();
    if !has_perl.is_ok_and(|it| it.success()) {
        assert!(std::env::var_os("FAASM_REQUIRE_PERL").is_none(), "there is no Perl with its modules");
        eprintln!("not tried, there is no Perl with its modules");
        return None;
    }
    let guest = GuestSources::read(faasm_tests::py_func_package()).unwrap();
    let image = Image::new(guest).packages(["ssl"]).preload(preload.iter().copied());
    Some(image.build_in(&Context::from_env().unwrap()).unwrap())
}

/// The library and the tests of CPython.
fn stdlib() -> cpython::Stdlib {
    let cx = Context::from_env().unwrap();
    let wasm = cpython::wasm(&cx, &toolchain::wasi(&cx).unwrap()).unwrap();
    cpython::stdlib(&cx, &cpython::native(&cx).unwrap(), &wasm).unwrap()
}

#[test]
fn keys_are_derived_and_hashes_made() {
    let Some(built) = build(&[]) else { return };
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    // The vectors of RFC 6070, RFC 7914 and RIPEMD-160.
    for (expression, expected) in [
        ("pbkdf2_hmac('sha1', b'password', b'salt', 2)", "ea6c014dc72d6f8ccd1ed92ace1d41f0d8de8957"),
        (
            "scrypt(b'password', salt=b'NaCl', n=1024, r=8, p=16, dklen=16)",
            "fdbabe1c9d3472007856e7190d01e9fe",
        ),
        ("new('ripemd160', b'abc').digest()", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
    ] {
        let function =
            load(&runtime, &format!("import hashlib\ndef faasm_main(): return hashlib.{expression}.hex()\n"));
        assert_eq!(text(&call(&function, b"").output), expected, "{expression}");
    }
}

#[test]
fn two_ends_in_memory_shake_hands() {
    let source = r#"
import ssl
def faasm_main(certificate):
    with open("/tmp/certificate.pem", "wb") as file:
        file.write(certificate)
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context(cafile="/tmp/certificate.pem")
    serving.load_cert_chain("/tmp/certificate.pem")
    server = serving.wrap_bio(ours, theirs, server_side=True)
    client = asking.wrap_bio(theirs, ours, server_hostname="localhost")
    waiting = [client, server]
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
    client.write(b"hello")
    return f"{server.version()} {server.read().decode()} {dict(*client.getpeercert()['subject'][-1:])['commonName']}"
"#;
    let certificate = fs::read(stdlib().tests.join("test/certdata/keycert.pem")).unwrap();
    let Some(built) = build(&["ssl"]) else { return };
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    assert_eq!(text(&call(&load(&runtime, source), &certificate).output), "TLSv1.3 hello localhost");
}

#[test]
fn its_random_numbers_start_anew_in_every_call() {
    let Some(built) = build(&["ssl"]) else { return };
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    let source = "import ssl\nDRAWN = ssl.RAND_bytes(8).hex()\ndef faasm_main(): return DRAWN + ' ' + ssl.RAND_bytes(8).hex()\n";
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let function = load(&runtime, source);
        for number in 0..4 {
            let output = call(&function, b"").output;
            let (at_load, in_call) = text(&output).split_once(' ').unwrap();
            assert!(seen.insert(in_call.to_owned()), "{in_call} comes twice");
            assert_eq!(seen.insert(at_load.to_owned()), number == 0, "{at_load}");
        }
    }
}

#[test]
#[ignore = "takes a minute"]
fn cpythons_own_tests() {
    let script = "
import io, os, sys, unittest
os.chdir('/tmp')
stream, run, unexpected = io.StringIO(), 0, []
for name in ('hashlib', 'hmac', 'ssl'):
    suite = unittest.defaultTestLoader.loadTestsFromName('test.test_' + name)
    result = unittest.TextTestRunner(stream=stream, verbosity=0).run(suite)
    run += result.testsRun
    print(name, result.testsRun, 'run', len(result.skipped), 'skipped', file=sys.stderr)
    # Most of these open a socket, which a sandbox does not have.
    unexpected += [text for _, text in result.failures + result.errors if '[Errno 58] Not supported' not in text]
print(*unexpected, run, sep='\\n', file=sys.stderr)
sys.exit(bool(unexpected) or run < 100)
";
    let Some(built) = build(&[]) else { return };
    let runtime = Runtime::builder().image(built.directory()).build().unwrap();
    let interpreter = runtime.interpreter().arguments(["-c", script]);
    let scratch = tempfile::tempdir().unwrap();
    let interpreter =
        interpreter.read_only(stdlib().tests, "/usr/lib/python-tests").read_write(scratch.path(), "/tmp");
    let status = interpreter.variable("PYTHONPATH", "/usr/lib/python-tests").run().unwrap().unwrap();
    assert_eq!(status, 0);
}
