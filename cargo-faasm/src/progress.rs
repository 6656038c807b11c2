//! The steps of a build as people see them: progress bars on a terminal, lines elsewhere.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use faasm_build_support::progress::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::cli::Format;
use crate::shell::{self, Shell};
use crate::units::{show_duration, show_size};

/// How often what build scripts report is looked at.
const POLL: Duration = Duration::from_millis(100);

/// The display of a build. Clones share it; the bars vanish with the last one.
#[derive(Clone)]
pub(crate) struct Steps(Arc<Display>);

struct Display {
    shell: Shell,
    format: Format,
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<String, ProgressBar>>,
    /// Steps whose result was in the cache. Several other steps may ask for the same one.
    fresh: Mutex<BTreeSet<String>>,
}

impl Steps {
    /// In the JSON format, events also go to standard output.
    pub(crate) fn new(shell: Shell, format: Format) -> Self {
        let bars = (!shell.is_quiet() && shell::can_show_bars())
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr()));
        Self(Arc::new(Display { shell, format, bars, running: Mutex::default(), fresh: Mutex::default() }))
    }

    /// What the build library is given.
    pub(crate) fn progress(&self) -> Progress {
        let steps = self.clone();
        Arc::new(move |event| steps.show(&event))
    }

    /// Shows a line that another program has written.
    pub(crate) fn line(&self, text: &str) {
        self.above_bars(|| shell::line(text));
    }

    pub(crate) fn show(&self, event: &Event) {
        if self.0.format == Format::Json {
            #[derive(Serialize)]
            struct Message<'a> {
                reason: &'static str,
                #[serde(flatten)]
                event: &'a Event,
            }
            // That nobody reads what a build says is no reason to stop it.
            let _ = shell::json(&Message { reason: "build-step", event });
        }
        let shell = self.0.shell;
        match event {
            Event::Started { step } => match &self.0.bars {
                Some(bars) => self.start_bar(bars, step),
                None => shell.status("Building", step),
            },
            Event::Message { step, text } => match self.bar(step) {
                Some(bar) => bar.set_message(format!("{step}: {text}")),
                None => shell.status("", format_args!("{step}: {text}")),
            },
            Event::Bytes { step, done, total } => {
                if let Some(bar) = self.bar(step) {
                    let total = total.map(|total| format!(" of {}", show_size(total))).unwrap_or_default();
                    bar.set_message(format!("{step}: {}{total}", show_size(*done)));
                }
            }
            Event::Finished { step, seconds, cached } => {
                self.end_bar(step);
                let time = show_duration(Duration::try_from_secs_f64(*seconds).unwrap_or_default());
                if !cached {
                    self.above_bars(|| shell.status("Built", format_args!("{step} in {time}")));
                } else if lock(&self.0.fresh).insert(step.clone()) {
                    self.above_bars(|| shell.detail("Fresh", step));
                }
            }
            // The error itself is shown by whoever gets it.
            Event::Failed { step, .. } => {
                self.end_bar(step);
                self.above_bars(|| shell.status("Failed", step));
            }
        }
    }

    fn start_bar(&self, bars: &MultiProgress, step: &str) {
        let prefix = if shell::has_color() { "{prefix:>12.cyan.bold}" } else { "{prefix:>12}" };
        let template = format!("{prefix} {{wide_msg}} {{elapsed}}");
        let style =
            ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = bars.add(
            ProgressBar::new_spinner()
                .with_style(style)
                .with_prefix("Building")
                .with_message(step.to_owned()),
        );
        bar.enable_steady_tick(Duration::from_millis(250));
        lock(&self.0.running).insert(step.to_owned(), bar);
    }

    fn end_bar(&self, step: &str) {
        if let Some(bar) = lock(&self.0.running).remove(step) {
            bar.finish_and_clear();
        }
    }

    /// The bar of a step; one that only waits for another process has none yet.
    fn bar(&self, step: &str) -> Option<ProgressBar> {
        lock(&self.0.running).get(step).cloned()
    }

    fn above_bars(&self, print: impl FnOnce()) {
        match &self.0.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bars) = &self.bars {
            let _ = bars.clear();
        }
    }
}

/// The display of a transfer: a bar on a terminal, else one line when it begins.
pub(crate) struct Transfer {
    bar: Option<ProgressBar>,
    shell: Shell,
    verb: &'static str,
    what: String,
    begun: Cell<bool>,
}

impl Transfer {
    pub(crate) fn new(shell: Shell, verb: &'static str, what: String) -> Self {
        let bar = (!shell.is_quiet() && shell::can_show_bars()).then(|| {
            let prefix = if shell::has_color() { "{prefix:>12.cyan.bold}" } else { "{prefix:>12}" };
            let template = format!("{prefix} {{wide_msg}} {{bytes}} of {{total_bytes}} {{bytes_per_sec}}");
            let style =
                ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::hidden().with_style(style).with_prefix(verb).with_message(what.clone())
        });
        Self { bar, shell, verb, what, begun: Cell::new(false) }
    }

    /// So many bytes of so many are there.
    pub(crate) fn show(&self, done: u64, total: u64) {
        let begins = !self.begun.replace(true);
        match &self.bar {
            Some(bar) => {
                if begins {
                    bar.set_draw_target(ProgressDrawTarget::stderr());
                }
                bar.set_length(total);
                bar.set_position(done);
            }
            None if begins => {
                self.shell.status(self.verb, format_args!("{} ({})", self.what, show_size(total)));
            }
            None => {}
        }
    }

    /// Prints something where the bar does not overwrite it.
    pub(crate) fn above(&self, print: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows the events that build scripts append to a file, for as long as it lives.
pub(crate) struct Follower {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Follower {
    pub(crate) fn start(steps: &Steps) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("events");
        let mut file = File::options().create(true).append(true).read(true).open(&path)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (steps, stopped) = (steps.clone(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut read = 0;
            loop {
                // Asked before reading, so that what is written until then is shown.
                let last = stopped.load(Ordering::Acquire);
                for event in new_events(&mut file, &mut read) {
                    steps.show(&event);
                }
                if last {
                    return;
                }
                std::thread::park_timeout(POLL);
            }
        });
        Ok(Self { stop, thread: Some(thread), _directory: directory, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// The events on whole lines beyond the first `read` bytes. Progress is a courtesy: what cannot be read is left out.
fn new_events(file: &mut File, read: &mut u64) -> Vec<Event> {
    let mut bytes = Vec::new();
    if file.seek(SeekFrom::Start(*read)).and_then(|_| file.read_to_end(&mut bytes)).is_err() {
        return Vec::new();
    }
    let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    *read += end as u64;
    bytes[..end].split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn only_whole_lines_are_read_and_each_once() {
        let mut file = tempfile::tempfile().unwrap();
        let mut read = 0;
        let started = |step: &str| Event::Started { step: step.to_owned() };
        let mut write = |text: &str| {
            file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
            new_events(&mut file, &mut read)
        };
        assert_eq!(write(""), []);
        assert_eq!(write("{\"event\":\"started\",\"step\":\"a\"}\n{\"event\":\"star"), [started("a")]);
        assert_eq!(write("ted\",\"step\":\"b\"}"), []);
        assert_eq!(
            write("\nnonsense\n{\"event\":\"started\",\"step\":\"c\"}\n"),
            [started("b"), started("c")]
        );
        assert_eq!(write(""), []);
    }
}
