//! Adding functions to a relocatable object.
//!
//! They come last among the functions and among the symbols, so that no other changes its number.

use std::borrow::Cow;

use wasm_encoder::{CustomSection, Encode as _, Instruction, Module, RawSection};
use wasmparser::{
    BinaryReader, FuncType, Parser, Payload, RelocAddendKind, RelocSectionReader, RelocationEntry,
    RelocationType, ValType,
};

use super::Signature;
use super::object::{CODE_RELOCATIONS, DATA_RELOCATIONS, Object};
use crate::error::{Error, Result};
use crate::object::{LINKING, with_functions};

/// A function that calls another one as that wants to be called.
pub(super) struct Thunk {
    /// The symbol of the function that it calls.
    pub(super) symbol: u32,
    pub(super) has: Signature,
    pub(super) called_with: Signature,
}

/// Numbers of sections.
const TYPES: u8 = 1;
const FUNCTIONS: u8 = 3;
const CODE: u8 = 10;

const FUNCTION_TYPE: u8 = 0x60;
const I32: u8 = 0x7f;
const CALL: u8 = 0x10;

/// The operand of a call, of the size that the linker fills in.
const OPERAND: [u8; 5] = [0x80, 0x80, 0x80, 0x80, 0x00];

impl Thunk {
    /// The function's code, and where in it the number of the called function is.
    fn body(&self) -> (Vec<u8>, usize) {
        let mut body = Vec::new();
        // No variables but the parameters.
        0_u32.encode(&mut body);
        for parameter in 0..self.has.parameters {
            if parameter < self.called_with.parameters {
                Instruction::LocalGet(parameter).encode(&mut body);
            } else {
                Instruction::I32Const(0).encode(&mut body);
            }
        }
        body.push(CALL);
        let place = body.len();
        body.extend(OPERAND);
        match (self.has.result, self.called_with.result) {
            (true, false) => Instruction::Drop.encode(&mut body),
            (false, true) => Instruction::I32Const(0).encode(&mut body),
            _ => {}
        }
        Instruction::End.encode(&mut body);
        (body, place)
    }
}

impl Object<'_> {
    /// The object with these thunks, and with relocations of the data section, given by their number, that refer to a thunk,
    /// given by its place, instead of what they did.
    pub(super) fn with_thunks(&self, thunks: &[Thunk], redirected: &[(usize, usize)]) -> Result<Vec<u8>> {
        let first_symbol = number(self.symbol_count())?;
        let symbol = |thunk: usize| Ok::<_, Error>(first_symbol + number(thunk)?);
        let (added_types, types) = self.types_of(thunks)?;
        // Filled in when the code section is there, which comes before its relocations.
        let mut code = None;
        let mut has_code_relocations = false;

        let mut module = Module::new();
        let mut sections = 0_u32;
        for payload in Parser::new(0).parse_all(self.bytes) {
            let payload = payload?;
            let Some((id, range)) = payload.as_section() else { continue };
            let content = self.bytes.get(range).unwrap_or_default();
            let name = if let Payload::CustomSection(section) = &payload { section.name() } else { "" };
            let data: Cow<'_, [u8]> = match (&payload, id) {
                (Payload::CustomSection(section), _) if name == LINKING => {
                    let functions = thunks.iter().enumerate().map(|(place, thunk)| {
                        let called = self.function(thunk.symbol).map_or("", |it| it.name);
                        Ok((number(self.function_count() + place)?, format!("{called}.thunk.{place}")))
                    });
                    with_functions(section.data(), &functions.collect::<Result<Vec<_>>>()?)?.into()
                }
                (Payload::CustomSection(section), _) if name == DATA_RELOCATIONS => {
                    let change = |place: usize, entry: &mut RelocationEntry| {
                        if let Some((_, thunk)) =
                            redirected.iter().find(|(relocation, _)| *relocation == place)
                        {
                            entry.index = symbol(*thunk)?;
                        }
                        Ok(())
                    };
                    relocations(section.data(), change, &[])?.into()
                }
                (Payload::CustomSection(section), _) if name == CODE_RELOCATIONS => {
                    has_code_relocations = true;
                    let (moved, calls) = code
                        .as_ref()
                        .map_or((0, &[][..]), |(_, moved, calls): &(u32, u32, Vec<_>)| (*moved, calls));
                    let change = |_, entry: &mut RelocationEntry| {
                        entry.offset += moved;
                        Ok(())
                    };
                    relocations(section.data(), change, calls)?.into()
                }
                (_, TYPES) => appended(content, &added_types)?.0.into(),
                (_, FUNCTIONS) => {
                    appended(content, &types.iter().map(|ty| encoded(*ty)).collect::<Vec<_>>())?.0.into()
                }
                (_, CODE) => {
                    let bodies: Vec<(Vec<u8>, usize)> = thunks.iter().map(Thunk::body).collect();
                    let mut sized = Vec::new();
                    for (body, _) in &bodies {
                        sized.push([encoded(number(body.len())?), body.clone()].concat());
                    }
                    let (data, moved, places) = appended(content, &sized)?;
                    let mut calls = Vec::new();
                    for (place, (((body, call), sized), start)) in
                        bodies.iter().zip(&sized).zip(places).enumerate()
                    {
                        let offset = number(start + sized.len() - body.len() + call)?;
                        let thunk = thunks.get(place).map_or(0, |it| it.symbol);
                        calls.push(RelocationEntry {
                            ty: RelocationType::FunctionIndexLeb,
                            offset,
                            index: thunk,
                            addend: 0,
                        });
                    }
                    code = Some((sections, moved, calls));
                    data.into()
                }
                _ => content.into(),
            };
            if name.is_empty() || matches!(data, Cow::Borrowed(_)) {
                module.section(&RawSection { id, data: &data });
            } else {
                module.section(&CustomSection { name: name.into(), data: data.as_ref().into() });
            }
            sections += 1;
        }
        match code {
            None => Err(Error::Unsuitable("it has no code".to_owned())),
            Some((section, _, calls)) if !has_code_relocations => {
                let none = [encoded(section), encoded(0)].concat();
                let data = relocations(&none, |_, _| Ok(()), &calls)?;
                module.section(&CustomSection { name: CODE_RELOCATIONS.into(), data: data.into() });
                Ok(module.finish())
            }
            Some(_) => Ok(module.finish()),
        }
    }

    /// The types that the thunks add, encoded, and the number of each thunk's type.
    fn types_of(&self, thunks: &[Thunk]) -> Result<(Vec<Vec<u8>>, Vec<u32>)> {
        let mut known = self.types.clone();
        let mut added = Vec::new();
        let mut numbers = Vec::new();
        for thunk in thunks {
            let Signature { parameters, result } = thunk.called_with;
            let wanted = FuncType::new((0..parameters).map(|_| ValType::I32), result.then_some(ValType::I32));
            let place = match known.iter().position(|it| *it == wanted) {
                Some(place) => place,
                None => {
                    let mut bytes = vec![FUNCTION_TYPE];
                    parameters.encode(&mut bytes);
                    bytes.extend((0..parameters).map(|_| I32));
                    u32::from(result).encode(&mut bytes);
                    bytes.extend(result.then_some(I32));
                    added.push(bytes);
                    known.push(wanted);
                    known.len() - 1
                }
            };
            numbers.push(number(place)?);
        }
        Ok((added, numbers))
    }
}

