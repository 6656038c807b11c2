//! Makes guests stoppable: whatever a guest does without end accesses its memory, again and again, or calls the host. To stop it, its
//! memory is [taken away](crate::memory::Turns), and the next access traps.
//!
//! Java's virtual machines bring threads to a safepoint by taking away a page that code reads for this purpose alone, in every loop.
//! Here most loops need no such read, because they write to memory anyway: every `loop` is entered anew with a write since it was
//! entered before, or else a read is put before the branch. Likewise every function that calls others writes something before, or
//! reads where it is entered. An interpreter writes with nearly every instruction that it interprets.
//!
//! # Why it is enough
//!
//! An infinite path through a module goes infinitely often through one `loop`, which is the only target of backward branches, or
//! through the entries of functions that call. Between two such entries there is a write or one of the reads. What matters is that the
//! compiler leaves an access there:
//!
//! * Of two reads with nothing written between them it may make one. The reads that are added differ from all others of their function:
//!   by their address from each other, and by their instruction from those that were there.
//! * A write may be left out if it changes nothing, because a read or write of the same place comes before it, or if it is
//!   overwritten by one that surely comes after it. Neither has an entry of a loop between the two, because there Cranelift assumes
//!   other content than before if anything in the loop writes (`alias_analysis.rs` in cranelift-codegen 0.135). So one of the two
//!   is left on the same path.
//! * Accesses may trap, so the compiler neither drops them for having no use nor moves them out of loops.
//!
//! `memory.copy` and `memory.fill` do not count, as their range may be empty, and neither do calls.

use std::ops::Range;

use wasm_encoder::{Encode as _, Instruction, MemArg};
use wasmparser::{FunctionBody, Operator};

use super::{bulk, written::Written};
use crate::{Error, Result, memory::PAGE};

/// The function's body with the reads in it, and with calls for what moves memory in bulk.
pub(super) fn instrument(body: &FunctionBody<'_>, bulk: bulk::Functions) -> Result<Vec<u8>> {
    let (bytes, base) = (body.as_bytes(), body.range().start);
    let mut operators = body.get_operators_reader()?;
    let start = operators.original_position() - base;

    let mut edits: Vec<(Range<usize>, Edit)> = Vec::new();
    let mut written = Written::default();
    let mut used = [false; READS.len()];
    while !operators.eof() {
        let from = operators.original_position() - base;
        let operator = operators.read()?;
        let range = from..operators.original_position() - base;
        match operator {
            Operator::MemoryCopy { .. } => edits.push((range, Edit::Call(bulk.copy))),
            Operator::MemoryFill { .. } => edits.push((range, Edit::Call(bulk.fill))),
            _ if written.follow(&operator)? => edits.push((from..from, Edit::Read)),
            _ => {}
        }
        if let Some(read) = READS.iter().position(|read| read.is(&operator)) {
            used[read] = true;
        }
    }
    if written.must_read_at_entry() {
        edits.insert(0, (start..start, Edit::Read));
    }

    let unused = used.iter().position(|used| !used).and_then(|index| READS.get(index));
    let mut out = Vec::with_capacity(bytes.len() + 8 * edits.len());
    let (mut copied, mut reads) = (0, 0);
    for (range, edit) in edits {
        out.extend(bytes.get(copied..range.start).unwrap_or_default());
        copied = range.end;
        match edit {
            Edit::Call(function) => Instruction::Call(function).encode(&mut out),
            Edit::Read => {
                let read = unused.filter(|_| reads < PAGE as u64).ok_or_else(too_many)?;
                Instruction::I32Const(0).encode(&mut out);
                (read.make)(MemArg { offset: reads, align: 0, memory_index: 0 }).encode(&mut out);
                Instruction::Drop.encode(&mut out);
                reads += 1;
            }
        }
    }
    out.extend(bytes.get(copied..).unwrap_or_default());
    Ok(out)
}

enum Edit {
    Read,
    Call(u32),
}

fn too_many() -> Error {
    Error::Unsuitable(
        "one of its functions has too many loops, or uses every instruction that reads memory".into(),
    )
}

