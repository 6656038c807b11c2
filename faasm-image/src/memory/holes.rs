//! Long runs of zeros in an image. Guests have anonymous memory there: a page of a file takes memory from the first time on that a
//! guest reads it, and that of a private copy besides when one writes to it, while room for a heap or a stack is mostly for writing.

use std::{fs::File, io, ops::Range};

use rustix::fs::{SeekFrom, seek};

use super::PAGE;

/// Shorter ones are left to the file, since each makes for two mappings more.
const SHORTEST: usize = 1 << 20;

/// Ranges of an image that are zero, in order, in whole WebAssembly pages, which are as large as any system's or larger.
pub(super) struct Holes(Vec<Range<usize>>);

impl Holes {
    /// The holes of a file, as far as its file system knows them.
    pub(super) fn of(file: &File, size: usize) -> io::Result<Holes> {
        let mut holes = Vec::new();
        let mut data = 0_u64;
        while (data as usize) < size {
            // A file system that knows nothing of holes has none but the end of the file.
            let hole = seek(file, SeekFrom::Hole(data)).unwrap_or(size as u64);
            // No data behind a hole is an error to this call.
            data = seek(file, SeekFrom::Data(hole)).unwrap_or(size as u64);
            let range = (hole as usize).next_multiple_of(PAGE)..(data as usize).min(size) / PAGE * PAGE;
            if range.len() >= SHORTEST {
                holes.push(range);
            }
        }
        Ok(Holes(holes))
    }

    /// Divides a range into parts that lie in a hole and parts that do not; the former are marked.
    pub(super) fn split(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, bool)> {
        let end = range.end;
        let mut at = range.start;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let next = self.0.iter().find(|hole| hole.end > at);
            let (until, is_hole) = match next {
                Some(hole) if hole.start <= at => (hole.end, true),
                Some(hole) => (hole.start, false),
                None => (end, false),
            };
            let part = at..until.min(end);
            at = part.end;
            Some((part, is_hole))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_divided_at_the_ends_of_holes() {
        let holes = Holes(vec![10..20, 30..40]);
        let split =
            |range| holes.split(range).map(|(part, hole)| (part.start, part.end, hole)).collect::<Vec<_>>();
        assert_eq!(split(0..5), [(0, 5, false)]);
        assert_eq!(split(12..18), [(12, 18, true)]);
        assert_eq!(
            split(5..50),
            [(5, 10, false), (10, 20, true), (20, 30, false), (30, 40, true), (40, 50, false)]
        );
        assert_eq!(split(20..30), [(20, 30, false)]);
        assert_eq!(split(19..31), [(19, 20, true), (20, 30, false), (30, 31, true)]);
        assert_eq!(split(7..7), []);
    }

    #[test]
    fn only_long_runs_count() {
        use std::os::unix::fs::FileExt as _;
        let file = tempfile::tempfile().unwrap();
        let size = 8 << 20;
        file.set_len(size as u64).unwrap();
        for at in [3 << 20, (3 << 20) + (SHORTEST as u64) / 2, 5 << 20] {
            file.write_all_at(&[1], at).unwrap();
        }
        let found = Holes::of(&file, size).unwrap();
        // Whatever the file system tells, it must be true.
        for hole in &found.0 {
            let mut bytes = vec![1; hole.len()];
            file.read_exact_at(&mut bytes, hole.start as u64).unwrap();
            assert!(bytes.iter().all(|byte| *byte == 0) && hole.len() >= SHORTEST, "{hole:?}");
        }
        assert!(found.0.len() <= 3, "{:?}", found.0);
    }
}
