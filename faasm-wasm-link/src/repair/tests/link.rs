//! The little of a linker that the generated objects need, and running the result.

use wasm_encoder::{
    ConstExpr, DataSection, ElementSection, Elements, ExportKind, ExportSection, FunctionSection,
    MemorySection, MemoryType, Module, RawSection, RefType, TableSection, TableType,
};
use wasmparser::{
    BinaryReader, KnownCustom, Linking, Parser, Payload, RelocSectionReader, RelocationType, SymbolInfo,
};
use wasmtime::{Engine, Instance, Memory, Ref, Store, Table, Val, ValType};

use super::generate::{START, STORED};
use crate::repair::Signature;

/// A module that runs.
pub(super) struct Linked {
    store: std::cell::RefCell<Store<()>>,
    memory: Memory,
    table: Table,
}

impl Linked {
    pub(super) fn new(object: &[u8]) -> Self {
        let engine = Engine::default();
        let module = wasmtime::Module::new(&engine, link(object)).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let table = instance.get_table(&mut store, "table").unwrap();
        Self { store: store.into(), memory, table }
    }

    fn function(&self, pointer: u32) -> wasmtime::Func {
        let mut store = self.store.borrow_mut();
        let mut word = [0; 4];
        self.memory.read(&*store, pointer as usize, &mut word).unwrap();
        match self.table.get(&mut *store, u32::from_le_bytes(word).into()) {
            Some(Ref::Func(Some(function))) => function,
            other => panic!("{other:?} at {pointer}"),
        }
    }

    /// The type of the function to which the pointer at an address points; `None` if it is not of 32-bit integers.
    pub(super) fn signature(&self, pointer: u32) -> Option<Signature> {
        let ty = self.function(pointer).ty(&*self.store.borrow());
        let plain = ty.params().chain(ty.results()).all(|it| matches!(it, ValType::I32));
        plain.then(|| Signature { parameters: ty.params().len() as u32, result: ty.results().len() == 1 })
    }

    /// Calls the function to which the pointer at an address points. Answers its result and what it stored.
    pub(super) fn call(&self, pointer: u32, arguments: &[i32]) -> (Option<i32>, i32) {
        let function = self.function(pointer);
        let mut store = self.store.borrow_mut();
        let mut results = vec![Val::I32(0); function.ty(&*store).results().len()];
        let arguments: Vec<Val> = arguments.iter().map(|it| Val::I32(*it)).collect();
        function.call(&mut *store, &arguments, &mut results).unwrap();
        let mut stored = [0; 4];
        self.memory.read(&*store, STORED as usize, &mut stored).unwrap();
        (results.first().map(Val::unwrap_i32), i32::from_le_bytes(stored))
    }
}

/// Data lies from [`START`] on, and a function's place in the table is its number and one.
fn link(object: &[u8]) -> Vec<u8> {
    let (mut data, mut code) = (Vec::new(), Vec::new());
    let (mut symbols, mut relocations, mut functions, mut types) = (Vec::new(), Vec::new(), Vec::new(), None);
    let mut segments = Vec::new();
    for payload in Parser::new(0).parse_all(object) {
        let payload = payload.unwrap();
        let range = payload.as_section().map(|(_, range)| range).unwrap_or_default();
        match payload {
            Payload::TypeSection(_) => types = Some(&object[range]),
            Payload::FunctionSection(section) => functions.extend(section.into_iter().map(Result::unwrap)),
            Payload::CodeSectionStart { .. } => code = object[range].to_vec(),
            Payload::DataSection(section) => {
                for segment in section {
                    let segment = segment.unwrap();
                    segments.push((segment.range.end - segment.data.len() - range.start, segment.data.len()));
                }
                data = object[range].to_vec();
            }
            Payload::CustomSection(section) => match section.as_known() {
                KnownCustom::Linking(section) => {
                    for subsection in section.subsections() {
                        if let Linking::SymbolTable(table) = subsection.unwrap() {
                            symbols.extend(table.into_iter().map(Result::unwrap));
                        }
                    }
                }
                _ if section.name().starts_with("reloc.") => {
                    let reader = RelocSectionReader::new(BinaryReader::new(section.data(), 0)).unwrap();
                    relocations.extend(
                        reader.entries().into_iter().map(|it| (section.name() == "reloc.CODE", it.unwrap())),
                    );
                }
                _ => {}
            },
            _ => {}
        }
    }

    let mut next = START;
    let mut addresses = Vec::new();
    for (_, size) in &segments {
        addresses.push(next);
        next += *size as u32;
    }
    for (in_code, entry) in relocations {
        let section = if in_code { &mut code } else { &mut data };
        let value = match symbols[entry.index as usize] {
            SymbolInfo::Func { index, .. } if entry.ty == RelocationType::TableIndexI32 => index + 1,
            SymbolInfo::Func { index, .. } => index,
            SymbolInfo::Data { symbol: Some(place), .. } => addresses[place.index as usize] + place.offset,
            ref other => panic!("{other:?}"),
        };
        let bytes: Vec<u8> = match entry.ty {
            RelocationType::FunctionIndexLeb => (0..5)
                .map(|byte| (value >> (7 * byte)) as u8 & 0x7f | if byte < 4 { 0x80 } else { 0 })
                .collect(),
            _ => value.to_le_bytes().to_vec(),
        };
        section[entry.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }

    let mut module = Module::new();
    module.section(&RawSection { id: 1, data: types.unwrap() });
    let mut section = FunctionSection::new();
    for ty in &functions {
        section.function(*ty);
    }
    module.section(&section);
    let count = functions.len() as u32;
    let mut tables = TableSection::new();
    let size = u64::from(count) + 1;
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        minimum: size,
        maximum: None,
        table64: false,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0).export("table", ExportKind::Table, 0);
    let mut elements = ElementSection::new();
    let all: Vec<u32> = (0..count).collect();
    elements.active(None, &ConstExpr::i32_const(1), Elements::Functions(all.into()));
    module.section(&tables).section(&memories).section(&exports).section(&elements);
    module.section(&RawSection { id: 10, data: &code });
    let mut section = DataSection::new();
    for ((place, size), address) in segments.iter().zip(&addresses) {
        section.active(0, &ConstExpr::i32_const(*address as i32), data[*place..][..*size].iter().copied());
    }
    module.section(&section);
    module.finish()
}
