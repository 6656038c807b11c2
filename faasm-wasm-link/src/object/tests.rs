use super::*;

/// Made by clang and `wasm-ld -r` from `m.c` beside it.
const OBJECT: &[u8] = include_bytes!("../../fixtures/m.o");

/// Made in the same way, from `constructors.c`.
const CONSTRUCTORS: &[u8] = include_bytes!("../../fixtures/constructors.o");

fn names(object: &[u8], of: impl Fn(&Symbol) -> bool) -> Vec<String> {
    let symbols = symbols(object).unwrap();
    symbols.into_iter().filter(of).map(|it| it.name).collect()
}

#[test]
fn all_but_the_public_becomes_private() {
    let public = |it: &Symbol| it.defined && !it.private;
    assert_eq!(names(OBJECT, public), ["PyInit_m", "others"]);
    let changed = make_private(OBJECT, |name| (name == "PyInit_m").then(|| "PyInit_a.m".to_owned())).unwrap();
    assert_eq!(names(&changed, public), ["PyInit_a.m"]);
    // What it needs is as it was.
    let needed = |it: &Symbol| !it.defined;
    assert_eq!(names(&changed, needed), names(OBJECT, needed));
    assert!(names(&changed, |it| it.defined && it.private).contains(&"others".to_owned()));
}

#[test]
fn constructors_are_left_to_the_caller_in_their_order() {
    let (changed, count) = take_constructors(CONSTRUCTORS, |number| format!("c{number}")).unwrap();
    assert_eq!(count, 3);
    let before = symbols(CONSTRUCTORS).unwrap();
    let after = symbols(&changed).unwrap();
    for (name, expected) in [("first", "c0"), ("second", "c1"), ("last", "c2")] {
        let number = before.iter().position(|it| it.name == name && it.private).unwrap();
        assert_eq!(after[number], Symbol { name: expected.to_owned(), defined: true, private: false });
    }
    // Nothing runs them any more.
    let name = |number| format!("d{number}");
    assert_eq!(take_constructors(&changed, name).unwrap(), (changed, 0));
    assert_eq!(take_constructors(OBJECT, name).unwrap().1, 0);
}

#[test]
fn nothing_else_changes() {
    let all = |name: &str| Some(name.to_owned());
    let unchanged = make_private(OBJECT, all).unwrap();
    assert_eq!(symbols(&unchanged).unwrap(), symbols(OBJECT).unwrap());
    let sections = |object: &[u8]| -> Vec<(u8, usize)> {
        let payloads = Parser::new(0).parse_all(object);
        payloads.filter_map(|it| it.unwrap().as_section().map(|(id, range)| (id, range.len()))).collect()
    };
    assert_eq!(sections(&unchanged).len(), sections(OBJECT).len());
    assert_eq!(make_private(&unchanged, all).unwrap(), unchanged);
}

#[test]
fn what_is_no_object_is_refused() {
    let module = wat::parse_str("(module (func))").unwrap();
    for (bytes, expected) in
        [(&b"no wasm"[..], "read"), (&module, "no linking section"), (&OBJECT[..200], "read")]
    {
        let error = make_private(bytes, |_| None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
