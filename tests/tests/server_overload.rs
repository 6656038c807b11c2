//! More requests than a server can do. What that takes of the memory is seen from outside, so this program has no other test.

mod server_support;

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use faasm_tests::limits;
use server_support::process::memory;
use server_support::{client, eventually, header, problem, start_on};

#[test]
fn more_than_it_can_do_is_refused_and_leaves_nothing() {
    const CLIENTS: usize = 48;
    const BODY: usize = 256 << 10;
    let runtime = limits().threads(NonZero::<usize>::MIN).queue(4);
    let server = start_on(runtime, tempfile::tempdir().unwrap(), |_| ());
    server.upload("f", "import time\ndef faasm_main(data):\n    time.sleep(0.002)\n    return data\n");
    let (served, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let round = || {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    let client = client();
                    for _ in 0..20 {
                        let request = client.post(format!("{}/invoke/python/f", server.url));
                        let answer = request.body(vec![b'x'; BODY]).send().unwrap();
                        if answer.status() == 200 {
                            assert_eq!(answer.bytes().unwrap().len(), BODY);
                            served.fetch_add(1, Ordering::Relaxed);
                        } else {
                            assert_eq!(header(&answer, "retry-after"), "1");
                            problem(answer, 503, "busy");
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
    };
    round();
    round();
    let before = memory("/proc/self/status", "VmRSS:");
    for _ in 0..4 {
        round();
    }
    let growth = memory("/proc/self/status", "VmRSS:").saturating_sub(before);
    // All bodies of these rounds are some 900 MiB.
    assert!(growth < 128 << 20, "{} MiB more", growth >> 20);
    let (served, refused) = (served.into_inner(), refused.into_inner());
    assert!(served > 0 && refused > 0 && served + refused == 6 * CLIENTS * 20, "{served} {refused}");
    assert_eq!(server.post("/invoke/python/f", "at once").text().unwrap(), "at once");
    eventually(|| server.get("/metrics").text().unwrap().contains("faasm_buffered_bytes 0"));
}
