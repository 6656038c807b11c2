//! Symbols of relocatable objects.
//!
//! The format is described in <https://github.com/WebAssembly/tool-conventions/blob/main/Linking.md>.

use std::borrow::Cow;

use wasm_encoder::{Encode as _, RawSection};
use wasmparser::{BinaryReader, Parser, Payload};

use crate::error::{Error, Result};

pub(crate) const LINKING: &str = "linking";

/// Versions of the linking section that are understood.
const VERSION: u32 = 2;

/// Subsections of the linking section.
const INIT_FUNCTIONS: u8 = 6;
const COMDAT_INFO: u8 = 7;
const SYMBOL_TABLE: u8 = 8;

const WEAK: u32 = 0x1;
const LOCAL: u32 = 0x2;
const HIDDEN: u32 = 0x4;
const UNDEFINED: u32 = 0x10;
const EXPORTED: u32 = 0x20;
const EXPLICIT_NAME: u32 = 0x40;

/// A symbol with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name.
    pub name: String,
    /// Whether the object has what it names, or needs it.
    pub defined: bool,
    /// Whether other objects can refer to it.
    pub private: bool,
}

/// The symbols of an object, without those of sections, which have no name.
///
/// # Errors
///
/// When it is no relocatable object.
pub fn symbols(object: &[u8]) -> Result<Vec<Symbol>> {
    let mut symbols = Vec::new();
    let section = linking_section(object)?;
    for (id, content) in section.subsections()? {
        if id == SYMBOL_TABLE {
            symbols.extend(read_symbols(content)?.iter().filter_map(|raw| {
                let name = raw.name.as_deref()?.to_owned();
                Some(Symbol { name, defined: raw.flags & UNDEFINED == 0, private: raw.flags & LOCAL != 0 })
            }));
        }
    }
    Ok(symbols)
}

/// The bytes of code and of data that an object adds to what is linked with it.
///
/// # Errors
///
/// When it is no WebAssembly.
pub fn size(object: &[u8]) -> Result<u64> {
    let mut size = 0;
    for payload in Parser::new(0).parse_all(object) {
        let payload = payload?;
        if let Payload::CodeSectionStart { range, .. } = &payload {
            size += range.len() as u64;
        } else if let Payload::DataSection(reader) = &payload {
            size += reader.range().len() as u64;
        }
    }
    Ok(size)
}

/// The object with everything it defines made private, but for the symbols to which `public` answers the name that they are
/// to have.
///
/// That gives an extension module in a static link what it has as a shared library: no other module sees its symbols, and none
/// of its own is taken from another. So that nothing of it is merged with what others have, its COMDAT groups are dissolved.
///
/// # Errors
///
/// When it is no relocatable object.
pub fn make_private(object: &[u8], public: impl Fn(&str) -> Option<String>) -> Result<Vec<u8>> {
    rewrite(object, |id, subsection| {
        Ok(match id {
            COMDAT_INFO => None,
            SYMBOL_TABLE => {
                let mut symbols = read_symbols(subsection)?;
                symbols.iter_mut().for_each(|symbol| symbol.make_private(&public));
                Some(write_symbols(&symbols)?.into())
            }
            _ => Some(subsection.into()),
        })
    })
}

/// The object without functions that run before anything else, such as those that construct static objects of C++, and how many it
/// had. They are public instead, under names that `name` gives to their numbers, in the order in which they were to run.
///
/// A shared library's are run when it is loaded. In a static link all would run before `main`, where an extension module cannot use
/// the interpreter yet.
///
/// # Errors
///
/// When it is no relocatable object.
pub fn take_constructors(object: &[u8], name: impl Fn(usize) -> String) -> Result<(Vec<u8>, usize)> {
    let mut constructors = Vec::new();
    for (id, subsection) in linking_section(object)?.subsections()? {
        if id == INIT_FUNCTIONS {
            constructors.extend(read_constructors(subsection)?);
        }
    }
    // Those of one priority are in order.
    constructors.sort_by_key(|it| it.priority);
    let object = rewrite(object, |id, subsection| {
        Ok(match id {
            INIT_FUNCTIONS => None,
            SYMBOL_TABLE => {
                let mut symbols = read_symbols(subsection)?;
                for (number, constructor) in constructors.iter().enumerate() {
                    let symbol = symbols.get_mut(constructor.symbol as usize).filter(|it| it.is_function());
                    let symbol = symbol.ok_or_else(|| {
                        Error::Unsuitable(
                            "something is to run at the start that is none of its functions".to_owned(),
                        )
                    })?;
                    symbol.flags &= EXPLICIT_NAME;
                    symbol.name = Some(name(number).into());
                }
                Some(write_symbols(&symbols)?.into())
            }
            _ => Some(subsection.into()),
        })
    })?;
    Ok((object, constructors.len()))
}

