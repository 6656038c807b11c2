//! Host functions, asked for anything by a guest that is no Python: wild pointers, lengths and numbers, in any order.
//!
//! The guest is a small module that imports what the real one does, and makes the calls that its input lists. The host has to answer each,
//! or to end the call with an error: it must not panic, hang, or keep what it was given. `RAW_CALLS=100000 cargo test -p faasm-tests
//! --test raw_guest` makes so many calls instead of some thousands.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use faasm_image::{CodeEntry, FORMAT, FileEntry, Manifest, MemoryImage};
use faasm_tests::{image, limits, py_func_package};
use py_func::state::{self, Memory, State};
use py_func::{CallError, Function, Runtime};
use wasmparser::{FuncType, Parser, Payload, TypeRef, ValType};

/// How many calls are made for each import, and how many of host functions at most in each.
const CALLS: usize = 100;
const RECORDS: usize = 8;

/// The size of a record in the input: the number of the import, and its arguments.
const RECORD: usize = 8 * 16;

/// The size of the guest's memory.
const MEMORY: u64 = 4 << 16;

/// Where the guest has its input.
const INPUT: u64 = 0x8000;

struct Import {
    module: String,
    name: String,
    ty: FuncType,
}

#[test]
fn whatever_a_guest_asks_for() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(info);
    }));
    let imports = imports(&fs::read(image().join("py_func.wasm")).unwrap());
    let directory = tempfile::tempdir().unwrap();
    make_image(directory.path(), &imports);
    let state =
        State::new(Arc::new(Memory::default()), state::Limits { user_quota: 1 << 20, local: 4 << 20 });
    let runtime = limits()
        .image(directory.path())
        .timeout(Duration::from_millis(20))
        .output_limit(1 << 16)
        .chain_limits(2, 4)
        .state(state)
        .build()
        .unwrap();
    let guest = load(&runtime);
    assert_eq!(make(&guest, Vec::new()), Ok(0), "a guest that asks for nothing");

    let calls =
        std::env::var("RAW_CALLS").map_or(CALLS, |text| text.parse::<usize>().unwrap() / imports.len());
    let mut ends: BTreeMap<String, usize> = BTreeMap::new();
    let mut random = fastrand::Rng::with_seed(7);
    for (number, import) in imports.iter().enumerate() {
        let mut returned = 0;
        for _ in 0..calls {
            // Mostly of this one, and some others before it, which leave something behind.
            let mut input = Vec::new();
            let records = random.usize(..RECORDS);
            for left in (0..=records).rev() {
                let number = if left == 0 || random.bool() { number } else { random.usize(..imports.len()) };
                record(&mut input, number, &imports[number].ty, &mut random);
            }
            let end = make(&guest, input);
            returned += usize::from(end.is_ok());
            *ends.entry(end.map_or_else(|kind| kind, |_| "returned".to_owned())).or_default() += 1;
        }
        // Some of what it was asked for could be had, so it was not always turned away at the door.
        assert!(returned > 0, "no call of {}.{} returned: {ends:?}", import.module, import.name);
    }
    println!("{} imports, {ends:?}", imports.len());
    assert_eq!(PANICS.load(Ordering::Relaxed), 0);
    assert_eq!(make(&load(&runtime), Vec::new()), Ok(0), "a guest that asks for nothing, after all of it");
}

fn load(runtime: &Runtime) -> Function {
    runtime.function("mallory", "raw").source("").load().unwrap()
}

/// Makes a call, and answers its status or the kind of its error.
fn make(guest: &Function, input: Vec<u8>) -> Result<i32, String> {
    match guest.call(input).wait() {
        Ok(output) => Ok(output.status),
        Err(failure) => {
            if let CallError::Fault { reason } = &failure.error {
                assert!(!reason.contains("thread"), "{failure}");
            }
            Err(failure.error.kind().to_owned())
        }
    }
}

/// Adds a call of an import to the input, with arguments that are likely to find a weak spot.
fn record(input: &mut Vec<u8>, number: usize, ty: &FuncType, random: &mut fastrand::Rng) {
    let start = input.len();
    input.extend((number as u64).to_le_bytes());
    // A range that begins and ends in the first half is within the memory. Most are, since a call ends with the first that is not.
    let is_wild = random.u8(..16) == 0;
    for _ in ty.params() {
        let argument = match random.u8(..if is_wild { 16 } else { 8 }) {
            0..2 => random.u64(..4),
            2..4 => random.u64(..64),
            4..7 => 8 * random.u64(..MEMORY / 16),
            7 => random.u64(..MEMORY / 2),
            8 => MEMORY - random.u64(..64),
            9 => u64::from(u32::MAX) - random.u64(..64),
            10 => (1 << 31) - 32 + random.u64(..64),
            11 => random.u64(..1 << 20),
            12 | 13 => (1 << random.u32(..64)) - random.u64(..2),
            _ => random.u64(..),
        };
        input.extend(argument.to_le_bytes());
    }
    input.resize(start + RECORD, 0);
}

