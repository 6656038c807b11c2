//! `memory.copy` and `memory.fill` in WebAssembly itself. The engine has functions of the host do them, which must not touch a memory
//! that is being taken away to stop the guest, as `poll.rs` says; and a call of such a function takes longer than most copies.
//!
//! Short ranges are moved with two accesses that may overlap, longer ones in steps of 64 and 16 bytes with an access for the rest that
//! may overlap the last step. A range that ends outside the memory traps like the instructions do, but what lies inside may have
//! been written by then.

use wasm_encoder::{BlockType, CodeSection, Function, InstructionSink, MemArg, ValType};

/// The parameters of both functions: where to, where from or which byte, how many bytes.
pub(super) const PARAMETERS: [ValType; 3] = [ValType::I32; 3];

/// Which functions of a module do it.
#[derive(Clone, Copy, Default)]
pub(super) struct Functions {
    pub(super) copy: u32,
    pub(super) fill: u32,
}

/// Appends both functions, first `copy`.
pub(super) fn append(code: &mut CodeSection) {
    code.function(&copy());
    code.function(&fill());
}

const TO: u32 = 0;
/// Where from, or the byte to fill with.
const FROM: u32 = 1;
const LEN: u32 = 2;

const fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, memory_index: 0 }
}

fn copy() -> Function {
    // Everything that is to be read of a short range is read before anything is written, so overlapping ranges need no care.
    const FIRST: u32 = 3;
    const LAST: u32 = 4;
    const BLOCKS: u32 = 5;
    let mut function = Function::new([(2, ValType::I64), (4, ValType::V128)]);
    let code = &mut function.instructions();

    shorter_than(code, 16, |code| {
        at_least(code, 8, |code| {
            code.local_get(FROM).i64_load(at(0)).local_set(FIRST);
            end(code, FROM, 8).i64_load(at(0)).local_set(LAST);
            code.local_get(TO).local_get(FIRST).i64_store(at(0));
            end(code, TO, 8).local_get(LAST).i64_store(at(0)).return_();
        });
        at_least(code, 4, |code| {
            code.local_get(FROM).i64_load32_u(at(0)).local_set(FIRST);
            end(code, FROM, 4).i64_load32_u(at(0)).local_set(LAST);
            code.local_get(TO).local_get(FIRST).i64_store32(at(0));
            end(code, TO, 4).local_get(LAST).i64_store32(at(0)).return_();
        });
        // The first, the middle and the last byte are all bytes.
        at_least(code, 1, |code| {
            middle(code.local_get(FROM)).i64_load8_u(at(0)).local_set(FIRST);
            end(code, FROM, 1).i64_load8_u(at(0)).local_set(LAST);
            code.local_get(TO).local_get(FROM).i32_load8_u(at(0)).i32_store8(at(0));
            middle(code.local_get(TO)).local_get(FIRST).i64_store8(at(0));
            end(code, TO, 1).local_get(LAST).i64_store8(at(0));
        });
        code.return_();
    });

    // Forwards, unless that would write to what is still to be read.
    code.local_get(TO).local_get(FROM).i32_sub().local_get(LEN).i32_ge_u().if_(BlockType::Empty);
    end(code, FROM, 16).v128_load(at(0)).local_set(BLOCKS);
    // The registers of the loop hold the last bytes too.
    while_longer_than(code, 64, |code| {
        for block in 0..3 {
            code.local_get(FROM).v128_load(at(16 * block)).local_set(BLOCKS + 1 + block as u32);
        }
        code.local_get(TO).local_get(FROM).v128_load(at(48)).v128_store(at(48));
        for block in 0..3 {
            code.local_get(TO).local_get(BLOCKS + 1 + block as u32).v128_store(at(16 * block));
        }
        advance(code, FROM, 64);
        advance(code, TO, 64);
    });
    while_longer_than(code, 16, |code| {
        code.local_get(TO).local_get(FROM).v128_load(at(0)).v128_store(at(0));
        advance(code, FROM, 16);
        advance(code, TO, 16);
    });
    end(code, TO, 16).local_get(BLOCKS).v128_store(at(0));

    code.else_();
    code.local_get(FROM).v128_load(at(0)).local_set(BLOCKS);
    while_longer_than(code, 64, |code| {
        for block in 0..3 {
            end(code, FROM, 64).v128_load(at(16 * block + 16)).local_set(BLOCKS + 1 + block as u32);
        }
        end(code, TO, 64);
        end(code, FROM, 64).v128_load(at(0)).v128_store(at(0));
        for block in 0..3 {
            end(code, TO, 64).local_get(BLOCKS + 1 + block as u32).v128_store(at(16 * block + 16));
        }
    });
    while_longer_than(code, 16, |code| {
        end(code, TO, 16);
        end(code, FROM, 16).v128_load(at(0)).v128_store(at(0));
    });
    code.local_get(TO).local_get(BLOCKS).v128_store(at(0));
    code.end().end();
    function
}

