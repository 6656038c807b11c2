//! Calls through pointers of another type.
//!
//! CPython calls a function of an extension module through a table that the module fills: a method, a getter, a slot of a type. C
//! programmers cast functions with fewer parameters, or another result, to the type that the table wants, and on other systems
//! that works: the surplus arguments stay in their registers. WebAssembly compares types at each indirect call and traps.
//!
//! Where a table in the data of an object refers to a function whose type is not the one that CPython calls it with, this makes
//! the table refer to a thunk: a function of the right type that passes on the arguments that are wanted and zeros for those that
//! are missing, drops a result that nobody asked for, and answers zero where there is none.
//!
//! It works on relocatable objects, so that it knows where each variable begins and ends and sees nothing but the extension module
//! itself: tables of C libraries may look alike, and are called in other ways. What it cannot see are pointers that code
//! puts into a structure while it runs.

mod layout;
mod object;
mod tables;
mod thunk;

use std::collections::BTreeMap;
use std::fmt;

use crate::error::Result;
use object::Object;
use thunk::Thunk;

/// How a function is called. All parameters and results of the functions that CPython calls are 32-bit integers here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature {
    /// How many parameters there are.
    pub parameters: u32,
    /// Whether there is a result.
    pub result: bool,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.parameters == 1 { "" } else { "s" };
        let result = if self.result { "a result" } else { "no result" };
        write!(f, "{} parameter{s} and {result}", self.parameters)
    }
}

/// A reference to a function of another type than it is called with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The table's entry: `method solve`, `tp_dealloc of numpy.ndarray`.
    pub entry: String,
    /// The function's symbol.
    pub function: String,
    /// Its type; `None` if it has parameters or results that are no 32-bit integers, which no thunk can provide.
    pub has: Option<Signature>,
    /// The type that it is called with.
    pub called_with: Signature,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} has ", self.entry, self.function)?;
        match self.has {
            Some(has) => write!(f, "{has}")?,
            None => f.write_str("parameters or results that are no 32-bit integers")?,
        }
        write!(f, ", and is called with {}", self.called_with)
    }
}

/// An object whose tables were mended.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// The object.
    pub object: Vec<u8>,
    /// What was mended.
    pub mended: Vec<Mismatch>,
    /// What could not be.
    pub left: Vec<Mismatch>,
}

/// Mends the tables of an extension module for CPython 3.13, which is one relocatable object.
///
/// # Errors
///
/// When it is no relocatable object.
pub fn repair(bytes: &[u8]) -> Result<Repaired> {
    let object = Object::read(bytes)?;
    let mut thunks: Vec<Thunk> = Vec::new();
    let mut known = BTreeMap::new();
    let mut redirected = Vec::new();
    let (mut mended, mut left) = (Vec::new(), Vec::new());
    for entry in tables::entries(&object) {
        let Some(function) = object.function(entry.symbol) else { continue };
        let (has, called_with, symbol) = (function.signature(), entry.called_with, entry.symbol);
        if has == Some(called_with) {
            continue;
        }
        let mismatch = Mismatch { entry: entry.name, function: function.name.to_owned(), has, called_with };
        let Some(has) = has else {
            left.push(mismatch);
            continue;
        };
        let place = *known.entry((symbol, called_with)).or_insert_with(|| {
            thunks.push(Thunk { symbol, has, called_with });
            thunks.len() - 1
        });
        redirected.push((entry.relocation, place));
        mended.push(mismatch);
    }
    let object = if thunks.is_empty() { bytes.to_vec() } else { object.with_thunks(&thunks, &redirected)? };
    Ok(Repaired { object, mended, left })
}

#[cfg(test)]
mod tests;
