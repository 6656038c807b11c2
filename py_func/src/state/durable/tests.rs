use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, iter};

use pollster::block_on;

use super::*;
use crate::state::tests::model;
use crate::state::{Limits, State};

const LIMITS: Limits = Limits { user_quota: 1 << 30, local: 64 << 20 };

fn state_in(directory: &Path) -> State {
    State::new(Arc::new(Durable::open(directory).unwrap()), LIMITS)
}

async fn whole(state: &State, key: &str) -> Result<Vec<u8>, Error> {
    let mut value = vec![0; state.size("u", key).await?.unwrap_or(0) as usize];
    state.read("u", key, 0, &mut value).await?;
    Ok(value)
}

#[test]
fn random_operations_do_what_a_simple_model_does() {
    let directory = tempfile::tempdir().unwrap();
    for seed in 100..103 {
        let global: Arc<dyn Global> = Arc::new(Durable::open(directory.path()).unwrap());
        model::compare(seed, 200, &global);
    }
}

#[test]
fn it_outlives_its_process_and_belongs_to_one() {
    let directory = tempfile::tempdir().unwrap();
    let value: Vec<u8> = (0..300_000_u32).map(|it| (it / 3) as u8).collect();
    block_on(async {
        let state = state_in(directory.path());
        state.write("u", "k", &value).await.unwrap();
        state.push("u", "k").await.unwrap();
        state.append("u", "log", "1").await.unwrap();
        state.append("u", "log", "2").await.unwrap();
        let second = Durable::open(directory.path());
        assert!(matches!(second, Err(Error::InUse { .. })));
    });
    block_on(async {
        let state = state_in(directory.path());
        assert_eq!(whole(&state, "k").await.unwrap(), value);
        assert_eq!(state.appended("u", "log", None).await.unwrap(), [b"1", b"2"]);
        assert_eq!(state.keys("u").await.unwrap(), ["k", "log"]);
    });
}

#[test]
fn parallel_appends_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let state = state_in(directory.path());
    std::thread::scope(|scope| {
        for number in 0..300_u32 {
            let state = &state;
            scope.spawn(move || block_on(state.append("u", "log", number.to_string())).unwrap());
        }
    });
    let mut entries = block_on(state.appended("u", "log", None)).unwrap();
    entries.sort_unstable();
    let mut expected: Vec<_> = (0..300_u32).map(|it| it.to_string().into_bytes()).collect();
    expected.sort_unstable();
    assert_eq!(entries, expected);
}

/// Set in the process that is to be killed: where it keeps its state.
const VICTIM: &str = "FAASM_TEST_STATE";

/// Long enough for several chunks, so that a write that is cut off would show.
const COUNTERS: usize = 25_000;

#[test]
fn what_was_acknowledged_survives_being_killed() {
    if let Some(directory) = env::var_os(VICTIM) {
        count_until_killed(Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    let mut acknowledged = 0;
    for round in 0..12 {
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["--exact", "state::durable::tests::what_was_acknowledged_survives_being_killed"])
            .args(["--nocapture", "--test-threads=1"])
            .env(VICTIM, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(victim.stdout.take().unwrap());
        // Some are killed while they open the file, the others at any time after.
        let reader = std::thread::spawn(move || {
            let numbers = output.lines().map_while(Result::ok);
            // The test harness begins the first line, with the test's name.
            let number = |line: String| line.split_once("stored ")?.1.strip_suffix('.')?.parse().ok();
            numbers.filter_map(number).last()
        });
        std::thread::sleep(Duration::from_millis(random.u64(..400)));
        victim.kill().unwrap();
        victim.wait().unwrap();
        acknowledged = reader.join().unwrap().unwrap_or(acknowledged);

        let state = state_in(directory.path());
        let (value, log) = block_on(async {
            (whole(&state, "k").await.unwrap_or_default(), state.appended("u", "log", None).await.unwrap())
        });
        let counter = value.first_chunk().map_or(0, |it| u64::from_le_bytes(*it));
        let expected: Vec<u8> = iter::repeat_n(counter.to_le_bytes(), COUNTERS).flatten().collect();
        assert!(value.is_empty() || value == expected, "round {round}: a write was cut off");
        assert!(
            (acknowledged..=acknowledged + 1).contains(&counter),
            "round {round}: {counter}, {acknowledged}"
        );
        let log: Vec<u64> = log.iter().map(|it| u64::from_le_bytes(it[..].try_into().unwrap())).collect();
        let entries = log.len() as u64;
        assert!((1..=entries).eq(log), "round {round}: an entry was lost");
        assert!(
            (acknowledged..=counter).contains(&entries),
            "round {round}: {entries}, {acknowledged}, {counter}"
        );
        // The next process goes on where this one was.
        acknowledged = entries;
    }
    assert!(acknowledged > 10, "it counted just to {acknowledged}");
}

fn count_until_killed(directory: &Path) -> ! {
    let state = state_in(directory);
    block_on(async {
        let mut counter = state.appended("u", "log", None).await.unwrap().len() as u64;
        loop {
            counter += 1;
            let value: Vec<u8> = iter::repeat_n(counter.to_le_bytes(), COUNTERS).flatten().collect();
            state.write("u", "k", &value).await.unwrap();
            state.push("u", "k").await.unwrap();
            state.append("u", "log", counter.to_le_bytes().to_vec()).await.unwrap();
            // Past the test harness, which would keep it.
            writeln!(std::io::stdout(), "stored {counter}.").unwrap();
        }
    })
}

#[test]
fn damage_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let value: Vec<u8> = (0..2_000_000_u32).map(|it| (it / 5) as u8).collect();
    block_on(async {
        let state = state_in(directory.path());
        state.write("u", "k", &value).await.unwrap();
        state.push("u", "k").await.unwrap();
    });
    let path = directory.path().join("state.redb");
    let whole_file = fs::read(&path).unwrap();
    let length = whole_file.len();
    for cut in [0, 1, 7, 100, 511, 4096, length / 2, length - 4096, length - 1] {
        fs::write(&path, &whole_file[..cut]).unwrap();
        let error = Durable::open(directory.path()).err();
        assert!(matches!(error, Some(Error::Damaged { .. })), "{cut} of {length}: {error:?}");
    }
    fs::write(&path, vec![0xA5; length]).unwrap();
    assert!(matches!(Durable::open(directory.path()), Err(Error::Damaged { .. })));

    // A flipped bit is found when the file is opened or read, or is in a byte that means nothing.
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..200 {
        let mut file = whole_file.clone();
        file[random.usize(..length.min(64 << 10))] ^= 1 << random.u8(..8);
        fs::write(&path, file).unwrap();
        let Ok(durable) = Durable::open(directory.path()) else { continue };
        let state = State::new(Arc::new(durable), LIMITS);
        let _ = block_on(whole(&state, "k"));
    }
}
