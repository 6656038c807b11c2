//! NumPy in the sandbox: what it answers, and what calls with it see of each other.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use faasm_build_support::Built;
use faasm_tests::{call, function_source, load, run, text};
use py_func::Runtime;

static IMAGE: LazyLock<Built> = LazyLock::new(|| faasm_tests::numpy_image().unwrap());

fn runtime() -> Runtime {
    let builder = Runtime::builder().image(IMAGE.directory()).timeout(Duration::from_secs(120));
    builder.memory_limit(512 << 20).build().unwrap()
}

#[test]
fn answers_are_those_of_a_native_numpy() {
    let runtime = runtime();
    let cases = runtime.function("python", "cases").source(function_source("numpy_cases")).load().unwrap();
    let output = call(&cases, b"").output;
    let expected = include_str!("../functions/numpy_cases.txt");
    assert_eq!(text(&output).lines().count(), expected.lines().count());
    for (ours, theirs) in text(&output).lines().zip(expected.lines()) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn long_doubles_have_128_bits() {
    let runtime = runtime();
    let cases = runtime.function("python", "cases").source(function_source("numpy_cases")).load().unwrap();
    let output = cases.call("").entry("long_double").wait().unwrap().output;
    let parts: Vec<&str> = text(&output).split(' ').collect();
    // 112 bits behind the leading one are 34 digits.
    assert_eq!(parts[0], "112");
    assert!(parts[1].starts_with("0.3333333333333333333333333333333333"), "{parts:?}");
    assert_eq!(parts[2..], ["True", "1e+4000"], "{parts:?}");
}

#[test]
fn what_went_wrong_is_told() {
    let runtime = runtime();
    for (expression, expected) in [
        ("np.linalg.inv(np.ones((2, 2)))", "LinAlgError: Singular matrix"),
        ("np.linalg.solve(np.zeros((2, 2)), [1, 2])", "LinAlgError: Singular matrix"),
        ("np.linalg.cholesky(-np.eye(2))", "LinAlgError: Matrix is not positive definite"),
        // A matrix that can be inverted does so after one that cannot.
        ("np.linalg.inv(np.eye(2)).sum()", "2.0"),
        ("np.array([1]) // 0", "RuntimeWarning: divide by zero encountered in floor_divide"),
        ("np.float16(6e4) * np.float16(2)", "RuntimeWarning: overflow encountered in scalar multiply"),
        ("np.array([np.nan]).astype(np.float16).size", "1"),
    ] {
        let source = format!(
            "import numpy as np, warnings\nwarnings.simplefilter('error')\ndef faasm_main():\n    try:\n        \
             return str({expression})\n    except Exception as e:\n        return f'{{type(e).__name__}}: {{e}}'\n"
        );
        assert_eq!(run(&runtime, &source), expected, "{expression}");
    }
    let source = "import numpy as np\ndef faasm_main():\n    with np.errstate(divide='raise'):\n        \
                  try: np.array([1]) // 0\n        except FloatingPointError as e: return str(e)\n";
    assert_eq!(run(&runtime, source), "divide by zero encountered in floor_divide");
}

#[test]
fn what_numpy_imports_when_it_is_used_is_there() {
    let source = "import sys\ndef faasm_main():\n    \
                  return str([f'numpy.{it}' in sys.modules for it in ('fft', 'linalg', 'random')])\n";
    assert_eq!(run(&runtime(), source), "[True, True, True]");
}

/// Statements of an import, and expressions that are to have another value in each call.
const DRAWS: [(&str, &str); 6] = [
    ("", "np.random.random()"),
    ("np.random.seed(1)", "np.random.random()"),
    // Two normal numbers are made at a time, and the second one is kept.
    ("np.random.randn()", "np.random.randn()"),
    ("np.random.set_state(np.random.RandomState(1).get_state())", "np.random.rand(3).tolist()"),
    ("np.random.set_bit_generator(np.random.PCG64(1))", "np.random.random()"),
    ("", "np.random.default_rng().random()"),
];

#[test]
fn no_two_calls_draw_the_same() {
    const CALLS: usize = 20;
    let runtime = runtime();
    for (at_load, expression) in DRAWS {
        let source = format!("import numpy as np\n{at_load}\ndef faasm_main(): return repr({expression})\n");
        let function = load(&runtime, &source);
        let seen: BTreeSet<Vec<u8>> = (0..CALLS).map(|_| call(&function, b"").output).collect();
        assert_eq!(seen.len(), CALLS, "{at_load}; {expression}");
    }
}

#[test]
fn no_two_functions_draw_the_same_while_loading() {
    let runtime = runtime();
    let source = "import numpy, random\nVALUE = f'{numpy.random.random()} {random.random()}'\ndef faasm_main(): return VALUE\n";
    let seen: BTreeSet<String> = (0..5)
        .flat_map(|_| run(&runtime, source).split(' ').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    assert_eq!(seen.len(), 10);
}

#[test]
fn a_seed_that_a_call_sets_holds_in_that_call() {
    let source = "import numpy as np\ndef faasm_main():\n    np.random.seed(42)\n    return repr(float(np.random.random()))\n";
    let function = load(&runtime(), source);
    for _ in 0..3 {
        assert_eq!(text(&call(&function, b"").output), "0.3745401188473625");
    }
}

#[test]
fn what_is_drawn_is_uniform() {
    // A state that was filled wrongly shows in sums of many draws.
    let source = "import numpy as np, random\ndef faasm_main():\n    a = np.random.random(100_000)\n    \
                  b = [random.random() for _ in range(20_000)]\n    \
                  return f'{a.mean():.2f} {a.var():.3f} {sum(b) / len(b):.2f}'\n";
    let function = load(&runtime(), source);
    for _ in 0..3 {
        let output = call(&function, b"").output;
        let [mean, variance, python] =
            text(&output).split(' ').map(|it| it.parse::<f64>().unwrap()).collect::<Vec<_>>()[..]
        else {
            panic!()
        };
        assert!(
            (mean - 0.5).abs() < 0.015
                && (variance - 1.0 / 12.0).abs() < 0.005
                && (python - 0.5).abs() < 0.025
        );
    }
}
