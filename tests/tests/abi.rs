//! The host interface: `py_func/guest/faasm.h` is what both sides are made from. The host's constants are generated from it
//! with bindgen, and its functions must be those that the guest in the image imports and exports. That the host offers what
//! the guest imports, with these types, is checked whenever a program is linked.
//!
//! `FAASM_BLESS=1 cargo test -p faasm-tests --test abi` writes the generated constants.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use faasm_build_support::cache::Key;
use faasm_build_support::{Context, source};
use faasm_tests::{image, py_func_package};
use wasmparser::{ExternalKind, FuncType, Parser, Payload, TypeRef, ValType};

/// Set in the process that bindgen runs in: where it finds libclang.
const LIBCLANG: &str = "LIBCLANG_PATH";
/// Set in that process, too: where it leaves what it generated.
const BINDINGS: &str = "FAASM_TEST_BINDINGS";

/// What the header needs of C's own headers, so that it means the same whatever is installed.
const C_HEADERS: [(&str, &str); 2] = [
    ("stddef.h", "typedef __SIZE_TYPE__ size_t;\n#define NULL ((void *)0)\n"),
    (
        "stdint.h",
        "typedef __INT32_TYPE__ int32_t;\ntypedef __INT64_TYPE__ int64_t;\ntypedef __UINT8_TYPE__ uint8_t;\n\
         typedef __UINT32_TYPE__ uint32_t;\ntypedef __UINT64_TYPE__ uint64_t;\n",
    ),
];

/// A function's parameters and results as WebAssembly has them.
type Signature = (Vec<ValType>, Vec<ValType>);

#[test]
fn constants_of_the_host_are_those_of_the_header() {
    let path = py_func_package().join("src/host/abi.rs");
    let generated = constants(&bindings());
    if std::env::var_os("FAASM_BLESS").is_some() {
        fs::write(&path, generated).unwrap();
        return;
    }
    let there = fs::read_to_string(&path).unwrap();
    assert!(
        there == generated,
        "{} is not what the header gives; FAASM_BLESS=1 writes it anew:\n{generated}",
        path.display()
    );
}

#[test]
fn functions_of_the_header_are_those_of_the_guest() {
    let declared = functions(&bindings());
    let (imports, exports) = guest(&fs::read(image().join("py_func.wasm")).unwrap());

    // An import is named after its module and function, an export as in C.
    let mut implemented: BTreeMap<String, Signature> = BTreeMap::new();
    for ((module, name), signature) in imports {
        match module.as_str() {
            "faasm" => drop(implemented.insert(format!("faasm_{name}"), signature)),
            module => assert_eq!(module, "wasi_snapshot_preview1", "the guest imports {module}.{name}"),
        }
    }
    implemented.extend(exports.into_iter().filter(|(name, _)| name.starts_with("faasm_")));
    assert_eq!(implemented, declared);
}

