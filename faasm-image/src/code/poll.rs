//! Makes guests stoppable: whatever a guest does without end reads, again and again, a byte in the last page of its address
//! space. That page is there as long as the guest may run. To stop the guest it is made inaccessible, and the next read traps.
//!
//! This is how Java's virtual machines bring threads to a safepoint. It costs one load where a loop begins anew or a function
//! that calls others is entered, and no comparison or branch.
//!
//! Every infinite path through a module goes infinitely often through a `loop`, which is the only target of backward branches, or
//! through the entry of a function that calls. Both read the page. Two reads in one function have different addresses, since the
//! compiler would make one of two reads of the same address between which nothing is written. It keeps a single read in a
//! loop, because a read of an address that may be out of bounds may trap, and so is no computation to be moved or left out.

use wasm_encoder::{Encode as _, Instruction, MemArg};
use wasmparser::{FunctionBody, Operator};

use crate::{Result, engine::POLL, memory::PAGE};

/// The function's body with the reads in it.
pub(super) fn instrument(body: &FunctionBody<'_>) -> Result<Vec<u8>> {
    let (bytes, start) = (body.as_bytes(), body.range().start);
    let mut out = Vec::with_capacity(bytes.len() + 64);
    let (mut copied, mut polls) = (0, 0);
    let mut poll_at = |end: usize, out: &mut Vec<u8>| {
        out.extend(bytes.get(copied..end).unwrap_or_default());
        copied = end.max(copied);
        poll(polls, out);
        polls += 1;
    };

    let mut operators = body.get_operators_reader()?;
    if calls(body)? {
        poll_at(operators.original_position() - start, &mut out);
    }
    while !operators.eof() {
        if matches!(operators.read()?, Operator::Loop { .. }) {
            poll_at(operators.original_position() - start, &mut out);
        }
    }
    out.extend(bytes.get(copied..).unwrap_or_default());
    Ok(out)
}

fn calls(body: &FunctionBody<'_>) -> Result<bool> {
    for operator in body.get_operators_reader()? {
        match operator? {
            Operator::Call { .. }
            | Operator::CallIndirect { .. }
            | Operator::CallRef { .. }
            | Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => return Ok(true),
            _ => (),
        }
    }
    Ok(false)
}

/// Appends the `number`th read of a function.
fn poll(number: usize, out: &mut Vec<u8>) {
    let offset = (number % PAGE) as u64;
    Instruction::I32Const((POLL as u32).cast_signed()).encode(out);
    Instruction::I32Load8U(MemArg { offset, align: 0, memory_index: 0 }).encode(out);
    Instruction::Drop.encode(out);
}

#[cfg(test)]
mod tests {
    use wasmparser::{Parser, Payload};

    use super::*;

    #[test]
    fn loops_and_functions_that_call_read_the_page() {
        let cases = [
            ("(func)", 0),
            ("(func (param i32) (local i64) (drop (i32.const 1)))", 0),
            ("(func (block (br 0)))", 0),
            ("(func (loop (br 0)))", 1),
            ("(func (loop (loop (br 1)) (br 0)))", 2),
            ("(func call 0)", 1),
            ("(func (loop (call 0) (br 0)))", 2),
            ("(func (local i32 i64) (loop (local.set 0 (i32.const 7)) (br 0)) (loop))", 2),
        ];
        for (text, expected) in cases {
            let wasm = wat::parse_str(format!("(module (memory 1) {text})")).unwrap();
            let mut found = Vec::new();
            for payload in Parser::new(0).parse_all(&wasm) {
                if let Payload::CodeSectionEntry(body) = payload.unwrap() {
                    let bytes = instrument(&body).unwrap();
                    let body = FunctionBody::new(wasmparser::BinaryReader::new(&bytes, 0));
                    for operator in body.get_operators_reader().unwrap() {
                        if let Operator::I32Load8U { memarg } = operator.unwrap() {
                            found.push(memarg.offset);
                        }
                    }
                }
            }
            assert_eq!(found, (0..expected).collect::<Vec<_>>(), "{text}");
        }
    }
}
