//! temporary
use std::time::*;
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = std::env::args().nth(1).unwrap();
    let rt = py_func::Runtime::builder().image(dir).timeout(Duration::from_secs(2)).memory_limit(128<<20).output_limit(1<<20).build()?;
    for src in ["def faasm_main(d):\n    import sys\n    print('hi', sys.version)\n    return b'Hello ' + d", "def faasm_main():\n    return 1/0", "x = (", "import nope", "def f(): pass", "def faasm_main():\n    while 1: pass",
        "def faasm_main():\n    x=[]\n    while 1: x.append('a'*100000)", "def faasm_main():\n    while 1: print('a'*100000)", "import sys\ndef faasm_main():\n    sys.exit(3)", "def faasm_main():\n    def f(): f()\n    f()", "def faasm_main():\n    return 1.5", "f = open('/lib/python3.13/os.py')\ndef faasm_main(): pass",
        "def faasm_main():\n    import faasm; faasm.output(b'x'*(2<<20))", "import time\ndef faasm_main():\n    time.sleep(1000)", "def faasm_main():\n    import os; os._exit(7)","def faasm_main():\n    import os; os.abort()", "import random, os\nx = random.random()\ndef faasm_main():\n    return f'{x} {random.random()} {os.urandom(4)} {os.listdir(chr(47))}'"] {
        println!("---- {src}");
        match rt.function("python", "hello").source(src).load() {
            Err(e) => println!("load: {e} / {:?} / {:?}", std::error::Error::source(&e).map(|e| e.to_string()), e.hint()),
            Ok(f) => for _ in 0..2 { match f.call("world").wait() { Ok(o) => println!("{:?}", (o.status, String::from_utf8_lossy(&o.output[..o.output.len().min(200)]), String::from_utf8_lossy(&o.stdout[..o.stdout.len().min(200)]), o.usage)), Err(e) => println!("{} / {:?} out {} err {}", e, e.error.hint(), e.stdout.len(), String::from_utf8_lossy(&e.stderr)) } },
        }
    }
    let f = rt.function("python", "noop").source("def faasm_main(): pass").load()?;
    let t = Instant::now(); for _ in 0..2000 { f.call("").wait()?; } println!("noop {:?}", t.elapsed()/2000);
    Ok(())
}