/// A section that begins with a count, with more items at its end; by how much its content has moved because the count takes
/// more bytes; and where the items begin.
fn appended(section: &[u8], items: &[Vec<u8>]) -> Result<(Vec<u8>, u32, Vec<usize>)> {
    let mut reader = BinaryReader::new(section, 0);
    let count = reader.read_var_u32()?;
    let start = reader.original_position();
    let mut data = encoded(count + number(items.len())?);
    let moved = number(data.len().saturating_sub(start))?;
    if data.len() < start {
        return Err(Error::Unsuitable("it pads the counts of its sections".to_owned()));
    }
    data.extend(section.get(start..).unwrap_or_default());
    let mut places = Vec::new();
    for item in items {
        places.push(data.len());
        data.extend(item);
    }
    Ok((data, moved, places))
}

/// A section of relocations, each changed by `change`, which is given its number, with more of them at the end.
fn relocations(
    section: &[u8],
    change: impl Fn(usize, &mut RelocationEntry) -> Result<()>,
    more: &[RelocationEntry],
) -> Result<Vec<u8>> {
    let reader = RelocSectionReader::new(BinaryReader::new(section, 0))?;
    let entries = reader.entries();
    let mut data = encoded(reader.section_index());
    (entries.count() + number(more.len())?).encode(&mut data);
    for (place, entry) in entries.into_iter().enumerate() {
        let mut entry = entry?;
        change(place, &mut entry)?;
        write_relocation(&entry, &mut data);
    }
    more.iter().for_each(|entry| write_relocation(entry, &mut data));
    Ok(data)
}

fn write_relocation(entry: &RelocationEntry, data: &mut Vec<u8>) {
    data.push(entry.ty as u8);
    entry.offset.encode(data);
    entry.index.encode(data);
    if entry.ty.addend_kind() != RelocAddendKind::None {
        entry.addend.encode(data);
    }
}

fn encoded(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    number.encode(&mut bytes);
    bytes
}

fn number(size: usize) -> Result<u32> {
    u32::try_from(size).map_err(|_| Error::Encoding("it has more than 4 GiB".to_owned()))
}
