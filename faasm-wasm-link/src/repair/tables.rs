//! Finding the tables by which CPython is told of functions.
//!
//! A variable is taken for a table if all of it looks like one: its size, which of its words are pointers and to what, and the
//! names in it.

use super::Signature;
use super::layout::{
    self, GETTER, MODULE, MODULE_NAME, MODULE_SLOTS, SETTER, SPEC, SPEC_SLOTS, TYPE, TYPE_NAME, Word,
};
use super::object::{Object, Target, Variable};

/// A reference to a function.
#[derive(Debug)]
pub(super) struct Entry {
    /// For people.
    pub(super) name: String,
    /// The number of the relocation.
    pub(super) relocation: usize,
    /// The function's symbol.
    pub(super) symbol: u32,
    pub(super) called_with: Signature,
}

const WORD: u32 = 4;

/// All references to functions from tables, in the order of the variables.
pub(super) fn entries(object: &Object<'_>) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (_, variable) in object.variables() {
        let finders = [methods, getters_and_setters, type_object, module, type_spec];
        if let Some(found) = finders.iter().find_map(|find| find(object, variable)) {
            entries.extend(found);
        }
    }
    entries
}

/// What is at an offset.
#[derive(Clone, Copy)]
enum Content<'a> {
    Null,
    Number(u32),
    Function { relocation: usize, symbol: u32 },
    Text(&'a str),
    Data,
}

fn content<'a>(object: &Object<'a>, variable: Variable, offset: u32) -> Option<Content<'a>> {
    if offset.checked_add(WORD)? > variable.size {
        return None;
    }
    let Some(pointer) = object.pointer(variable, offset) else {
        return Some(match object.word(variable, offset)? {
            0 => Content::Null,
            number => Content::Number(number),
        });
    };
    match pointer.target {
        Target::Function(symbol) => Some(Content::Function { relocation: pointer.number, symbol }),
        Target::Data(symbol, addend) => Some(match object.text(symbol, addend) {
            Some(text) => Content::Text(text),
            None => Content::Data,
        }),
        Target::Other => None,
    }
}

fn is_data(content: Content<'_>) -> bool {
    matches!(content, Content::Null | Content::Text(_) | Content::Data)
}

/// Whether a text may be the name of an attribute, or of a module or type with its place.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "_.".contains(c))
}

/// The words of a row, or `None` if the variable ends before.
fn row<'a, const N: usize>(object: &Object<'a>, variable: Variable, index: u32) -> Option<[Content<'a>; N]> {
    let mut words = [Content::Null; N];
    for (word, number) in words.iter_mut().zip(0_u32..) {
        let offset = index.checked_mul(N as u32)?.checked_add(number)?.checked_mul(WORD)?;
        *word = content(object, variable, offset)?;
    }
    Some(words)
}

/// The rows of a table that are not all zeros, which only the last may be.
fn rows<'a, const N: usize>(object: &Object<'a>, variable: Variable) -> Option<Vec<[Content<'a>; N]>> {
    let size = N as u32 * WORD;
    if variable.size == 0 || !variable.size.is_multiple_of(size) {
        return None;
    }
    let mut rows = Vec::new();
    for index in 0..variable.size / size {
        rows.push(row(object, variable, index)?);
    }
    if rows.last()?.iter().all(|word| matches!(word, Content::Null)) {
        rows.pop();
    }
    (!rows.is_empty()).then_some(rows)
}

/// `PyMethodDef`, one or an array.
fn methods(object: &Object<'_>, variable: Variable) -> Option<Vec<Entry>> {
    rows::<4>(object, variable)?
        .into_iter()
        .map(|row| {
            let [Content::Text(name), Content::Function { relocation, symbol }, Content::Number(flags), doc] =
                row
            else {
                return None;
            };
            let called_with = layout::method(flags).filter(|_| is_name(name) && is_data(doc))?;
            Some(Entry { name: format!("method {name}"), relocation, symbol, called_with })
        })
        .collect()
}