fn fill() -> Function {
    const WORD: u32 = 3;
    const BLOCK: u32 = 4;
    let mut function = Function::new([(1, ValType::I64), (1, ValType::V128)]);
    let code = &mut function.instructions();

    shorter_than(code, 16, |code| {
        code.local_get(FROM).i64_extend_i32_u().i64_const(0xff).i64_and();
        code.i64_const(0x0101_0101_0101_0101).i64_mul().local_set(WORD);
        at_least(code, 8, |code| {
            code.local_get(TO).local_get(WORD).i64_store(at(0));
            end(code, TO, 8).local_get(WORD).i64_store(at(0)).return_();
        });
        at_least(code, 4, |code| {
            code.local_get(TO).local_get(WORD).i64_store32(at(0));
            end(code, TO, 4).local_get(WORD).i64_store32(at(0)).return_();
        });
        at_least(code, 1, |code| {
            code.local_get(TO).local_get(WORD).i64_store8(at(0));
            middle(code.local_get(TO)).local_get(WORD).i64_store8(at(0));
            end(code, TO, 1).local_get(WORD).i64_store8(at(0));
        });
        code.return_();
    });

    code.local_get(FROM).i8x16_splat().local_set(BLOCK);
    end(code, TO, 16).local_get(BLOCK).v128_store(at(0));
    while_longer_than(code, 64, |code| {
        for block in 0..4 {
            code.local_get(TO).local_get(BLOCK).v128_store(at(16 * block));
        }
        advance(code, TO, 64);
    });
    while_longer_than(code, 16, |code| {
        code.local_get(TO).local_get(BLOCK).v128_store(at(0));
        advance(code, TO, 16);
    });
    code.end();
    function
}

fn shorter_than(code: &mut InstructionSink<'_>, len: i32, then: impl FnOnce(&mut InstructionSink<'_>)) {
    code.local_get(LEN).i32_const(len).i32_lt_u().if_(BlockType::Empty);
    then(code);
    code.end();
}

fn at_least(code: &mut InstructionSink<'_>, len: i32, then: impl FnOnce(&mut InstructionSink<'_>)) {
    code.local_get(LEN).i32_const(len).i32_ge_u().if_(BlockType::Empty);
    then(code);
    code.end();
}

/// As long as more than `step` bytes are left, moves so many of them.
fn while_longer_than(code: &mut InstructionSink<'_>, step: i32, body: impl FnOnce(&mut InstructionSink<'_>)) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(LEN).i32_const(step).i32_le_u().br_if(1);
    body(code);
    advance(code, LEN, -step);
    code.br(0).end().end();
}

fn advance(code: &mut InstructionSink<'_>, local: u32, by: i32) {
    code.local_get(local).i32_const(by).i32_add().local_set(local);
}

/// The address of the last `len` bytes of a range.
fn end<'a, 'b>(code: &'a mut InstructionSink<'b>, start: u32, len: i32) -> &'a mut InstructionSink<'b> {
    code.local_get(start).local_get(LEN).i32_add().i32_const(len).i32_sub()
}

/// Adds half the length to an address.
fn middle<'a, 'b>(code: &'a mut InstructionSink<'b>) -> &'a mut InstructionSink<'b> {
    code.local_get(LEN).i32_const(1).i32_shr_u().i32_add()
}
