//! Which thread this is. The standard library says it, too, but counts references to do so, several times in a short call.

use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// What no other thread of the process has, nor will have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThreadNumber(u64);

pub(crate) fn this_thread() -> ThreadNumber {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let mut number = NUMBER.get();
    if number == 0 {
        number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        NUMBER.set(number);
    }
    ThreadNumber(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_different_numbers() {
        let (first, second) =
            std::thread::spawn(|| (this_thread(), this_thread())).join().expect("it does not panic");
        assert_eq!(first, second);
        let next = std::thread::spawn(this_thread).join().expect("it does not panic");
        assert!(first != this_thread() && next != this_thread() && first != next);
    }
}
