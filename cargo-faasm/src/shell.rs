//! What people see: status lines in Cargo's style on standard error, data on standard output.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use clap::ColorChoice;
use serde::Serialize;

const STATUS: Style = AnsiColor::Green.on_default().bold();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default().bold();

/// Where status lines go, and how many of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shell {
    quiet: bool,
    verbose: bool,
}

impl Shell {
    pub(crate) fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, verbose }
    }

    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// A line that says what is being done or was done: a verb, right-aligned, and its object.
    pub(crate) fn status(self, verb: &str, text: impl Display) {
        if !self.quiet {
            line(format_args!("{STATUS}{verb:>12}{STATUS:#} {text}"));
        }
    }

    /// A status line that only `--verbose` shows.
    pub(crate) fn detail(self, verb: &str, text: impl Display) {
        if self.verbose {
            self.status(verb, text);
        }
    }

    pub(crate) fn warn(self, text: impl Display) {
        if !self.quiet {
            line(format_args!("{WARNING}warning{WARNING:#}: {text}"));
        }
    }

    pub(crate) fn error(self, text: impl Display) {
        line(format_args!("{ERROR}error{ERROR:#}: {text}"));
    }

    /// What to do about the error or warning above it.
    pub(crate) fn hint(self, text: impl Display) {
        line(format_args!("\n{HINT}hint{HINT:#}: {text}"));
    }

    /// A check of `doctor`, and how it ended.
    pub(crate) fn verdict(self, style: Style, word: &str, text: impl Display) {
        line(format_args!("{style}{word:>12}{style:#} {text}"));
    }
}

/// How `doctor` marks what is good, doubtful and broken.
pub(crate) const VERDICTS: [Style; 3] = [STATUS, WARNING, ERROR];

/// Whether standard error is a terminal that can show progress bars.
pub(crate) fn can_show_bars() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|it| it != "dumb")
}

/// Whether standard error gets colours.
pub(crate) fn has_color() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// The choice that `CARGO_TERM_COLOR` makes. Without one it is automatic, which honours `NO_COLOR` and whether there is a terminal.
pub(crate) fn color_of_environment() -> ColorChoice {
    match std::env::var("CARGO_TERM_COLOR").as_deref() {
        Ok("always") => ColorChoice::Always,
        Ok("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

pub(crate) fn set_color(choice: ColorChoice) {
    let choice = match choice {
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
        ColorChoice::Auto => anstream::ColorChoice::Auto,
    };
    choice.write_global();
}

/// A line on standard error. When nobody reads it, that is no reason to stop.
pub(crate) fn line(text: impl Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Bytes on standard error, as they are.
pub(crate) fn raw_stderr(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

/// Data on standard output. A reader that has seen enough, such as `head`, is no error.
pub(crate) fn data(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("failed to write to standard output"))
        }
        _ => Ok(()),
    }
}

/// An object as a line of JSON on standard output.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    data(&line)
}

/// Whether data goes to a person rather than to a program.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Rows as lines with aligned columns.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; N]| {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "b", ""], ["äöü", "", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a    b\näöü     c\n");
    }
}