/// An instruction that reads memory.
struct Read {
    make: fn(MemArg) -> Instruction<'static>,
    is: fn(&Operator<'_>) -> bool,
}

impl Read {
    fn is(&self, operator: &Operator<'_>) -> bool {
        (self.is)(operator)
    }
}

macro_rules! reads {
    ($($name:ident)*) => {
        [$(Read { make: Instruction::$name, is: |operator| matches!(operator, Operator::$name { .. }) }),*]
    };
}

/// Those that may be added, rare ones first among those that are cheap. All are different operations to the compiler too.
const READS: [Read; 10] = reads!(
    I64Load8S I32Load8S I64Load16S I32Load16S I64Load32S
    V128Load8x8S V128Load16x4S V128Load32x2S V128Load8x8U V128Load16x4U
);

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    /// What the instrumented functions of a module consist of.
    fn instrumented(text: &str) -> Vec<String> {
        let wasm = wat::parse_str(format!("(module (memory 1) {text})")).unwrap();
        let mut found = Vec::new();
        for payload in Parser::new(0).parse_all(&wasm) {
            if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                let bytes = instrument(&body, bulk::Functions { copy: 70, fill: 71 }).unwrap();
                let body = FunctionBody::new(wasmparser::BinaryReader::new(&bytes, 0));
                let operators = body.get_operators_reader().unwrap().into_iter();
                found.extend(operators.map(|operator| match operator.unwrap() {
                    Operator::I64Load8S { memarg } => format!("read {}", memarg.offset),
                    Operator::Call { function_index } => format!("call {function_index}"),
                    Operator::Br { .. } => "br".to_owned(),
                    Operator::BrIf { .. } => "br_if".to_owned(),
                    Operator::BrTable { .. } => "br_table".to_owned(),
                    Operator::Loop { .. } => "loop".to_owned(),
                    Operator::TryTable { .. } => "try".to_owned(),
                    _ => String::new(),
                }));
            }
        }
        found.retain(|it| !it.is_empty());
        found
    }

    #[test]
    fn loops_that_write_nothing_and_functions_that_call_before_they_write_read() {
        let store = "(i32.store (i32.const 8) (i32.const 1))";
        let cases = [
            ("(func)", vec![]),
            ("(func (param i32) (local i64) (drop (i32.const 1)))", vec![]),
            ("(func (block (br 0)))", vec!["br"]),
            ("(func (loop (br 0)))", vec!["loop", "read 0", "br"]),
            ("(func (loop (loop (br 1)) (br 0)))", vec!["loop", "loop", "read 0", "br", "br"]),
            ("(func (param i32) (loop (br_if 0 (local.get 0))))", vec!["loop", "read 0", "br_if"]),
            ("(func (param i32) (loop (br_table 0 1 (local.get 0))))", vec!["loop", "read 0", "br_table"]),
            ("(func call 0)", vec!["read 0", "call 0"]),
            ("(func (loop (call 0) (br 0)))", vec!["read 0", "loop", "call 0", "read 1", "br"]),
            // Reading is no writing: the compiler may make one read of all.
            ("(func (loop (br_if 0 (i32.load (i32.const 8)))))", vec!["loop", "read 0", "br_if"]),
            (&format!("(func {store} call 0)"), vec!["call 0"]),
            (&format!("(func (loop {store} (br 0)))"), vec!["loop", "br"]),
            // Written before the loop is not written in the loop.
            (&format!("(func {store} (loop (br 0)))"), vec!["loop", "read 0", "br"]),
            (
                &format!("(func (param i32) (loop (if (local.get 0) (then {store})) (br 0)))"),
                vec!["loop", "read 0", "br"],
            ),
            (
                &format!("(func (param i32) (loop (if (local.get 0) (then {store}) (else {store})) (br 0)))"),
                vec!["loop", "br"],
            ),
            (
                &format!("(func (param i32) (loop (block (br_if 0 (local.get 0)) {store}) (br 0)))"),
                vec!["loop", "br_if", "read 0", "br"],
            ),
            // What an inner loop writes, the outer one has written.
            (
                &format!("(func (param i32) (loop (loop {store} (br_if 0 (local.get 0))) (br 0)))"),
                vec!["loop", "loop", "br_if", "br"],
            ),
            // What is written in the outer loop before the inner one is not written when that begins anew.
            (
                &format!("(func (param i32) (loop {store} (loop (br_if 0 (local.get 0))) (br 0)))"),
                vec!["loop", "loop", "read 0", "br_if", "br"],
            ),
            ("(func (memory.copy (i32.const 1) (i32.const 2) (i32.const 3)))", vec!["call 70"]),
            (
                "(func (loop (memory.fill (i32.const 1) (i32.const 2) (i32.const 3)) (br 0)))",
                vec!["loop", "call 71", "read 0", "br"],
            ),
            // What is caught may come from anywhere in the block, and goes on outside of it.
            (
                &format!("(tag $t) (func (loop $l (try_table (catch $t $l) {store} (throw $t))))"),
                vec!["loop", "read 0", "try"],
            ),
            (
                &format!("(tag $t) (func (loop $l {store} (try_table (catch $t $l) (throw $t))))"),
                vec!["loop", "try"],
            ),
            (
                &format!(
                    "(tag $t) (func (loop $l (block $b (try_table (catch_all $b) {store} (throw $t)) (return)) (br $l)))"
                ),
                vec!["loop", "try", "read 0", "br"],
            ),
            (
                &format!(
                    "(tag $t) (func (loop $l (block $b (try_table (catch_all $b) (throw $t)) (return)) {store} (br $l)))"
                ),
                vec!["loop", "try", "br"],
            ),
            // Code after a branch is never reached.
            (&format!("(func (loop (br 0) {store} (br 0)))"), vec!["loop", "read 0", "br", "br"]),
        ];
        for (text, expected) in cases {
            assert_eq!(instrumented(text), expected, "{text}");
        }
    }

    #[test]
    fn reads_are_told_from_those_that_were_there() {
        let wasm =
            wat::parse_str("(module (memory 1) (func (drop (i64.load8_s (i32.const 0))) (loop (br 0))))")
                .unwrap();
        let body = Parser::new(0)
            .parse_all(&wasm)
            .find_map(|payload| match payload.unwrap() {
                Payload::CodeSectionEntry(body) => Some(body),
                _ => None,
            })
            .unwrap();
        let bytes = instrument(&body, bulk::Functions { copy: 0, fill: 0 }).unwrap();
        let body = FunctionBody::new(wasmparser::BinaryReader::new(&bytes, 0));
        let mut operators = body.get_operators_reader().unwrap().into_iter().map(Result::unwrap);
        assert!(operators.any(|it| matches!(it, Operator::I32Load8S { .. })));
    }
}
