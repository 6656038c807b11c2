//! What differs between two memories: the image of a function from the one that it was loaded in.
//!
//! An import writes a few bytes here and there, so the unit is not a page but a line of the processor's caches.
//!
//! As a file: [`MAGIC`], the version of the format and the size of the memory, the key by which the file is known, the
//! number of lines (all little-endian), the numbers of the lines, their contents, and the SHA-256 of all that.

use std::{fs, io::Write as _, ops::Range, path::Path};

use sha2::{Digest as _, Sha256};

use super::flat::{Flat, check_size};
use crate::{Error, Result, file};

/// How files of differences begin.
const MAGIC: &[u8; 8] = b"faasmdif";
const VERSION: u32 = 1;

/// The unit, in bytes. It divides every size of pages.
const LINE: usize = 64;

/// Lines that differ, and what they are.
pub(crate) struct Difference {
    /// The size of the memory, in bytes; at least that of the one it is compared with.
    size: usize,
    /// Numbers of lines, in ascending order.
    lines: Vec<u32>,
    contents: Vec<[u8; LINE]>,
}

impl Difference {
    /// None, of memories of this size.
    pub(crate) fn none(size: usize) -> Difference {
        Difference { size, lines: Vec::new(), contents: Vec::new() }
    }

    /// In what `memory` differs from `flat`, which it does at most in `ranges`: in whole pages, in order, and not overlapping.
    /// `None` if the latter cannot be mapped.
    pub(super) fn between(flat: &Flat, memory: &[u8], ranges: &[Range<usize>]) -> Option<Difference> {
        const BLOCK: usize = 4096;
        let mut difference = Difference::none(memory.len());
        let mut was = [0; BLOCK];
        for range in ranges {
            for at in range.clone().step_by(BLOCK) {
                let is = memory.get(at..at + BLOCK)?;
                flat.copy(at, &mut was)?;
                let lines = is.as_chunks::<LINE>().0.iter().zip(was.as_chunks::<LINE>().0).zip(at / LINE..);
                for ((is, was), line) in lines {
                    if is != was {
                        difference.lines.push(u32::try_from(line).ok()?);
                        difference.contents.push(*is);
                    }
                }
            }
        }
        Some(difference)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The size of the memory that has it, in bytes.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Writes it over `target`, the part of a memory that begins at `at`. Both ends are ends of pages.
    pub(super) fn write(&self, at: usize, target: &mut [u8]) {
        let first = self.lines.partition_point(|line| (*line as usize) < at / LINE);
        let contents = self.contents.get(first..).unwrap_or_default();
        for (line, content) in self.lines.get(first..).unwrap_or_default().iter().zip(contents) {
            let place = (*line as usize * LINE - at)..;
            let Some(place) = target.get_mut(place).and_then(|rest| rest.first_chunk_mut()) else { break };
            *place = *content;
        }
    }

    /// The pages in which there is something, as ranges of bytes. Such with at most `gap` bytes between them are answered as one.
    pub(super) fn pages(&self, page: usize, gap: usize) -> impl Iterator<Item = Range<usize>> {
        let mut lines = self.lines.iter().map(move |line| *line as usize * LINE / page * page).peekable();
        std::iter::from_fn(move || {
            let start = lines.next()?;
            let mut end = start + page;
            while let Some(next) = lines.next_if(|next| *next <= end + gap) {
                end = end.max(next + page);
            }
            Some(start..end)
        })
    }

    /// Writes it to a file, whole or not at all, by which `key` it is to be known. It is not synced: a file that was cut short is noticed.
    pub(super) fn save(&self, path: &Path, key: &[u8; 32]) -> Result<()> {
        let mut bytes = Vec::with_capacity(100 + self.lines.len() * (LINE + 4));
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((self.size as u64).to_le_bytes());
        bytes.extend(key);
        bytes.extend((self.lines.len() as u64).to_le_bytes());
        bytes.extend(self.lines.iter().flat_map(|line| line.to_le_bytes()));
        bytes.extend(self.contents.as_flattened());
        bytes.extend(Sha256::digest(&bytes));
        file::write_unsynced(path, |file| file.write_all(&bytes))
    }

    /// Reads a file that [`save`](Self::save) wrote.
    pub(super) fn open(path: &Path, key: &[u8; 32]) -> Result<Difference> {
        let bytes = fs::read(path).map_err(Error::io("open", path))?;
        parse(&bytes, key).map_err(|reason| Error::Difference { path: path.to_owned(), reason })
    }
}

fn parse(bytes: &[u8], key: &[u8; 32]) -> Result<Difference, &'static str> {
    const SHORT: &str = "it is cut short or damaged";
    let (bytes, digest) = bytes.split_last_chunk::<32>().ok_or(SHORT)?;
    if Sha256::digest(bytes).as_slice() != digest {
        return Err(SHORT);
    }
    let (magic, bytes) = bytes.split_first_chunk::<8>().ok_or(SHORT)?;
    let (version, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    if magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
        return Err("it has another format");
    }
    let (size, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    let (its_key, bytes) = bytes.split_first_chunk::<32>().ok_or(SHORT)?;
    if its_key != key {
        return Err("it was made of something else");
    }
    let (count, bytes) = bytes.split_first_chunk().ok_or(SHORT)?;
    let size = check_size(u64::from_le_bytes(*size)).map_err(|_| SHORT)?;
    let count = usize::try_from(u64::from_le_bytes(*count)).map_err(|_| SHORT)?;
    let (lines, contents) = bytes.split_at_checked(count.checked_mul(4).ok_or(SHORT)?).ok_or(SHORT)?;
    let lines: Vec<u32> = lines.as_chunks().0.iter().map(|line| u32::from_le_bytes(*line)).collect();
    let (contents, []) = contents.as_chunks::<LINE>() else { return Err(SHORT) };
    let in_order = lines.is_sorted_by(|left, right| left < right);
    let inside = lines.last().is_none_or(|last| (*last as usize) < size / LINE);
    if !in_order || !inside || contents.len() != count {
        return Err(SHORT);
    }
    Ok(Difference { size, lines, contents: contents.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PAGE;

    /// A memory, the content of another one, and the difference.
    fn example() -> (Flat, Vec<u8>, Difference) {
        let mut bytes = vec![0; 40 * PAGE];
        bytes[..2 * PAGE].fill(7);
        let flat = Flat::from_bytes(&bytes).unwrap();
        // It has grown, and differs at the ends of lines, pages and memories.
        bytes.resize(42 * PAGE, 0);
        for at in [0, 63, 64, 4095, 4096, 20 * PAGE - 1, 40 * PAGE, 42 * PAGE - 1] {
            bytes[at] = 1;
        }
        let all = 0..bytes.len();
        let difference = Difference::between(&flat, &bytes, &[all]).unwrap();
        (flat, bytes, difference)
    }

    #[test]
    fn what_it_is_written_over_becomes_the_other_memory() {
        let (flat, bytes, difference) = example();
        assert_eq!(difference.size(), bytes.len());
        for part in [0..bytes.len(), 0..4096, 4096..8192, PAGE..41 * PAGE, 41 * PAGE..42 * PAGE] {
            let mut target = vec![0; part.len()];
            flat.copy(part.start, &mut target).unwrap();
            difference.write(part.start, &mut target);
            assert!(target == bytes[part.clone()], "{part:?}");
        }
    }

    #[test]
    fn its_pages_are_answered_in_runs() {
        let (.., difference) = example();
        let last = |page: usize| (page - 1) * PAGE + 15 * 4096..page * PAGE;
        let expected = [0..8192, last(20), 40 * PAGE..40 * PAGE + 4096, last(42)];
        assert_eq!(difference.pages(4096, 0).collect::<Vec<_>>(), expected);
        let joined: Vec<_> = difference.pages(4096, 2 * PAGE).collect();
        assert_eq!(joined, [0..8192, last(20), 40 * PAGE..42 * PAGE]);
    }

    #[test]
    fn a_file_is_read_again_only_if_it_is_whole_and_the_right_one() {
        let (.., difference) = example();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("difference");
        difference.save(&path, &[5; 32]).unwrap();
        let again = Difference::open(&path, &[5; 32]).unwrap();
        assert!(again.lines == difference.lines && again.contents == difference.contents);
        assert_eq!(again.size, difference.size);

        assert!(Difference::open(&path, &[6; 32]).is_err());
        let bytes = fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut], &[5; 32]).is_err(), "{cut}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(parse(&bytes, &[5; 32]).is_err(), "{at}");
        }
    }

