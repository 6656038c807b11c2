//! How many connections each address has.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::access::network;

/// The addresses that have connections.
#[derive(Clone)]
pub(super) struct Addresses {
    limit: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection of an address, until it is dropped.
pub(super) struct Open {
    address: IpAddr,
    addresses: Addresses,
}

impl Addresses {
    /// Each may have so many.
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, open: Arc::default() }
    }

    /// One connection more of an address, or of its half if it is one of version 6; `None` if it has as many as it may.
    pub(super) fn open(&self, address: IpAddr) -> Option<Open> {
        let address = network(address);
        let mut open = self.locked();
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Open { address, addresses: self.clone() })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.addresses.locked();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_so_many() {
        let addresses = Addresses::new(2);
        let open = |text: &str| addresses.open(text.parse().unwrap());
        let mut held = Vec::new();
        for (address, good) in [
            ("192.0.2.1", true),
            ("192.0.2.1", true),
            ("192.0.2.1", false),
            ("::ffff:192.0.2.1", false),
            ("192.0.2.2", true),
            ("2001:db8::1", true),
            ("2001:db8::2", true),
            ("2001:db8::3", false),
            ("2001:db8:0:1::1", true),
        ] {
            let opened = open(address);
            assert_eq!(opened.is_some(), good, "{address}");
            held.extend(opened);
        }
        drop(held.remove(0));
        held.extend(open("192.0.2.1"));
        assert!(open("192.0.2.1").is_none());
        drop(held);
        assert!(addresses.locked().is_empty());
    }
}
