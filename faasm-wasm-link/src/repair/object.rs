//! A relocatable object, as far as its tables and their functions go.

use std::collections::BTreeMap;

use wasmparser::{
    BinaryReader, DataSectionReader, FuncType, KnownCustom, Linking, Parser, Payload, RelocationEntry,
    RelocationType, SymbolInfo, TypeRef, ValType,
};

use super::Signature;
use crate::error::{Error, Result};

pub(super) struct Object<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) types: Vec<FuncType>,
    /// The type of each function, of the imported ones first.
    functions: Vec<u32>,
    imports: Vec<&'a str>,
    symbols: Vec<SymbolInfo<'a>>,
    segments: Vec<&'a [u8]>,
    /// The relocations of data, by segment and offset in it.
    relocations: BTreeMap<(usize, u32), Relocation>,
}

/// A pointer in the data.
#[derive(Clone, Copy, Debug)]
pub(super) struct Relocation {
    /// Its number among the relocations of the data section.
    pub(super) number: usize,
    pub(super) target: Target,
}

/// What a pointer is to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target {
    /// A function, by its symbol.
    Function(u32),
    /// A place in data: a symbol and an offset.
    Data(u32, i64),
    Other,
}

/// A variable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable {
    segment: usize,
    offset: u32,
    /// How many bytes it has.
    pub(super) size: u32,
}

/// A function that a symbol names.
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    ty: &'a FuncType,
}

impl Function<'_> {
    /// `None` if there are parameters or results that are no 32-bit integers.
    pub(super) fn signature(&self) -> Option<Signature> {
        let (parameters, results) = (self.ty.params(), self.ty.results());
        let plain = parameters.iter().chain(results).all(|ty| *ty == ValType::I32) && results.len() <= 1;
        plain.then_some(Signature {
            parameters: u32::try_from(parameters.len()).ok()?,
            result: !results.is_empty(),
        })
    }
}

impl<'a> Object<'a> {
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut object = Self {
            bytes,
            types: Vec::new(),
            functions: Vec::new(),
            imports: Vec::new(),
            symbols: Vec::new(),
            segments: Vec::new(),
            relocations: BTreeMap::new(),
        };
        let mut places = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        object.types.push(ty?);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(ty) = import.ty {
                            object.functions.push(ty);
                            object.imports.push(import.name);
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        object.functions.push(ty?);
                    }
                }
                Payload::DataSection(section) => places = object.read_data(&section)?,
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::Linking(section) => object.read_symbols(&section)?,
                    _ if section.name() == DATA_RELOCATIONS => {
                        object.read_relocations(section.data(), &places)?;
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        if object.symbols.is_empty() {
            return Err(Error::Unsuitable("it has no symbols, so it is no relocatable object".to_owned()));
        }
        Ok(object)
    }

    /// Reads the segments, and answers where in the section each one's content begins.
    fn read_data(&mut self, section: &DataSectionReader<'a>) -> Result<Vec<usize>> {
        let start = section.range().start;
        let mut places = Vec::new();
        for segment in section.clone() {
            let segment = segment?;
            places.push(segment.range.end - segment.data.len() - start);
            self.segments.push(segment.data);
        }
        Ok(places)
    }

    fn read_symbols(&mut self, section: &wasmparser::LinkingSectionReader<'a>) -> Result<()> {
        for subsection in section.subsections() {
            if let Linking::SymbolTable(symbols) = subsection? {
                for symbol in symbols {
                    self.symbols.push(symbol?);
                }
            }
        }
        Ok(())
    }

    fn read_relocations(&mut self, section: &[u8], places: &[usize]) -> Result<()> {
        let section = wasmparser::RelocSectionReader::new(BinaryReader::new(section, 0))?;
        for (number, entry) in section.entries().into_iter().enumerate() {
            let entry: RelocationEntry = entry?;
            let offset = entry.offset as usize;
            // The segments' places are sorted, so this is the last one that begins before.
            let Some(segment) = places.partition_point(|place| *place <= offset).checked_sub(1) else {
                continue;
            };
            let within = offset - places.get(segment).copied().unwrap_or_default();
            let target = match entry.ty {
                RelocationType::TableIndexI32 => Target::Function(entry.index),
                RelocationType::MemoryAddrI32 => Target::Data(entry.index, entry.addend),
                _ => Target::Other,
            };
            let within =
                u32::try_from(within).map_err(|_| Error::Unsuitable("its data is too large".to_owned()))?;
            self.relocations.insert((segment, within), Relocation { number, target });
        }
        Ok(())
    }

    /// How many symbols there are.
    pub(super) fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// How many functions there are, imported ones included.
    pub(super) fn function_count(&self) -> usize {
        self.functions.len()
    }

    /// The variables that the object defines, with their names.
    pub(super) fn variables(&self) -> impl Iterator<Item = (&'a str, Variable)> + '_ {
        self.symbols.iter().filter_map(|symbol| match symbol {
            SymbolInfo::Data { name, symbol: Some(place), .. } => Some((*name, variable(place))),
            _ => None,
        })
    }

    /// The function that a symbol names.
    pub(super) fn function(&self, symbol: u32) -> Option<Function<'_>> {
        let SymbolInfo::Func { index, name, .. } = self.symbols.get(symbol as usize)? else { return None };
        let name = name.or_else(|| self.imports.get(*index as usize).copied())?;
        let ty = *self.functions.get(*index as usize)?;
        Some(Function { name, ty: self.types.get(ty as usize)? })
    }

    /// What a pointer to data points to, if that is the beginning of a variable that the object defines.
    pub(super) fn variable(&self, symbol: u32, addend: i64) -> Option<Variable> {
        match self.symbols.get(symbol as usize)? {
            SymbolInfo::Data { symbol: Some(place), .. } if addend == 0 => Some(variable(place)),
            _ => None,
        }
    }

    /// The text that a pointer to data points to, up to the zero that ends it.
    pub(super) fn text(&self, symbol: u32, addend: i64) -> Option<&'a str> {
        let SymbolInfo::Data { symbol: Some(place), .. } = self.symbols.get(symbol as usize)? else {
            return None;
        };
        let start = usize::try_from(i64::from(place.offset) + addend).ok()?;
        let bytes = self.segments.get(place.index as usize)?.get(start..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        std::str::from_utf8(bytes.get(..end)?).ok()
    }

    /// The word at an offset in a variable.
    pub(super) fn word(&self, variable: Variable, offset: u32) -> Option<u32> {
        let start = variable.offset.checked_add(offset)? as usize;
        let bytes = self.segments.get(variable.segment)?.get(start..)?.first_chunk::<4>()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// The pointer at an offset in a variable, if there is one.
    pub(super) fn pointer(&self, variable: Variable, offset: u32) -> Option<Relocation> {
        let offset = variable.offset.checked_add(offset)?;
        self.relocations.get(&(variable.segment, offset)).copied()
    }
}

fn variable(place: &wasmparser::DefinedDataSymbol) -> Variable {
    Variable { segment: place.index as usize, offset: place.offset, size: place.size }
}

pub(super) const DATA_RELOCATIONS: &str = "reloc.DATA";
pub(super) const CODE_RELOCATIONS: &str = "reloc.CODE";