    #[test]
    fn no_content_of_a_file_is_believed() {
        // Right digests, but numbers that make no sense.
        let file = |size: u64, count: u64, lines: &[u32]| {
            let mut bytes = MAGIC.to_vec();
            bytes.extend(VERSION.to_le_bytes());
            bytes.extend(size.to_le_bytes());
            bytes.extend([0; 32]);
            bytes.extend(count.to_le_bytes());
            bytes.extend(lines.iter().flat_map(|line| line.to_le_bytes()));
            bytes.extend(vec![1; lines.len() * LINE]);
            bytes.extend(Sha256::digest(&bytes));
            parse(&bytes, &[0; 32]).is_ok()
        };
        let page = PAGE as u64;
        assert!(file(page, 2, &[0, 1023]));
        for (size, count, lines) in [
            (page, 1, &[1024][..]),
            (page, 1, &[u32::MAX]),
            (page, 2, &[1, 0]),
            (page, 2, &[1, 1]),
            (page, 1, &[0, 1]),
            (page, u64::MAX, &[0]),
            (page, 1 << 62, &[0]),
            (page + 1, 1, &[0]),
            (u64::MAX, 1, &[0]),
        ] {
            assert!(!file(size, count, lines), "{size} {count} {lines:?}");
        }
    }
}
