//! The structures by which CPython 3.13 is told of functions, as they lie in memory with 32-bit pointers.
//!
//! From `Include/cpython/object.h`, `Include/methodobject.h`, `Include/descrobject.h`, `Include/moduleobject.h` and
//! `Include/typeslots.h`.

use super::Signature;

/// What a word of a structure is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    /// A number, or a pointer that is of no interest here: anything.
    Any,
    /// A number.
    Number,
    /// A pointer to data, or null.
    Data,
    /// A pointer to a structure of functions, or null.
    Suite(&'static [Word]),
    /// A function's name for people, and how it is called; or null.
    Function(&'static str, Signature),
}

use Word::{Any, Data, Function, Number, Suite};

const fn value(parameters: u32) -> Signature {
    Signature { parameters, result: true }
}

const fn nothing(parameters: u32) -> Signature {
    Signature { parameters, result: false }
}

pub(super) const GETTER: Signature = value(2);
pub(super) const SETTER: Signature = value(3);

/// How a method with these flags is called; `None` for combinations that CPython refuses.
pub(super) fn method(flags: u32) -> Option<Signature> {
    const CLASS_STATIC_COEXIST: u32 = 0x10 | 0x20 | 0x40;
    match flags & !CLASS_STATIC_COEXIST {
        // METH_VARARGS, NOARGS and O: the object and an argument, which may be null.
        0x1 | 0x4 | 0x8 => Some(value(2)),
        // VARARGS | KEYWORDS
        0x3 => Some(value(3)),
        // FASTCALL
        0x80 => Some(value(3)),
        // FASTCALL | KEYWORDS
        0x82 => Some(value(4)),
        // METHOD | FASTCALL | KEYWORDS
        0x282 => Some(value(5)),
        _ => None,
    }
}

const ASYNC: [Word; 4] = [
    Function("am_await", value(1)),
    Function("am_aiter", value(1)),
    Function("am_anext", value(1)),
    Function("am_send", value(3)),
];

const NUMBER: [Word; 36] = [
    Function("nb_add", value(2)),
    Function("nb_subtract", value(2)),
    Function("nb_multiply", value(2)),
    Function("nb_remainder", value(2)),
    Function("nb_divmod", value(2)),
    Function("nb_power", value(3)),
    Function("nb_negative", value(1)),
    Function("nb_positive", value(1)),
    Function("nb_absolute", value(1)),
    Function("nb_bool", value(1)),
    Function("nb_invert", value(1)),
    Function("nb_lshift", value(2)),
    Function("nb_rshift", value(2)),
    Function("nb_and", value(2)),
    Function("nb_xor", value(2)),
    Function("nb_or", value(2)),
    Function("nb_int", value(1)),
    Any,
    Function("nb_float", value(1)),
    Function("nb_inplace_add", value(2)),
    Function("nb_inplace_subtract", value(2)),
    Function("nb_inplace_multiply", value(2)),
    Function("nb_inplace_remainder", value(2)),
    Function("nb_inplace_power", value(3)),
    Function("nb_inplace_lshift", value(2)),
    Function("nb_inplace_rshift", value(2)),
    Function("nb_inplace_and", value(2)),
    Function("nb_inplace_xor", value(2)),
    Function("nb_inplace_or", value(2)),
    Function("nb_floor_divide", value(2)),
    Function("nb_true_divide", value(2)),
    Function("nb_inplace_floor_divide", value(2)),
    Function("nb_inplace_true_divide", value(2)),
    Function("nb_index", value(1)),
    Function("nb_matrix_multiply", value(2)),
    Function("nb_inplace_matrix_multiply", value(2)),
];

const SEQUENCE: [Word; 10] = [
    Function("sq_length", value(1)),
    Function("sq_concat", value(2)),
    Function("sq_repeat", value(2)),
    Function("sq_item", value(2)),
    Any,
    Function("sq_ass_item", value(3)),
    Any,
    Function("sq_contains", value(2)),
    Function("sq_inplace_concat", value(2)),
    Function("sq_inplace_repeat", value(2)),
];

const MAPPING: [Word; 3] = [
    Function("mp_length", value(1)),
    Function("mp_subscript", value(2)),
    Function("mp_ass_subscript", value(3)),
];

const BUFFER: [Word; 2] = [Function("bf_getbuffer", value(3)), Function("bf_releasebuffer", nothing(2))];

/// `PyTypeObject`, whose name is at [`TYPE_NAME`].
pub(super) const TYPE: [Word; 52] = [
    Number, // ob_refcnt
    Data,   // ob_type
    Number, // ob_size
    Data,   // tp_name
    Number, // tp_basicsize
    Number, // tp_itemsize
    Function("tp_dealloc", nothing(1)),
    Any, // tp_vectorcall_offset
    Function("tp_getattr", value(2)),
    Function("tp_setattr", value(3)),
    Suite(&ASYNC),
    Function("tp_repr", value(1)),
    Suite(&NUMBER),
    Suite(&SEQUENCE),
    Suite(&MAPPING),
    Function("tp_hash", value(1)),
    Function("tp_call", value(3)),
    Function("tp_str", value(1)),
    Function("tp_getattro", value(2)),
    Function("tp_setattro", value(3)),
    Suite(&BUFFER),
    Number, // tp_flags
    Data,   // tp_doc
    Function("tp_traverse", value(3)),
    Function("tp_clear", value(1)),
    Function("tp_richcompare", value(3)),
    Number, // tp_weaklistoffset
    Function("tp_iter", value(1)),
    Function("tp_iternext", value(1)),
    Data, // tp_methods
    Data, // tp_members
    Data, // tp_getset
    Data, // tp_base
    Data, // tp_dict
    Function("tp_descr_get", value(3)),
    Function("tp_descr_set", value(3)),
    Number, // tp_dictoffset
    Function("tp_init", value(3)),
    Function("tp_alloc", value(2)),
    Function("tp_new", value(3)),
    Function("tp_free", nothing(1)),
    Function("tp_is_gc", value(1)),
    Data, // tp_bases
    Data, // tp_mro
    Data, // tp_cache
    Any,  // tp_subclasses
    Data, // tp_weaklist
    Function("tp_del", nothing(1)),
    Number, // tp_version_tag
    Function("tp_finalize", nothing(1)),
    Function("tp_vectorcall", value(4)),
    Number, // tp_watched, tp_versions_used
];
pub(super) const TYPE_NAME: usize = 3;

/// `PyModuleDef`, whose name is at [`MODULE_NAME`] and whose slots are at [`MODULE_SLOTS`].
pub(super) const MODULE: [Word; 13] = [
    Number, // ob_refcnt
    Data,   // ob_type
    Function("m_init", value(0)),
    Number, // m_index
    Data,   // m_copy
    Data,   // m_name
    Data,   // m_doc
    Number, // m_size
    Data,   // m_methods
    Data,   // m_slots
    Function("m_traverse", value(3)),
    Function("m_clear", value(1)),
    Function("m_free", nothing(1)),
];
pub(super) const MODULE_NAME: usize = 5;
pub(super) const MODULE_SLOTS: usize = 9;

/// `PyType_Spec`, whose name is at 0 and whose slots are at [`SPEC_SLOTS`].
pub(super) const SPEC: [Word; 5] = [Data, Number, Number, Number, Data];
pub(super) const SPEC_SLOTS: usize = 4;

/// What the value of a `PyModuleDef_Slot` is.
pub(super) fn module_slot(id: u32) -> Option<Word> {
    match id {
        1 => Some(Function("Py_mod_create", value(2))),
        2 => Some(Function("Py_mod_exec", value(1))),
        3..=4 => Some(Any),
        _ => None,
    }
}

/// What the value of a `PyType_Slot` is. The numbers are those of `Include/typeslots.h`, in whose order the names are.
pub(super) fn type_slot(id: u32) -> Option<Word> {
    const NAMES: [&str; 81] = [
        "bf_getbuffer",
        "bf_releasebuffer",
        "mp_ass_subscript",
        "mp_length",
        "mp_subscript",
        "nb_absolute",
        "nb_add",
        "nb_and",
        "nb_bool",
        "nb_divmod",
        "nb_float",
        "nb_floor_divide",
        "nb_index",
        "nb_inplace_add",
        "nb_inplace_and",
        "nb_inplace_floor_divide",
        "nb_inplace_lshift",
        "nb_inplace_multiply",
        "nb_inplace_or",
        "nb_inplace_power",
        "nb_inplace_remainder",
        "nb_inplace_rshift",
        "nb_inplace_subtract",
        "nb_inplace_true_divide",
        "nb_inplace_xor",
        "nb_int",
        "nb_invert",
        "nb_lshift",
        "nb_multiply",
        "nb_negative",
        "nb_or",
        "nb_positive",
        "nb_power",
        "nb_remainder",
        "nb_rshift",
        "nb_subtract",
        "nb_true_divide",
        "nb_xor",
        "sq_ass_item",
        "sq_concat",
        "sq_contains",
        "sq_inplace_concat",
        "sq_inplace_repeat",
        "sq_item",
        "sq_length",
        "sq_repeat",
        "tp_alloc",
        "tp_base",
        "tp_bases",
        "tp_call",
        "tp_clear",
        "tp_dealloc",
        "tp_del",
        "tp_descr_get",
        "tp_descr_set",
        "tp_doc",
        "tp_getattr",
        "tp_getattro",
        "tp_hash",
        "tp_init",
        "tp_is_gc",
        "tp_iter",
        "tp_iternext",
        "tp_methods",
        "tp_new",
        "tp_repr",
        "tp_richcompare",
        "tp_setattr",
        "tp_setattro",
        "tp_str",
        "tp_traverse",
        "tp_members",
        "tp_getset",
        "tp_free",
        "nb_matrix_multiply",
        "nb_inplace_matrix_multiply",
        "am_await",
        "am_aiter",
        "am_anext",
        "tp_finalize",
        "am_send",
    ];
    let name = NAMES.get(usize::try_from(id).ok()?.checked_sub(1)?)?;
    let suites = [&TYPE[..], &ASYNC, &NUMBER, &SEQUENCE, &MAPPING, &BUFFER];
    let function = suites.into_iter().flatten().find(|word| matches!(word, Function(it, _) if it == name));
    // The others are pointers to data: tp_base, tp_doc, tp_methods and their like.
    Some(function.copied().unwrap_or(Any))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_have_their_numbers() {
        for (id, name) in [
            (1, "bf_getbuffer"),
            (7, "nb_add"),
            (52, "tp_dealloc"),
            (60, "tp_init"),
            (80, "tp_finalize"),
            (81, "am_send"),
        ] {
            assert!(matches!(type_slot(id), Some(Function(it, _)) if it == name), "{id}");
        }
        for id in [48, 49, 56, 64, 72, 73] {
            assert_eq!(type_slot(id), Some(Any), "{id}");
        }
        assert_eq!((type_slot(0), type_slot(82)), (None, None));
    }
}
