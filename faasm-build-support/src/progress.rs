//! What a build is given and what it reports: [`Context`] and [`Event`].

use std::env;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, Key};
use crate::error::{Error, Result};

/// The environment variable that names the file to which a build script appends its events, because Cargo
/// hides what a build script prints until it is done.
pub const PROGRESS_VARIABLE: &str = "FAASM_PROGRESS";

/// Something a person who waits for a build wants to know. Serialised as one JSON object with the tag
/// `event`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step has begun. A step whose result is in the cache only has [`Event::Finished`].
    Started {
        /// The step.
        step: String,
    },
    /// Something noteworthy happened within a step.
    Message {
        /// The step.
        step: String,
        /// A sentence without a full stop.
        text: String,
    },
    /// So much of a download is there.
    Bytes {
        /// The step.
        step: String,
        /// Bytes so far.
        done: u64,
        /// Bytes in all, where that is known.
        total: Option<u64>,
    },
    /// A step is done.
    Finished {
        /// The step.
        step: String,
        /// How long it took, in seconds.
        seconds: f64,
        /// Whether its result was in the cache.
        cached: bool,
    },
    /// A step has failed, and the build with it.
    Failed {
        /// The step.
        step: String,
        /// The message of the error.
        error: String,
    },
}

/// Where events go. Called from any thread, must not block for long.
pub type Progress = Arc<dyn Fn(Event) + Send + Sync>;

/// What every step of a build is given.
#[derive(Clone)]
pub struct Context {
    /// Where results are kept.
    pub cache: Cache,
    /// Whether the network must not be used.
    pub offline: bool,
    /// How many commands may run at once when there is no jobserver.
    pub jobs: usize,
    /// Where events go.
    pub progress: Progress,
}

impl Context {
    /// The context that the environment asks for: `FAASM_CACHE`, `FAASM_OFFLINE` or `CARGO_NET_OFFLINE`,
    /// `NUM_JOBS` (which Cargo sets for build scripts) and [`PROGRESS_VARIABLE`].
    ///
    /// # Errors
    ///
    /// When a variable has a value that cannot be used, or there is no directory for the cache.
    pub fn from_env() -> Result<Self> {
        Ok(Self {
            cache: Cache::from_env()?,
            offline: flag("FAASM_OFFLINE")? || flag("CARGO_NET_OFFLINE")?,
            jobs: jobs()?,
            progress: match env::var_os(PROGRESS_VARIABLE) {
                Some(path) => appending_to(path.into()),
                None => silent(),
            },
        })
    }

    /// The cache entry `kind`/`name` with `key`, made by `build` in the directory it is given if it is not
    /// there. Reports the step `kind name`. See [`Cache::entry`].
    ///
    /// # Errors
    ///
    /// Those of `build`, and when the cache cannot be used.
    pub fn entry(
        &self,
        kind: &str,
        name: &str,
        key: &Key,
        build: impl FnOnce(&std::path::Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let step = format!("{kind} {name}");
        let started = Instant::now();
        let waiting = || self.message(&step, "waiting for another build of it");
        let mut cached = true;
        let result = self.cache.entry(kind, name, key, waiting, |directory| {
            cached = false;
            (self.progress)(Event::Started { step: step.clone() });
            build(directory)
        });
        (self.progress)(match &result {
            Ok(_) => Event::Finished { step: step.clone(), seconds: started.elapsed().as_secs_f64(), cached },
            Err(error) => Event::Failed { step: step.clone(), error: error.to_string() },
        });
        result
    }

    /// Reports something noteworthy within `step`.
    pub fn message(&self, step: &str, text: impl Into<String>) {
        (self.progress)(Event::Message { step: step.to_owned(), text: text.into() });
    }
}

/// Drops every event.
pub fn silent() -> Progress {
    Arc::new(|_| ())
}

/// Appends every event to `path` as a line of JSON. Progress is a courtesy, so a file that cannot be written
/// does not fail the build.
pub fn appending_to(path: PathBuf) -> Progress {
    Arc::new(move |event| {
        let Ok(mut line) = serde_json::to_string(&event) else { return };
        line.push('\n');
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(&path) {
            // One write per line keeps the lines of several build scripts whole.
            let _ = file.write_all(line.as_bytes());
        }
    })
}

pub(crate) fn flag(name: &'static str) -> Result<bool> {
    let Some(value) = env::var_os(name) else { return Ok(false) };
    match value.to_string_lossy().as_ref() {
        "" | "0" | "false" => Ok(false),
        "1" | "true" => Ok(true),
        other => Err(Error::Variable { name, value: other.to_owned(), reason: "it must be true or false" }),
    }
}

fn jobs() -> Result<usize> {
    let Some(value) = env::var_os("NUM_JOBS") else {
        return Ok(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    };
    let value = value.to_string_lossy();
    value.parse().ok().filter(|&jobs| jobs > 0).ok_or_else(|| Error::Variable {
        name: "NUM_JOBS",
        value: value.to_string(),
        reason: "it must be a positive number",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_side_channel() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events");
        let events = [
            Event::Started { step: "a".to_owned() },
            Event::Bytes { step: "a".to_owned(), done: 1, total: None },
            Event::Finished { step: "a".to_owned(), seconds: 0.5, cached: true },
        ];
        let progress = appending_to(path.clone());
        events.iter().for_each(|event| progress(event.clone()));
        let text = std::fs::read_to_string(path).unwrap();
        let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, events);
    }

    #[test]
    fn an_entry_reports_whether_it_was_built() {
        let directory = tempfile::tempdir().unwrap();
        let events = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = Arc::clone(&events);
        let cx = Context {
            cache: Cache::new(directory.path().to_path_buf()),
            offline: true,
            jobs: 1,
            progress: Arc::new(move |event| seen.lock().unwrap().push(event)),
        };
        for _ in 0..2 {
            cx.entry("kind", "name", &Key::new(), |_| Ok(())).unwrap();
        }
        let summary: Vec<_> = events
            .lock()
            .unwrap()
            .iter()
            .map(|event| match event {
                Event::Started { step } => format!("started {step}"),
                Event::Finished { step, cached, .. } => format!("finished {step} {cached}"),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(summary, ["started kind name", "finished kind name false", "finished kind name true"]);
    }
}