/// The functions that a module imports.
fn imports(wasm: &[u8]) -> Vec<Import> {
    let (mut types, mut imports) = (Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                types = section.into_iter_err_on_gc_types().map(Result::unwrap).collect();
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    let TypeRef::Func(ty) = import.ty else { panic!("{} is no function", import.name) };
                    let (module, name) = (import.module.to_owned(), import.name.to_owned());
                    imports.push(Import { module, name, ty: types[ty as usize].clone() });
                }
            }
            _ => (),
        }
    }
    imports
}

/// Makes an image of the guest.
fn make_image(directory: &Path, imports: &[Import]) {
    let wasm = wat::parse_str(module(imports)).unwrap();
    let boot = faasm_image::boot_memory(&wasm).unwrap();
    fs::write(directory.join("py_func.wasm"), &wasm).unwrap();
    fs::write(directory.join("py_func.cwasm"), faasm_image::compile(&wasm, None).unwrap()).unwrap();
    fs::write(directory.join("boot.mem"), &boot).unwrap();
    MemoryImage::from_bytes(&boot).unwrap().save(&directory.join("base.mem")).unwrap();
    // Some files to find.
    fs::create_dir_all(directory.join("root/lib")).unwrap();
    fs::write(directory.join("root/lib/file"), "some text").unwrap();
    let file = |name| FileEntry::of(directory, name).unwrap();
    let manifest = Manifest {
        format: FORMAT,
        python: "none".to_owned(),
        wasm: file("py_func.wasm"),
        code: CodeEntry::of(directory, "py_func.cwasm", None).unwrap(),
        boot: file("boot.mem"),
        base: file("base.mem"),
        inputs: BTreeMap::new(),
    };
    manifest.write(directory).unwrap();
}

/// The guest, in the text format.
fn module(imports: &[Import]) -> String {
    let header = fs::read_to_string(py_func_package().join("guest/faasm.h")).unwrap();
    let version = header.lines().find_map(|line| line.strip_prefix("#define FAASM_ABI_VERSION ")).unwrap();
    let name = |ty: &ValType| match ty {
        ValType::I32 => "i32",
        ValType::I64 => "i64",
        ValType::F32 => "f32",
        ValType::F64 => "f64",
        other => panic!("imports have no {other:?}"),
    };
    let mut text = "(module\n".to_owned();
    for (number, Import { module, name: import, ty }) in imports.iter().enumerate() {
        write!(text, "(import {module:?} {import:?} (func $import{number}").unwrap();
        for (keyword, types) in [("param", ty.params()), ("result", ty.results())] {
            for ty in types {
                write!(text, " ({keyword} {})", name(ty)).unwrap();
            }
        }
        text += "))\n";
    }
    let input = imports.iter().position(|it| it.module == "faasm" && it.name == "input").unwrap();
    let pages = MEMORY >> 16;
    write!(
        text,
        r#"(memory (export "memory") {pages} 16)
        (data (i32.const 1024) "key" "\00\00" "lib/file" "\00" "sha256" "\00" "faasm_main" "\00" "a" "\00" "b")
        (func (export "faasm_abi_version") (result i32) (i32.const {version}))
        (func (export "faasm_interrupt") (result i64) (i64.const {interrupt}))
        (func (export "_initialize"))
        (func (export "faasm_init") (result i32) (i32.const 0))
        (func (export "faasm_load") (result i32) (i32.const 0))
        (func (export "faasm_python") (result i32) (i32.const 0))
        (func (export "faasm_alloc") (param i32) (result i32) (i32.const 512))
        (func (export "faasm_call") (param i32 i32) (result i32) (local $at i32) (local $end i32)
            (local.set $at (i32.const {INPUT}))
            (local.set $end (i32.add (local.get $at) (call $import{input} (local.get $at) (i32.const 0x4000) (i32.const 0))))
            (if (i32.gt_u (local.get $end) (i32.const {last})) (then (local.set $end (i32.const {last}))))
            (loop $next (if (i32.lt_u (local.get $at) (local.get $end)) (then
        "#,
        interrupt = (64_u64 << 32) | 1,
        last = INPUT + 0x4000,
    )
    .unwrap();
    for (number, Import { ty, .. }) in imports.iter().enumerate() {
        write!(
            text,
            "(if (i64.eq (i64.load (local.get $at)) (i64.const {number})) (then (call $import{number}"
        )
        .unwrap();
        for (index, ty) in ty.params().iter().enumerate() {
            let load = format!("(i64.load offset={} (local.get $at))", 8 * (index + 1));
            match ty {
                ValType::I32 => write!(text, " (i32.wrap_i64 {load})"),
                ValType::I64 => write!(text, " {load}"),
                other => panic!("imports have no {other:?}"),
            }
            .unwrap();
        }
        text += ")";
        text += &" (drop)".repeat(ty.results().len());
        text += "))\n";
    }
    write!(
        text,
        "(local.set $at (i32.add (local.get $at) (i32.const {RECORD}))) (br $next))))\n(i32.const 0)))"
    )
    .unwrap();
    text
}
