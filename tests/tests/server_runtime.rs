//! Runtimes that are sent to a server.

mod server_support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use faasm_bundle::{Contents, DEFAULT_COMPRESSION, Function, PublicKey};
use faasm_tests::limits;
use py_func::Registry;
use py_func::server::{Access, FunctionDocument, RuntimeDocument, Tokens};
use serde_json::Value;
use server_support::{eventually, header, json, problem, start, start_with};

#[test]
fn a_runtime_is_replaced_while_calls_are_made() {
    let server = start();
    server.upload(
        "f",
        "import faasm, sys, time\n\
         def faasm_main(data):\n    faasm.state.write('begun', b'x')\n    time.sleep(float(data))\n    return sys.version.split()[0]\n\
         def chains(): return faasm.chain('g').output()\n",
    );
    server.upload("g", "def faasm_main(): return 'chained'\n");
    let before: RuntimeDocument = json(server.get("/f"), 200);
    assert_eq!(before.sha256, None, "it is none of the store's");
    let wasm = std::fs::read(faasm_tests::image().join("py_func.wasm")).unwrap();

    thread::scope(|scope| {
        let slow = scope.spawn(|| server.post("/invoke/python/f", "2"));
        while server.get("/s/python/begun").status() != 200 {
            thread::sleep(Duration::from_millis(5));
        }
        let now: RuntimeDocument = json(server.put("/f/python/py_func", wasm.clone()), 200);
        assert_eq!((&now.python, &now.wasm), (&before.python, &before.wasm));
        assert!(now.sha256.is_some() && now.uploaded.is_some());
        assert_eq!(json::<RuntimeDocument>(server.get("/f"), 200).sha256, now.sha256);
        assert_eq!(slow.join().unwrap().text().unwrap(), before.python);
    });
    assert_eq!(server.post("/invoke/python/f", "0").text().unwrap(), before.python);
    assert_eq!(server.post("/invoke/python/f?entry=chains", "").text().unwrap(), "chained");

    // A bundle has its own library, and may have functions and machine code, of which the latter is not even looked at.
    let directory = tempfile::tempdir().unwrap();
    let function = Function {
        user: "python".to_owned(),
        name: "bundled".to_owned(),
        source: b"import json\ndef faasm_main(): return json.dumps([1])\n".to_vec(),
        extension: "py".to_owned(),
    };
    let contents = Contents {
        version: "1.2.3",
        image: faasm_tests::image(),
        targets: &[],
        functions: &[function],
        documents: &BTreeMap::new(),
        compression: DEFAULT_COMPRESSION,
    };
    let written = faasm_bundle::write(&contents, directory.path(), &|_| ()).unwrap();
    let bundle = std::fs::read(written.path).unwrap();
    let of_wasm: RuntimeDocument = json(server.get("/f"), 200);
    let mut damaged = bundle.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for (what, content) in [
        ("nothing", Vec::new()),
        ("text", b"import os\n".to_vec()),
        ("machine code", std::fs::read(faasm_tests::image().join("py_func.cwasm")).unwrap()),
        ("half a module", wasm[..wasm.len() / 2].to_vec()),
        ("a module that is no runtime", wat::parse_str("(module (memory (export \"memory\") 1))").unwrap()),
        (
            "one that has nothing to answer",
            wat::parse_str(
                "(module (memory (export \"memory\") 1) (func (export \"_initialize\")) \
                 (func (export \"faasm_init\") (result i32) (i32.const 1)))",
            )
            .unwrap(),
        ),
        (
            "one whose memory is larger than that of a call",
            wat::parse_str("(module (memory (export \"memory\") 65536))").unwrap(),
        ),
        ("half a bundle", bundle[..middle].to_vec()),
        ("a damaged bundle", damaged),
    ] {
        let problem = problem(server.put("/f/python/py_func", content), 422, "runtime");
        assert!(!problem.detail.contains("installing"), "{what}: {}", problem.detail);
    }
    assert_eq!(json::<RuntimeDocument>(server.get("/f"), 200).sha256, of_wasm.sha256);
    let of_bundle: RuntimeDocument = json(server.put("/f/python/py_func", bundle), 200);
    assert_ne!(of_bundle.sha256, of_wasm.sha256);
    let listed: Vec<FunctionDocument> = json(server.get("/p"), 200);
    let names: Vec<&str> = listed.iter().map(|it| it.function.as_str()).collect();
    assert_eq!(names, ["bundled", "f", "g"]);
    assert_eq!(server.post("/invoke/python/bundled", "").text().unwrap(), "[1]");
    assert_eq!(server.post("/invoke/python/f", "0").text().unwrap(), before.python);

    // The store has it for the next start.
    let store = server.stop();
    let stored = py_func::Registry::new(store.path()).runtime().unwrap().unwrap();
    assert_eq!(Some(stored.sha256), of_bundle.sha256);
}

