use super::*;

fn parse(text: &str) -> Requirement {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn requirements_are_read_and_written() {
    for (text, expected) in [
        ("numpy", "numpy"),
        (" NumPy >= 1.26 , <3 ", "numpy>=1.26,<3"),
        ("a (>=1,)", "a>=1"),
        ("a[B,c_d]==1.*", "a[b,c-d]==1.*"),
        ("a[]~=2.1", "a~=2.1"),
        (
            "a@https://example.org/a.whl ; os_name=='posix'",
            "a @ https://example.org/a.whl ; os_name == 'posix'",
        ),
        ("a;python_version<'3'", "a; python_version < '3'"),
        ("a; sys.platform not in 'x'", "a; sys_platform not in 'x'"),
        (
            "a; (extra=='x' or extra=='y')and'3'in python_version",
            "a; (extra == 'x' or extra == 'y') and '3' in python_version",
        ),
        ("a===1.0+local", "a===1.0+local"),
    ] {
        let requirement = parse(text);
        assert_eq!(requirement.to_string(), expected);
        assert_eq!(parse(expected), requirement);
    }
}

#[test]
fn what_is_none_is_explained() {
    for (text, part) in [
        ("", "does not begin with the name"),
        (">=1", "does not begin with the name"),
        ("a-", "`a-` is not the name"),
        ("a 1.0", "no version with an operator"),
        ("a>=x", "x"),
        ("a[b", "does not end with `]`"),
        ("a (>1", "do not end with `)`"),
        ("a @ ", "no URL"),
        ("a; python < '3'", "no variable `python`"),
        ("a; python_version < '3", "does not end"),
        ("a; python_version", "no operator"),
        ("a; (os_name == 'x'", "`)` is missing"),
        ("a; os_name == 'x' b", "was not expected"),
        ("a; os_name not 'x'", "needs an `in`"),
    ] {
        let error = text.parse::<Requirement>().unwrap_err();
        assert!(error.reason.contains(part), "{text}: {error}");
        assert!(!error.reason.contains('\n'), "{error}");
    }
    let deep = format!("a; {}", "(".repeat(100_000));
    assert!(deep.parse::<Requirement>().unwrap_err().reason.contains("too many"));
}

#[test]
fn markers_hold_in_the_sandbox() {
    let sandbox = Environment::sandbox("3.13.5");
    for (marker, expected) in [
        ("python_version >= '3.9'", true),
        ("python_version < '3.9'", false),
        ("python_version == '3.*'", true),
        ("python_full_version >= '3.13.5' and python_full_version < '3.13.6'", true),
        ("'3.13' <= python_version", true),
        ("sys_platform == 'wasi'", true),
        ("sys_platform == 'linux' or sys_platform == 'win32'", false),
        ("platform_system != 'Windows'", true),
        ("os_name == 'posix' and implementation_name == 'cpython'", true),
        ("platform_python_implementation != 'PyPy'", true),
        ("platform_machine in 'x86_64 aarch64'", false),
        ("sys_platform not in 'win32 cygwin'", true),
        ("extra == 'Fast_er'", true),
        ("extra == 'other'", false),
        ("extra != 'other'", true),
        ("(extra == 'other' or python_version > '3') and os_name != 'nt'", true),
    ] {
        let requirement = parse(&format!("a; {marker}"));
        assert_eq!(requirement.applies(&sandbox, &["fast-er"]), expected, "{marker}");
    }
}
