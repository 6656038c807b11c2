use py_func::Runtime;

#[test]
fn hello_greets_by_name() {
    let runtime = Runtime::builder().image(env!("FAASM_IMAGE")).build().unwrap();
    let hello = runtime.function("python", "hello").source(include_str!("../functions/hello.py")).load().unwrap();
    for (input, expected) in [("you", "Hello, you!"), ("", "Hello, world!")] {
        let result = hello.call(input).wait().unwrap();
        let output = String::from_utf8(result.output).unwrap();
        assert!(output.starts_with(expected), "{output}");
    }
}
