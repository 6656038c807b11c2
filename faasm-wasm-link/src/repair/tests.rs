mod generate;
mod link;

use super::*;
use generate::{Case, evaluate};
use link::Linked;

/// Made by clang and `wasm-ld -r` from `m.c` beside it.
const OBJECT: &[u8] = include_bytes!("../../fixtures/m.o");

#[test]
fn every_kind_of_table_is_mended() {
    let repaired = repair(OBJECT).unwrap();
    let mut mended: Vec<String> = repaired.mended.iter().map(ToString::to_string).collect();
    mended.sort();
    let expected = [
        "Py_mod_exec of m: exec has 0 parameters and a result, and is called with 1 parameter and a result",
        "getter x: get has 1 parameter and a result, and is called with 2 parameters and a result",
        "getter y: get has 1 parameter and a result, and is called with 2 parameters and a result",
        "method fast: noargs has 1 parameter and a result, and is called with 3 parameters and a result",
        "method kw: varargs_kw has 2 parameters and a result, and is called with 3 parameters and a result",
        "method noargs: noargs has 1 parameter and a result, and is called with 2 parameters and a result",
        "nb_negative of m.T: neg has 0 parameters and a result, and is called with 1 parameter and a result",
        "setter x: set has 2 parameters and a result, and is called with 3 parameters and a result",
        "tp_clear of m.T: clear has 1 parameter and no result, and is called with 1 parameter and a result",
        "tp_dealloc of m.T: dealloc has 1 parameter and a result, and is called with 1 parameter and no result",
        "tp_dealloc of m.U: dealloc has 1 parameter and a result, and is called with 1 parameter and no result",
        "tp_repr of m.T: repr has 3 parameters and a result, and is called with 1 parameter and a result",
        "tp_repr of m.U: repr has 3 parameters and a result, and is called with 1 parameter and a result",
    ];
    assert_eq!(mended, expected);
    let left: Vec<String> = repaired.left.iter().map(ToString::to_string).collect();
    assert_eq!(
        left,
        [
            "nb_float of m.T: wrong has parameters or results that are no 32-bit integers, and is called with 1 parameter and a result"
        ]
    );
}

#[test]
fn what_was_mended_needs_no_repair() {
    let once = repair(OBJECT).unwrap();
    let twice = repair(&once.object).unwrap();
    assert!(twice.mended.is_empty() && twice.left == once.left);
    assert_eq!(once.object, twice.object);
}

#[test]
fn damaged_objects_are_errors() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..2000 {
        let mut bytes = OBJECT.to_vec();
        for _ in 0..random.usize(1..4) {
            let place = random.usize(8..bytes.len());
            bytes[place] = random.u8(..);
        }
        bytes.truncate(random.usize(8..=bytes.len()));
        // Whether it can still be read depends on the damage. It must not panic.
        let _ = repair(&bytes);
        let _ = crate::object::make_private(&bytes, |_| None);
    }
}

/// Objects with functions of random types, in tables and elsewhere: after the repair each pointer in a table refers to a function of the
/// right type that does what the old one did, and all other pointers refer to what they did.
#[test]
fn random_objects_stay_valid_and_keep_their_behaviour() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let case = Case::random(&mut random);
        let object = case.object();
        let repaired = repair(&object).unwrap();
        let linked = Linked::new(&repaired.object);
        let mut wrong = 0;
        for pointer in &case.pointers {
            let function = &case.functions[pointer.function];
            let wanted = pointer.called_with.filter(|_| function.is_plain());
            wrong += usize::from(wanted.is_some_and(|it| Some(it) != function.signature()));
            let called_with = wanted.or(function.signature());
            let arguments: Vec<i32> = (0..6).map(|_| random.i32(..)).collect();
            let Some(called_with) = called_with else {
                assert!(linked.signature(pointer.address).is_none(), "seed {seed}: {pointer:?}");
                continue;
            };
            assert_eq!(linked.signature(pointer.address), Some(called_with), "seed {seed}: {pointer:?}");
            let arguments = &arguments[..called_with.parameters as usize];
            let (result, stored) = linked.call(pointer.address, arguments);
            let expected = evaluate(function, arguments);
            assert_eq!(stored, expected, "seed {seed}: {pointer:?}");
            let expected = if function.result { expected } else { 0 };
            assert_eq!(result, called_with.result.then_some(expected), "seed {seed}: {pointer:?}");
        }
        assert_eq!(repaired.mended.len(), wrong, "seed {seed}");
    }
}
