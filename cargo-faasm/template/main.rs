//! Runs the function in functions/hello.py with the first argument as its input.

use py_func::Runtime;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Runtime::builder().image(env!("FAASM_IMAGE")).build()?;
    let hello = runtime.function("python", "hello").source(include_str!("../functions/hello.py")).load()?;

    let name = std::env::args().nth(1).unwrap_or_default();
    let result = hello.call(name).wait()?;
    println!("{}", String::from_utf8_lossy(&result.output));
    Ok(())
}