/// Runs bindgen on the header. It loads libclang at run time and looks for it in an environment variable, which a process
/// with several threads must not set for itself; so a child does it.
fn bindings() -> syn::File {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bindings.rs");
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "run_bindgen", "--ignored"])
        .env(LIBCLANG, libclang())
        .env(BINDINGS, &file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    syn::parse_file(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
#[ignore = "run by the other tests in a process of its own"]
fn run_bindgen() {
    let Some(file) = std::env::var_os(BINDINGS) else { return };
    let include = tempfile::tempdir().unwrap();
    for (name, content) in C_HEADERS {
        fs::write(include.path().join(name), content).unwrap();
    }
    let bindings = bindgen::Builder::default()
        .header(py_func_package().join("guest/faasm.h").to_str().unwrap())
        .clang_args(["-nostdinc", "-I", include.path().to_str().unwrap()])
        .allowlist_item("(faasm|FAASM)_.*")
        .disable_header_comment()
        .layout_tests(false)
        .formatter(bindgen::Formatter::None)
        .generate()
        .unwrap();
    bindings.write_to_file(file).unwrap();
}

/// The directory with the pinned libclang, downloaded if the cache has none.
fn libclang() -> PathBuf {
    let cx = Context::from_env().unwrap();
    let pin = source::pin::libclang().unwrap();
    let key = Key::new().value("sha256", pin.sha256);
    let directory = cx
        .entry("source", "libclang", &key, |directory| source::unpack(&source::fetch(&cx, pin)?, directory))
        .unwrap();
    let wheel = format!("libclang-{}.data/platlib", pin.version);
    let candidates = [directory.clone(), directory.join(wheel)].map(|it| it.join("clang/native"));
    candidates.into_iter().find(|it| it.is_dir()).expect("the wheel has a library")
}

/// The header's constants as the host's module.
fn constants(bindings: &syn::File) -> String {
    let mut text = "//! The constants of the host interface, generated from `guest/faasm.h`. To make them anew:\n\
                    //! `FAASM_BLESS=1 cargo test -p faasm-tests --test abi`.\n\n\
                    #![allow(dead_code, reason = \"all of the interface is here, whatever the host uses of it\")]\n\n"
        .to_owned();
    for item in &bindings.items {
        let syn::Item::Const(syn::ItemConst { ident, ty, expr, .. }) = item else { continue };
        let syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Int(value), .. }) = &**expr else {
            panic!("{ident} is no number")
        };
        text += &format!("pub(crate) const {ident}: {} = {};\n", type_name(ty), value.base10_digits());
    }
    text
}

/// The header's functions.
fn functions(bindings: &syn::File) -> BTreeMap<String, Signature> {
    let blocks = bindings.items.iter().filter_map(|item| match item {
        syn::Item::ForeignMod(block) => Some(&block.items),
        _ => None,
    });
    let functions = blocks.flatten().map(|item| {
        let syn::ForeignItem::Fn(function) = item else {
            panic!("the header declares something but functions")
        };
        let parameters = function.sig.inputs.iter().map(|parameter| match parameter {
            syn::FnArg::Typed(parameter) => value_type(&parameter.ty),
            syn::FnArg::Receiver(_) => unreachable!("C has no methods"),
        });
        let results = match &function.sig.output {
            syn::ReturnType::Default => Vec::new(),
            syn::ReturnType::Type(_, ty) => vec![value_type(ty)],
        };
        (function.sig.ident.to_string(), (parameters.collect(), results))
    });
    functions.collect()
}

/// What a type of C becomes in WebAssembly with 32-bit addresses.
fn value_type(ty: &syn::Type) -> ValType {
    match ty {
        syn::Type::Ptr(_) => ValType::I32,
        _ => match type_name(ty).as_str() {
            "u32" | "i32" => ValType::I32,
            "u64" | "i64" => ValType::I64,
            other => panic!("the interface has a parameter or result of the type {other}"),
        },
    }
}

fn type_name(ty: &syn::Type) -> String {
    let syn::Type::Path(path) = ty else { panic!("the header has a type without a name") };
    path.path.segments.last().unwrap().ident.to_string()
}

type Imports = BTreeMap<(String, String), Signature>;
type Exports = BTreeMap<String, Signature>;

/// The functions that a module imports and exports.
fn guest(wasm: &[u8]) -> (Imports, Exports) {
    let (mut types, mut functions) = (Vec::new(), Vec::new());
    let (mut imports, mut exports) = (BTreeMap::new(), BTreeMap::new());
    let signature = |ty: &FuncType| (ty.params().to_vec(), ty.results().to_vec());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::TypeSection(section) => {
                types.extend(section.into_iter_err_on_gc_types().map(|ty| signature(&ty.unwrap())));
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.unwrap();
                    let TypeRef::Func(ty) = import.ty else { panic!("{import:?} is imported") };
                    functions.push(ty);
                    let name = (import.module.to_owned(), import.name.to_owned());
                    imports.insert(name, types[ty as usize].clone());
                }
            }
            Payload::FunctionSection(section) => functions.extend(section.into_iter().map(Result::unwrap)),
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.unwrap();
                    if export.kind == ExternalKind::Func {
                        let ty = functions[export.index as usize] as usize;
                        exports.insert(export.name.to_owned(), types[ty].clone());
                    }
                }
            }
            _ => {}
        }
    }
    (imports, exports)
}
