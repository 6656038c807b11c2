//! That nothing of a call is left for the next one, whatever it did and however it ended: the whole memory of every sandbox is
//! compared with that of one which was never used. Below `py_func`, whose sandboxes cannot be looked into.

use std::time::Duration;

use faasm_image::host::{Caller, Extern, Linker, Result};
use faasm_image::{Guest, Image, Interrupt, Limits, MemoryImage, Program};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::{FsPerms, WasiCtxBuilder};

/// A module that does to its sandbox what it can.
const SOURCE: &str = r#"
import builtins, gc, io, json, os, random, sys, tempfile, threading
numbers = [1, 2, 3]
table = {"a": numbers}
def nothing(): pass
def scribble():
    numbers.append(4); table["b"] = table; table["a"] = None
    globals()["nothing"] = lambda: 1 / 0
    builtins.len = builtins.print = lambda *a, **k: 17
    sys.modules["json"] = sys; sys.modules["evil"] = io; sys.path.append("/evil"); sys.argv[:] = ["x"]
    os.environ["EVIL"] = "1"; os.chdir("/lib"); os.umask(0); sys.setrecursionlimit(5000)
    sys.stdout = io.StringIO(); sys.excepthook = None; gc.disable(); random.seed(1)
    type("C", (), {"__del__": lambda self: numbers.clear()})()
    f = open("/lib/python3.13/os.py"); f.read(10)
    os.open("/lib/python3.13/ast.py", os.O_RDONLY)
    sys.intern("evil" * 3); threading.local().x = 1
    json.JSONEncoder.default = None; dict.__subclasses__(); __import__("decimal").getcontext().prec = 3
def grow(): return bytearray(20 << 20) and None
def allocate():
    x = [object() for _ in range(50_000)]
    y = {i: str(i) for i in range(20_000)}
    x.append(y); x.append(x)
def exhaust():
    x = []
    while True: x.append(bytes(1 << 16))
def recurse(): recurse()
def recurse_deeply():
    sys.setrecursionlimit(10**9)
    recurse()
def spin():
    while True: pass
def stubborn():
    while True:
        try: spin()
        except BaseException: pass
def fail(): raise LookupError("of " + "this call " * 1000)
def leave(): os._exit(3)
def exit(): sys.exit("text")
def cycle():
    class A: pass
    a = A(); a.a = a; a.b = bytearray(100_000)
"#;

const ENTRIES: [&str; 13] = [
    "nothing",
    "scribble",
    "grow",
    "allocate",
    "exhaust",
    "recurse",
    "recurse_deeply",
    "spin",
    "stubborn",
    "fail",
    "leave",
    "exit",
    "cycle",
];

#[derive(Default)]
struct Host {
    input: Vec<u8>,
    wasi: Option<WasiP1Ctx>,
}

impl Host {
    fn new(image: &Image, input: &[u8]) -> Host {
        let mut wasi = WasiCtxBuilder::new();
        wasi.allow_blocking_current_thread(true);
        wasi.preopened_dir(image.root(), "/", FsPerms::ReadOnly).unwrap();
        Host { input: input.to_vec(), wasi: Some(wasi.build_p1()) }
    }
}

fn link(linker: &mut Linker<Host>) -> Result<()> {
    p1::add_to_linker_sync(linker, |host: &mut Host| host.wasi.as_mut().expect("it runs"))?;
    linker.func_wrap(
        "faasm",
        "input",
        |mut caller: Caller<'_, Host>, at: u32, capacity: u32, from: u32| {
            let input = caller.data().input.clone();
            let rest = &input[(from as usize).min(input.len())..];
            let rest = &rest[..rest.len().min(capacity as usize)];
            let memory = caller.get_export("memory").and_then(Extern::into_memory).unwrap();
            memory.data_mut(&mut caller)[at as usize..][..rest.len()].copy_from_slice(rest);
            input.len() as u32
        },
    )?;
    linker.func_wrap("faasm", "output", |_: u32, _: u32| ())?;
    linker.func_wrap("faasm", "fail", |_: u32, _: u32, _: u32| ())?;
    linker.func_wrap("faasm", "answer", |_: u32, _: u32, _: u32| 0_u32)?;
    linker.func_wrap("faasm", "dup", |_: u32, _: u32, _: u32| -1_i32)?;
    linker.func_wrap("faasm", "lock", |_: u32, _: u32, _: u64, _: u64| 0_i32)?;
    linker.func_wrap("faasm", "request", |_: u32, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64| -1_i64)?;
    Ok(())
}

