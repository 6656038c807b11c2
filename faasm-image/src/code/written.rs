//! Follows what a function has surely written to memory, and since when.

use wasmparser::{Catch, Operator};

use crate::{Error, Result};

/// Where in a function one is, and whether memory was written to since the function and each open loop was entered.
///
/// Whoever has written since an inner loop was entered has written since the outer ones were, so a number says it all: how many of
/// them, from the outermost on.
pub(super) struct Written {
    /// How many of the open loops, the function counted as the first, have had a write since they were entered. `UNREACHABLE` where
    /// nobody comes.
    since: usize,
    /// How many are open.
    open: usize,
    frames: Vec<Frame>,
    calls_first: bool,
    /// How many clauses that catch exceptions are open.
    catching: usize,
}

/// The most such clauses around any place. The engine looks at all of them for each frame that an exception leaves, and cannot be stopped
/// meanwhile. Compilers write a few.
const MOST_CATCHING: usize = 1000;

const UNREACHABLE: usize = usize::MAX;

struct Frame {
    kind: Kind,
    /// The least that was written where branches to the frame's end are.
    at_end: usize,
    /// How many clauses it has that catch exceptions.
    catches: usize,
}

enum Kind {
    Block,
    /// With its place among the open loops.
    Loop(usize),
    /// With what was written before, for what `else` begins with.
    If(usize),
}

impl Default for Written {
    fn default() -> Written {
        let function = Frame { kind: Kind::Block, at_end: UNREACHABLE, catches: 0 };
        Written { since: 0, open: 1, frames: vec![function], calls_first: false, catching: 0 }
    }
}

impl Written {
    /// Goes on over an operator. Whether it may enter a loop anew without a write since it was entered; it is taken for granted
    /// that memory is accessed then, right before the operator.
    pub(super) fn follow(&mut self, operator: &Operator<'_>) -> Result<bool> {
        let mut must_read = false;
        match operator {
            Operator::Block { .. } => self.push(Kind::Block),
            Operator::Loop { .. } => {
                self.push(Kind::Loop(self.open));
                self.open += 1;
            }
            Operator::If { .. } => self.push(Kind::If(self.since)),
            Operator::Else => {
                let frame = self.frames.last_mut().ok_or_else(malformed)?;
                frame.at_end = frame.at_end.min(self.since);
                let Kind::If(before) = frame.kind else { return Err(malformed()) };
                (frame.kind, self.since) = (Kind::Block, before);
            }
            Operator::End => {
                let frame = self.frames.pop().ok_or_else(malformed)?;
                self.catching -= frame.catches;
                match frame.kind {
                    Kind::Block => self.join(frame.at_end),
                    // The path on which the condition is false.
                    Kind::If(before) => self.join(frame.at_end.min(before)),
                    Kind::Loop(place) => {
                        self.open = place;
                        self.join(UNREACHABLE);
                    }
                }
            }
            Operator::Br { relative_depth } => {
                must_read = self.branch(&[*relative_depth])?;
                self.since = UNREACHABLE;
            }
            Operator::BrIf { relative_depth } => must_read = self.branch(&[*relative_depth])?,
            Operator::BrTable { targets } => {
                let mut depths = targets.targets().collect::<Result<Vec<_>, _>>()?;
                depths.push(targets.default());
                must_read = self.branch(&depths)?;
                self.since = UNREACHABLE;
            }
            Operator::TryTable { try_table } => {
                // What is caught may have been thrown before anything was written. The labels count from outside of the block.
                let labels = |catch: &Catch| match catch {
                    Catch::One { label, .. } | Catch::OneRef { label, .. } => *label,
                    Catch::All { label } | Catch::AllRef { label } => *label,
                };
                let depths: Vec<u32> = try_table.catches.iter().map(labels).collect();
                must_read = self.branch(&depths)?;
                self.catching += depths.len();
                if self.catching > MOST_CATCHING {
                    let reason = "one of its functions catches exceptions in too many ways at a time";
                    return Err(Error::Unsuitable(reason.to_owned()));
                }
                let frame = Frame { kind: Kind::Block, at_end: UNREACHABLE, catches: depths.len() };
                self.frames.push(frame);
            }
            Operator::Throw { .. } | Operator::ThrowRef => self.since = UNREACHABLE,
            Operator::Return | Operator::Unreachable => self.since = UNREACHABLE,
            Operator::Call { .. } | Operator::CallIndirect { .. } => self.call(),
            Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } => {
                self.call();
                self.since = UNREACHABLE;
            }
            _ if writes(operator) => self.write(),
            _ => {}
        }
        Ok(must_read)
    }

    /// Whether the function calls one before it has surely written anything.
    pub(super) fn must_read_at_entry(&self) -> bool {
        self.calls_first
    }

    fn push(&mut self, kind: Kind) {
        self.frames.push(Frame { kind, at_end: UNREACHABLE, catches: 0 });
    }

    fn write(&mut self) {
        if self.since != UNREACHABLE {
            self.since = self.open;
        }
    }

    fn call(&mut self) {
        self.calls_first |= self.since == 0;
    }

    /// Goes on where a path ends on which so much was written, maybe within loops that are not open any more.
    fn join(&mut self, other: usize) {
        self.since = self.since.min(other);
        if self.since != UNREACHABLE {
            self.since = self.since.min(self.open);
        }
    }

    fn branch(&mut self, depths: &[u32]) -> Result<bool> {
        let mut must_read = false;
        for depth in depths {
            if let Kind::Loop(place) = self.target(*depth)?.kind {
                must_read |= self.since <= place;
            }
        }
        if must_read {
            self.write();
        }
        for depth in depths {
            let since = self.since;
            let frame = self.target(*depth)?;
            frame.at_end = frame.at_end.min(since);
        }
        Ok(must_read)
    }

    fn target(&mut self, depth: u32) -> Result<&mut Frame> {
        self.frames.iter_mut().rev().nth(depth as usize).ok_or_else(malformed)
    }
}

fn malformed() -> Error {
    Error::Unsuitable("the blocks of one of its functions do not match".to_owned())
}

fn writes(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::I32Store { .. }
            | Operator::I64Store { .. }
            | Operator::F32Store { .. }
            | Operator::F64Store { .. }
            | Operator::I32Store8 { .. }
            | Operator::I32Store16 { .. }
            | Operator::I64Store8 { .. }
            | Operator::I64Store16 { .. }
            | Operator::I64Store32 { .. }
            | Operator::V128Store { .. }
            | Operator::V128Store8Lane { .. }
            | Operator::V128Store16Lane { .. }
            | Operator::V128Store32Lane { .. }
            | Operator::V128Store64Lane { .. }
    )
}