#[test]
fn only_who_may_act_for_all_replaces_the_runtime() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    let (all, one) =
        (Tokens::create(&path, &[]).unwrap(), Tokens::create(&path, &["python".to_owned()]).unwrap());
    let tokens = Tokens::read(&path).unwrap();
    let server = start_with(|settings| settings.access = Access::Tokens(tokens));
    let put =
        |token: &str, path: &str| server.request("PUT", path).bearer_auth(token).body("x").send().unwrap();
    problem(put(&one, "/f/python/py_func"), 403, "forbidden");
    problem(put(&all, "/f/python/other"), 400, "name");
    problem(put(&all, "/f/python/py_func"), 422, "runtime");
    let answer = server.put("/f/python/py_func", "x");
    header(&answer, "www-authenticate");
    problem(answer, 401, "unauthorized");
}

#[test]
fn who_goes_back_to_a_runtime_that_was_not_the_stores_leaves_the_store_without_one() {
    let server = start();
    let before: RuntimeDocument = json(server.get("/f"), 200);
    let wasm = std::fs::read(faasm_tests::image().join("py_func.wasm")).unwrap();
    let sent: RuntimeDocument = json(server.put("/f/python/py_func", wasm), 200);
    assert!(sent.sha256.is_some());
    let back: RuntimeDocument = json(server.put("/f", r#"{"rollback": true}"#), 200);
    assert_eq!((back.sha256, &back.wasm), (None, &before.wasm));
    // Else the next start would run what was gone back from.
    let store = server.stop();
    assert_eq!(py_func::Registry::new(store.path()).runtime().unwrap(), None);
}

#[test]
fn where_runtimes_must_be_signed_none_is_taken_that_is_not() {
    let (_, public) = faasm_bundle::sign::generate(None).unwrap();
    let key = public.lines().last().unwrap();
    let server = start_with(|settings| settings.trust = Some(PublicKey::read(key).unwrap()));
    let wasm = std::fs::read(faasm_tests::image().join("py_func.wasm")).unwrap();
    let problem = problem(server.put("/f/python/py_func", wasm), 400, "bundle");
    assert!(problem.detail.contains("signed"), "{}", problem.detail);
    assert_eq!(json::<RuntimeDocument>(server.get("/f"), 200).sha256, None);
}

#[test]
fn a_bundle_that_is_not_there_is_the_clients_fault() {
    let server = start();
    for place in ["", "not/there", "a\0b", "file:///not/there"] {
        let document = serde_json::json!({ "bundle": place }).to_string();
        problem(server.put("/f", document), 422, "bundle");
    }
    assert_eq!(json::<RuntimeDocument>(server.get("/f"), 200).sha256, None);
}

#[test]
fn runtimes_that_nobody_uses_are_removed() {
    let place = tempfile::tempdir().unwrap();
    let image = place.path().join("image");
    assert!(Command::new("cp").arg("-r").arg(faasm_tests::image()).arg(&image).status().unwrap().success());
    let manifest = image.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let store = Registry::new(place.path().join("store"));
    // With a manifest of its own it is another runtime. The store has links to the old one.
    let upload = |number: usize| {
        let mut changed: Value = serde_json::from_str(&text).unwrap();
        changed["inputs"]["number"] = number.to_string().into();
        std::fs::remove_file(&manifest).unwrap();
        std::fs::write(&manifest, changed.to_string()).unwrap();
        store.upload_runtime(&image).unwrap().image
    };
    let there = |images: &[&PathBuf]| {
        let mut found: Vec<_> =
            std::fs::read_dir(store.root().join("runtimes")).unwrap().map(|it| it.unwrap().path()).collect();
        let mut expected: Vec<_> = images.iter().map(|it| (*it).clone()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    };
    let first = upload(1);
    let runtime = limits().image(&first).build().unwrap();
    let (second, third) = (upload(2), upload(3));
    there(&[&first, &second, &third]);
    // One is in use, one was the store's until just now.
    let fourth = upload(4);
    there(&[&first, &third, &fourth]);
    let wave = "import wave\ndef faasm_main(): return wave.__name__\n";
    let function = runtime.function("python", "f").source(wave).load().unwrap();
    assert_eq!(function.call("").wait().unwrap().output, b"wave");
    drop((function, runtime));
    let mut number = 4;
    eventually(|| {
        number += 1;
        upload(number);
        !first.exists()
    });
}
