//! Reduces a WebAssembly module to its code, checks that its memory is all the state it has, and makes it stoppable.

use std::ops::Range;

use wasm_encoder::{
    CodeSection, FunctionSection, Module, RawSection, TypeSection,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{
    DataKind, Encoding, ExternalKind, FunctionBody, GlobalType, KnownCustom, MemoryType, Operator, Parser,
    Payload, RefType, TypeRef, ValType,
};

use super::{bulk, poll};
use crate::{Error, Result};

/// The module without data segments and without custom sections but the names of functions, with the reads in its code by
/// which it can be stopped.
///
/// Fails if a sandbox restored from an image of its memory would not be as the captured one was.
pub(super) fn strip(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::new();
    let mut state = State::default();
    let mut code = CodeSection::new();
    for payload in Parser::new(0).parse_all(wasm) {
        let payload = payload?;
        state.check(&payload)?;
        let keep = match &payload {
            Payload::DataSection(_) | Payload::DataCountSection { .. } => false,
            // Two more functions, of a type that is added.
            Payload::TypeSection(section) => {
                let mut types = TypeSection::new();
                RoundtripReencoder.parse_type_section(&mut types, section.clone()).map_err(reencoded)?;
                state.types = types.len();
                types.ty().function(bulk::PARAMETERS, []);
                module.section(&types);
                false
            }
            Payload::FunctionSection(section) => {
                let mut functions = FunctionSection::new();
                RoundtripReencoder
                    .parse_function_section(&mut functions, section.clone())
                    .map_err(reencoded)?;
                let first = u32::try_from(state.imported_functions)
                    .unwrap_or(u32::MAX)
                    .saturating_add(functions.len());
                state.bulk = bulk::Functions { copy: first, fill: first.saturating_add(1) };
                functions.function(state.types).function(state.types);
                module.section(&functions);
                false
            }
            Payload::CodeSectionStart { .. } => false,
            Payload::CodeSectionEntry(body) => {
                code.raw(&poll::instrument(body, state.bulk)?);
                if code.len() == state.bodies {
                    bulk::append(&mut code);
                    module.section(&code);
                }
                false
            }
            Payload::CustomSection(section) => matches!(section.as_known(), KnownCustom::Name(_)),
            _ => true,
        };
        if let Some((id, range)) = payload.as_section()
            && keep
        {
            module.section(&RawSection { id, data: section(wasm, range, id)? });
        }
    }
    state.check_end()?;
    Ok(module.finish())
}

fn reencoded(error: wasm_encoder::reencode::Error) -> Error {
    Error::Unsuitable(error.to_string())
}

fn section(wasm: &[u8], range: Range<usize>, id: u8) -> Result<&[u8]> {
    // The parser has read this range, so this does not fail; but nothing here may panic on input.
    wasm.get(range).ok_or_else(|| Error::Unsuitable(format!("section {id} ends outside the module")))
}

/// What was seen of the module so far.
#[derive(Default)]
struct State {
    memories: usize,
    imported_functions: usize,
    functions: usize,
    /// How many functions the code section has.
    bodies: u32,
    /// How many types there are.
    types: u32,
    /// Which of them have parameters that are references.
    types_with_references: Vec<bool>,
    bulk: bulk::Functions,
    imported_globals: u32,
    /// Indices of globals that code can write.
    variables: Vec<u32>,
    exported_globals: Vec<u32>,
}

fn unsuitable<T>(reason: impl Into<String>) -> Result<T> {
    Err(Error::Unsuitable(reason.into()))
}

impl State {
    fn check(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                unsuitable("it is a component and not a module")
            }
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    match import.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => self.imported_functions += 1,
                        TypeRef::Global(GlobalType { mutable: false, .. }) => self.imported_globals += 1,
                        _ => {
                            return unsuitable(format!(
                                "it imports state, {}::{}",
                                import.module, import.name
                            ));
                        }
                    }
                }
                Ok(())
            }
            Payload::MemorySection(section) => {
                for ty in section.clone() {
                    self.memories += 1;
                    if !matches!(ty?, MemoryType { memory64: false, shared: false, page_size_log2: None, .. })
                    {
                        return unsuitable("its memory is 64-bit, shared, or has pages of another size");
                    }
                }
                Ok(())
            }
            Payload::TypeSection(section) => {
                for ty in section.clone().into_iter_err_on_gc_types() {
                    let has_reference = ty?.params().iter().any(ValType::is_reference_type);
                    self.types_with_references.push(has_reference);
                }
                Ok(())
            }
            // References to exceptions are in local variables only, so that they end with the call.
            Payload::TagSection(section) => {
                for tag in section.clone() {
                    let ty = tag?.func_type_idx as usize;
                    if self.types_with_references.get(ty).copied().unwrap_or(true) {
                        return unsuitable("one of its exceptions has a reference");
                    }
                }
                Ok(())
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    if table?.ty.element_type != RefType::FUNCREF {
                        return unsuitable("one of its tables has something else than functions");
                    }
                }
                Ok(())
            }
            Payload::GlobalSection(section) => {
                for (index, global) in (self.imported_globals..).zip(section.clone()) {
                    let ty = global?.ty;
                    if ty.mutable && ty.content_type.is_reference_type() {
                        return unsuitable(format!("global {index} holds a reference that code can change"));
                    }
                    if ty.content_type.is_reference_type() && ty.content_type != ValType::FUNCREF {
                        return unsuitable(format!(
                            "global {index} refers to something else than a function"
                        ));
                    }
                    if ty.mutable && ty.content_type == ValType::V128 {
                        return unsuitable(format!("global {index} holds a vector that code can change"));
                    }
                    if ty.mutable {
                        self.variables.push(index);
                    }
                }
                Ok(())
            }
            Payload::ExportSection(section) => {
                for export in section.clone() {
                    let export = export?;
                    if export.kind == ExternalKind::Global {
                        self.exported_globals.push(export.index);
                    }
                }
                Ok(())
            }
            Payload::StartSection { .. } => {
                unsuitable("it has a start function, which would run again in every sandbox")
            }
            Payload::DataSection(section) => {
                for segment in section.clone() {
                    if matches!(segment?.kind, DataKind::Passive) {
                        return unsuitable("it has passive data segments; link it without shared memory");
                    }
                }
                Ok(())
            }
            Payload::CodeSectionStart { count, .. } => {
                self.bodies = *count;
                Ok(())
            }
            Payload::CodeSectionEntry(body) => {
                self.check_code(body)?;
                self.functions += 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_code(&self, body: &FunctionBody<'_>) -> Result<()> {
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            let what = match operators.read()? {
                Operator::TableSet { .. }
                | Operator::TableGrow { .. }
                | Operator::TableFill { .. }
                | Operator::TableCopy { .. }
                | Operator::TableInit { .. } => "changes a table",
                Operator::MemoryInit { .. } | Operator::DataDrop { .. } => "uses a data segment",
                _ => continue,
            };
            let function = self.imported_functions + self.functions;
            return unsuitable(format!("its function {function} {what}, which an image of its memory loses"));
        }
        Ok(())
    }

    fn check_end(&self) -> Result<()> {
        if self.memories != 1 {
            return unsuitable(format!("it has {} memories where an image has one", self.memories));
        }
        match self.variables.iter().find(|index| !self.exported_globals.contains(index)) {
            Some(index) => unsuitable(format!(
                "global {index} can be written and is not exported, so it cannot be seen whether an image loses it \
                 (`wasm-ld --export=__stack_pointer` exports the usual one)"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::SectionId;

    use super::*;

    #[test]
    fn what_an_image_would_lose_is_named() {
        let cases = [
            (r#"(module (memory 1) (memory 1))"#, "it has 2 memories"),
            (r#"(module)"#, "it has 0 memories"),
            (r#"(module (import "env" "memory" (memory 1)))"#, "it imports state, env::memory"),
            (r#"(module (memory i64 1))"#, "its memory is 64-bit"),
            (r#"(module (memory 1) (global (mut i32) (i32.const 0)))"#, "global 0 can be written"),
            (
                r#"(module (import "m" "g" (global i32)) (memory 1) (global (export "r") (mut funcref) (ref.null func)))"#,
                "global 1 holds a reference",
            ),
            (
                r#"(module (memory 1) (global (export "v") (mut v128) (v128.const i64x2 0 0)))"#,
                "global 0 holds a vector",
            ),
            (
                r#"(module (memory 1) (global externref (ref.null extern)))"#,
                "global 0 refers to something else",
            ),
            (r#"(module (memory 1) (table 1 exnref))"#, "one of its tables has something else"),
            (r#"(module (memory 1) (tag (param exnref)))"#, "one of its exceptions has a reference"),
            (r#"(module (memory 1) (func $f) (start $f))"#, "it has a start function"),
            (r#"(module (memory 1) (data "x"))"#, "it has passive data segments"),
            (
                r#"(module (import "m" "f" (func)) (memory 1) (table 1 funcref) (func)
                    (func (table.set (i32.const 0) (ref.null func))))"#,
                "its function 2 changes a table",
            ),
            (
                r#"(module (memory 1) (data (i32.const 0) "x") (func (data.drop 0)))"#,
                "its function 0 uses a data segment",
            ),
            (r#"(component)"#, "it is a component"),
        ];
        for (wasm, expected) in cases {
            let error = strip(&wat::parse_str(wasm).unwrap()).unwrap_err();
            assert!(error.to_string().contains(expected), "{wasm}: {error}");
        }
        for garbage in [&b""[..], b"\0asm", b"\x7fELF\x02\x01\x01\0\0\0\0\0"] {
            assert!(matches!(strip(garbage), Err(Error::Parse(_))), "{garbage:?}");
        }
    }

    #[test]
    fn data_goes_and_code_and_names_stay() {
        let wasm = r#"(module (memory 1) (data (i32.const 0) "secret") (@custom "producers" "x")
            (table funcref (elem $f)) (global (export "g") (mut i32) (i32.const 0)) (func $f))"#;
        let stripped = strip(&wat::parse_str(wasm).unwrap()).unwrap();
        let printed: Vec<_> = Parser::new(0)
            .parse_all(&stripped)
            .filter_map(|payload| payload.unwrap().as_section())
            .map(|(id, _)| id)
            .collect();
        let expected = [
            SectionId::Type,
            SectionId::Function,
            SectionId::Table,
            SectionId::Memory,
            SectionId::Global,
            SectionId::Export,
            SectionId::Element,
            SectionId::Code,
            SectionId::Custom,
        ];
        assert_eq!(printed, expected.map(u8::from));
    }
}