struct Bench {
    image: Image,
    program: Program<Host>,
    function: MemoryImage,
    /// The memory of a sandbox that was never used.
    fresh: Vec<u8>,
    interrupt: Interrupt,
}

impl Bench {
    async fn new() -> Bench {
        let image = Image::open(faasm_tests::image()).unwrap();
        let program = Program::new(&image.load_code().unwrap(), link).unwrap();
        let unlimited = Limits { memory: 4 << 30, deadline: None, interrupt: None };
        let request = [&b"f\0f.py\0nothing\0"[..], SOURCE.as_bytes()].concat();
        let mut guest =
            program.instantiate(&image.base().unwrap(), unlimited, Host::new(&image, &request)).unwrap();
        assert_eq!(guest.call::<_, i32>("faasm_load", ()).await.unwrap(), 0);
        let word: u64 = guest.call("faasm_interrupt", ()).await.unwrap();
        let grace = Duration::from_millis(10);
        let interrupt = Interrupt { address: (word >> 32) as u32, bits: word as u32, grace };
        let function = guest.capture().unwrap();
        let fresh = guest.read(0, guest.memory_size()).unwrap().to_vec();
        assert_eq!(fresh.len(), function.size());
        Bench { image, program, function, fresh, interrupt }
    }

    fn start(&self) -> Guest<Host> {
        let limits = Limits {
            memory: 64 << 20,
            deadline: Some(Duration::from_millis(400)),
            interrupt: Some(self.interrupt),
        };
        self.program.instantiate(&self.function, limits, Host::new(&self.image, b"")).unwrap()
    }

    /// Makes a call in a sandbox that must be as good as new. How it ends is not asked.
    async fn call(&self, entry: &str) {
        let mut guest = self.start();
        assert_eq!(guest.memory_size(), self.fresh.len(), "before {entry}");
        let memory = guest.read(0, self.fresh.len()).unwrap();
        if let Some(at) =
            (0..memory.len()).step_by(4096).find(|&at| memory[at..at + 4096] != self.fresh[at..at + 4096])
        {
            panic!("before {entry}: the page at {at:#x} is not as it was");
        }
        let name: u32 = guest.call("faasm_alloc", (entry.len() as u32,)).await.unwrap();
        guest.write(name, entry.as_bytes()).unwrap();
        let _ = guest.call::<_, i32>("faasm_call", (name, entry.len() as u32)).await;
        guest.finish();
    }
}

/// Guests are run without an async runtime; nothing here waits.
fn run(test: impl AsyncFnOnce(Bench)) {
    pollster::block_on(async { test(Bench::new().await).await });
}

#[test]
fn every_way_to_end_leaves_a_sandbox_as_good_as_new() {
    run(async |bench| {
        for entry in ENTRIES {
            for _ in 0..2 {
                bench.call(entry).await;
            }
            bench.call("nothing").await;
        }
    });
}

#[test]
fn so_does_any_sequence_of_them() {
    run(async |bench| {
        let mut random = fastrand::Rng::with_seed(2026);
        for _ in 0..150 {
            bench.call(random.choice(ENTRIES).unwrap()).await;
        }
    });
}

#[test]
fn so_do_sequences_on_several_threads() {
    run(async |bench| {
        std::thread::scope(|scope| {
            for seed in 0..4 {
                let bench = &bench;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(seed);
                    let quick = ["nothing", "scribble", "allocate", "fail", "exit", "leave", "cycle"];
                    for _ in 0..60 {
                        pollster::block_on(bench.call(random.choice(quick).unwrap()));
                    }
                });
            }
        });
    });
}