/// The object with its linking section changed as [`LinkingSection::changed`] says.
fn rewrite<'a>(
    object: &'a [u8],
    change: impl Fn(u8, &'a [u8]) -> Result<Option<Cow<'a, [u8]>>>,
) -> Result<Vec<u8>> {
    let content = linking_section(object)?.changed(change)?;
    let mut module = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(object) {
        let payload = payload?;
        if let Payload::CustomSection(custom) = &payload
            && custom.name() == LINKING
        {
            module.section(&wasm_encoder::CustomSection {
                name: LINKING.into(),
                data: content.as_slice().into(),
            });
        } else if let Some((id, range)) = payload.as_section() {
            let data = object.get(range).unwrap_or_default();
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

/// The content of a linking section with symbols for more functions, given by their number and name, which are private.
pub(crate) fn with_functions(section: &[u8], functions: &[(u32, String)]) -> Result<Vec<u8>> {
    let encoded = |(index, _): &(u32, String)| {
        let mut bytes = Vec::new();
        index.encode(&mut bytes);
        bytes
    };
    let indices: Vec<Vec<u8>> = functions.iter().map(encoded).collect();
    LinkingSection::read(section)?.changed(|id, subsection| {
        if id != SYMBOL_TABLE {
            return Ok(Some(subsection.into()));
        }
        let mut symbols = read_symbols(subsection)?;
        symbols.extend(functions.iter().zip(&indices).map(|((_, name), index)| RawSymbol {
            kind: KIND_FUNCTION,
            flags: LOCAL,
            name: Some(name.into()),
            definition: index,
        }));
        Ok(Some(write_symbols(&symbols)?.into()))
    })
}

struct LinkingSection<'a>(&'a [u8]);

fn linking_section(object: &[u8]) -> Result<LinkingSection<'_>> {
    for payload in Parser::new(0).parse_all(object) {
        if let Payload::CustomSection(custom) = payload?
            && custom.name() == LINKING
        {
            return LinkingSection::read(custom.data());
        }
    }
    Err(Error::Unsuitable("it has no linking section, so it is no relocatable object".to_owned()))
}

impl<'a> LinkingSection<'a> {
    fn read(section: &'a [u8]) -> Result<Self> {
        let mut reader = BinaryReader::new(section, 0);
        let version = reader.read_var_u32()?;
        if version != VERSION {
            let reason = format!("its linking section has version {version}, and {VERSION} is known");
            return Err(Error::Unsuitable(reason));
        }
        Ok(Self(reader.read_bytes(reader.bytes_remaining())?))
    }

    /// Its content with subsections as `change` has them, without those for which it has none.
    fn changed(&self, change: impl Fn(u8, &'a [u8]) -> Result<Option<Cow<'a, [u8]>>>) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        VERSION.encode(&mut content);
        for (id, subsection) in self.subsections()? {
            if let Some(changed) = change(id, subsection)? {
                content.push(id);
                changed.encode(&mut content);
            }
        }
        Ok(content)
    }

    fn subsections(&self) -> Result<Vec<(u8, &'a [u8])>> {
        let mut reader = BinaryReader::new(self.0, 0);
        let mut subsections = Vec::new();
        while !reader.eof() {
            let id = reader.read_u8()?;
            let length = reader.read_var_u32()? as usize;
            subsections.push((id, reader.read_bytes(length)?));
        }
        Ok(subsections)
    }
}

/// A function that is to run before anything else.
struct Constructor {
    /// Those of lower ones run earlier.
    priority: u32,
    /// The number of its symbol.
    symbol: u32,
}

fn read_constructors(subsection: &[u8]) -> Result<Vec<Constructor>> {
    let mut reader = BinaryReader::new(subsection, 0);
    let count = reader.read_var_u32()?;
    (0..count)
        .map(|_| Ok(Constructor { priority: reader.read_var_u32()?, symbol: reader.read_var_u32()? }))
        .collect()
}

/// A symbol as it is written.
struct RawSymbol<'a> {
    kind: u8,
    flags: u32,
    name: Option<Cow<'a, str>>,
    /// What it is the name of: an index, or the place of data. Written behind the name for data, before it for others.
    definition: &'a [u8],
}