/// An array of `PyGetSetDef`.
fn getters_and_setters(object: &Object<'_>, variable: Variable) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for [name, getter, setter, doc, _closure] in rows::<5>(object, variable)? {
        let Content::Text(name) = name else { return None };
        if !is_name(name) || !is_data(doc) {
            return None;
        }
        for (function, kind, called_with) in [(getter, "getter", GETTER), (setter, "setter", SETTER)] {
            match function {
                Content::Null => {}
                Content::Function { relocation, symbol } => {
                    entries.push(Entry { name: format!("{kind} {name}"), relocation, symbol, called_with });
                }
                _ => return None,
            }
        }
    }
    Some(entries)
}

/// `PyTypeObject`, with the structures that belong to it; or a structure that begins with one.
fn type_object(object: &Object<'_>, variable: Variable) -> Option<Vec<Entry>> {
    let name = name_at(object, variable, TYPE_NAME)?;
    structure(object, variable, &TYPE, name)
}

/// `PyModuleDef`, with its slots.
fn module(object: &Object<'_>, variable: Variable) -> Option<Vec<Entry>> {
    if variable.size != MODULE.len() as u32 * WORD {
        return None;
    }
    let name = name_at(object, variable, MODULE_NAME)?;
    let mut entries = structure(object, variable, &MODULE, name)?;
    entries.extend(slots(object, variable, MODULE_SLOTS, layout::module_slot, name).unwrap_or_default());
    Some(entries)
}

/// `PyType_Spec`, with its slots.
fn type_spec(object: &Object<'_>, variable: Variable) -> Option<Vec<Entry>> {
    if variable.size != SPEC.len() as u32 * WORD {
        return None;
    }
    let name = name_at(object, variable, 0)?;
    structure(object, variable, &SPEC, name)?;
    slots(object, variable, SPEC_SLOTS, layout::type_slot, name)
}

fn name_at<'a>(object: &Object<'a>, variable: Variable, word: usize) -> Option<&'a str> {
    match content(object, variable, word as u32 * WORD)? {
        Content::Text(name) if is_name(name) => Some(name),
        _ => None,
    }
}

/// The functions of a structure, if all of its words are what they are to be.
fn structure(object: &Object<'_>, variable: Variable, words: &[Word], owner: &str) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    for (word, number) in words.iter().zip(0_u32..) {
        let found = content(object, variable, number * WORD)?;
        match (word, found) {
            (Word::Any, _) | (Word::Number, Content::Number(_)) | (_, Content::Null) => {}
            (Word::Data | Word::Suite(_), Content::Text(_) | Content::Data) => {}
            (Word::Function(name, called_with), Content::Function { relocation, symbol }) => {
                let (name, called_with) = (format!("{name} of {owner}"), *called_with);
                entries.push(Entry { name, relocation, symbol, called_with });
            }
            _ => return None,
        }
        if let (Word::Suite(words), Some(suite)) = (word, variable_at(object, variable, number)) {
            entries.extend(structure(object, suite, words, owner).unwrap_or_default());
        }
    }
    Some(entries)
}

/// The variable to which the pointer at a word points.
fn variable_at(object: &Object<'_>, variable: Variable, word: u32) -> Option<Variable> {
    match object.pointer(variable, word * WORD)?.target {
        Target::Data(symbol, addend) => object.variable(symbol, addend),
        _ => None,
    }
}

/// The functions in an array of slots, pairs of a number and a value, to which a word points.
fn slots(
    object: &Object<'_>,
    variable: Variable,
    word: usize,
    meaning: fn(u32) -> Option<Word>,
    owner: &str,
) -> Option<Vec<Entry>> {
    let table = variable_at(object, variable, u32::try_from(word).ok()?)?;
    let mut entries = Vec::new();
    for [id, value] in rows::<2>(object, table)? {
        let Content::Number(id) = id else { return None };
        match (meaning(id)?, value) {
            (Word::Function(name, called_with), Content::Function { relocation, symbol }) => {
                entries.push(Entry { name: format!("{name} of {owner}"), relocation, symbol, called_with });
            }
            (Word::Function(..), Content::Null) | (Word::Any, _) => {}
            _ => return None,
        }
    }
    Some(entries)
}
