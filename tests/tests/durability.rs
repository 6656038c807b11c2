//! A process that is killed at any moment loses no state that a function has been told is stored.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use faasm_tests::{limits, text};
use py_func::state::{self, Durable, State};
use py_func::{Function, Runtime};

/// Set in the process that is killed: where it keeps its state.
const VICTIM: &str = "FAASM_TEST_DURABILITY";

/// How often one is.
const ROUNDS: usize = 12;

/// Each call goes on where the last one was, in a value of many pages, in a log, and in a value that is new each time.
const SOURCE: &str = "
import faasm

def again(data):
    # It may have been cut off behind the entry in the log.
    faasm_main(data, len(faasm.state.appended('log')) < int(data))

def faasm_main(data, append=True):
    number = int(data)
    whole = number.to_bytes(8, 'little') * 40_000
    faasm.state.write('whole', whole)
    faasm.state.push('whole')
    if append: faasm.state.append('log', data)
    faasm.state.write('of ' + data.decode(), data)
    faasm.state.push('of ' + data.decode())

def stored():
    keys = faasm.state.keys()
    whole = faasm.state.read('whole') if 'whole' in keys else bytes(8)
    number = int.from_bytes(whole[:8], 'little')
    assert whole == whole[:8] * (len(whole) // 8), 'a write was cut off'
    log = [int(entry) for entry in faasm.state.appended('log')]
    assert log == list(range(1, len(log) + 1)), 'an entry was lost'
    values = sorted(int(faasm.state.read(key)) for key in keys if key.startswith('of '))
    assert values == list(range(1, len(values) + 1)), 'a value was lost'
    assert number >= len(log) >= len(values) >= number - 1, (number, len(log), len(values))
    return str(len(values))
";

#[test]
fn what_a_function_has_stored_survives_its_process() {
    if let Some(directory) = std::env::var_os(VICTIM) {
        store_until_killed(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let mut survived = 0;
    for round in 0..ROUNDS {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "what_a_function_has_stored_survives_its_process", "--nocapture"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(victim.stdout.take().unwrap());
        // Of a line that is cut off the number is not to be believed.
        let stored = std::thread::spawn(move || {
            let lines = output.lines().map_while(Result::ok);
            lines
                .filter_map(|line| line.split_once("stored ")?.1.strip_suffix('.')?.parse::<u64>().ok())
                .last()
        });
        // Some while they start, most at any time after.
        std::thread::sleep(Duration::from_millis(random.u64(..1500)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let acknowledged = stored.join().unwrap().unwrap_or(survived);

        let (_runtime, function) = open(directory.path());
        let output = function.call("").entry("stored").wait();
        let output = output.unwrap_or_else(|failure| panic!("round {round}: {failure}"));
        survived = text(&output.output).parse().unwrap();
        assert!(
            (acknowledged..=acknowledged + 1).contains(&survived),
            "round {round}: {acknowledged} were acknowledged, {survived} are there"
        );
    }
    assert!(survived > 0, "the processes were killed before they stored anything");
}

fn open(directory: &Path) -> (Runtime, Function) {
    let limit = state::Limits { user_quota: 64 << 20, local: 64 << 20 };
    let state = State::new(Arc::new(Durable::open(directory).unwrap()), limit);
    let runtime = limits().state(state).build().unwrap();
    let function = runtime.function("python", "f").source(SOURCE).load().unwrap();
    (runtime, function)
}

fn store_until_killed(directory: &Path) -> ! {
    let (_runtime, function) = open(directory);
    // The one that was cut off is done again, all of it.
    let stored = function.call("").entry("stored").wait().unwrap().output;
    let mut number: u64 = text(&stored).parse().unwrap();
    let mut entry = "again";
    loop {
        number += 1;
        function.call(number.to_string()).entry(entry).wait().unwrap();
        println!("stored {number}.");
        entry = "faasm_main";
    }
}