const KIND_FUNCTION: u8 = 0;
const KIND_DATA: u8 = 1;
const KIND_SECTION: u8 = 3;

/// Functions, globals, tags and tables: they have an index, and a name of their own unless they are imported under that name.
const INDEXED: [u8; 4] = [0, 2, 4, 5];

fn read_symbols(subsection: &[u8]) -> Result<Vec<RawSymbol<'_>>> {
    let mut reader = BinaryReader::new(subsection, 0);
    let count = reader.read_var_u32()?;
    let mut symbols = Vec::new();
    for _ in 0..count {
        let kind = reader.read_u8()?;
        let flags = reader.read_var_u32()?;
        let mut name = None;
        let definition;
        if INDEXED.contains(&kind) {
            definition = read_numbers(&mut reader, subsection, 1)?;
            if flags & UNDEFINED == 0 || flags & EXPLICIT_NAME != 0 {
                name = Some(reader.read_string()?.into());
            }
        } else if kind == KIND_DATA {
            name = Some(reader.read_string()?.into());
            let numbers = if flags & UNDEFINED == 0 { 3 } else { 0 };
            definition = read_numbers(&mut reader, subsection, numbers)?;
        } else if kind == KIND_SECTION {
            definition = read_numbers(&mut reader, subsection, 1)?;
        } else {
            return Err(Error::Unsuitable(format!("it has a symbol of the unknown kind {kind}")));
        }
        symbols.push(RawSymbol { kind, flags, name, definition });
    }
    Ok(symbols)
}

/// The bytes of so many numbers.
fn read_numbers<'a>(reader: &mut BinaryReader<'_>, subsection: &'a [u8], count: usize) -> Result<&'a [u8]> {
    let start = reader.original_position();
    for _ in 0..count {
        reader.read_var_u32()?;
    }
    Ok(subsection.get(start..reader.original_position()).unwrap_or_default())
}

fn write_symbols(symbols: &[RawSymbol<'_>]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let count = u32::try_from(symbols.len()).map_err(|_| Error::Encoding("too many symbols".to_owned()))?;
    count.encode(&mut out);
    for symbol in symbols {
        out.push(symbol.kind);
        symbol.flags.encode(&mut out);
        if symbol.kind != KIND_DATA {
            out.extend(symbol.definition);
        }
        if let Some(name) = symbol.name.as_deref() {
            name.encode(&mut out);
        }
        if symbol.kind == KIND_DATA {
            out.extend(symbol.definition);
        }
    }
    Ok(out)
}

impl RawSymbol<'_> {
    /// Whether it is a function that the object has.
    fn is_function(&self) -> bool {
        self.kind == KIND_FUNCTION && self.flags & UNDEFINED == 0
    }

    fn make_private(&mut self, public: impl Fn(&str) -> Option<String>) {
        if self.flags & UNDEFINED != 0 || self.kind == KIND_SECTION {
            return;
        }
        match self.name.as_deref().and_then(public) {
            Some(name) => self.name = Some(name.into()),
            None => self.flags = self.flags & !(WEAK | HIDDEN | EXPORTED) | LOCAL,
        }
    }
}

#[cfg(test)]
mod tests;
