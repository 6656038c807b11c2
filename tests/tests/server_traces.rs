//! Traces: what clients say of theirs, and what they are answered.

mod server_support;

use py_func::server::Summary;
use server_support::{header, json, start};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn a_request_is_part_of_its_clients_trace() {
    let server = start();
    server.upload("f", "def faasm_main(): pass\n");
    let call = |traceparent: &str| {
        let request = server.request("POST", "/invoke/python/f").header("traceparent", traceparent);
        header(&request.send().unwrap(), "traceresponse").to_owned()
    };
    let answered = call(&format!("00-{TRACE}-{PARENT}-01"));
    assert!(answered.starts_with(&format!("00-{TRACE}-")) && answered.ends_with("-01"), "{answered}");
    assert!(!answered.contains(PARENT), "the request has a span of its own");
    let calls: Vec<Summary> = json(server.get("/calls?limit=1"), 200);
    assert_eq!(calls[0].trace, TRACE);

    // What is no trace begins another one, as does its absence.
    let others = [call("nonsense"), call(&format!("00-{TRACE}-{PARENT}")), call("")];
    for (number, other) in others.iter().enumerate() {
        let parts: Vec<usize> = other.split('-').map(str::len).collect();
        assert_eq!(parts, [2, 32, 16, 2], "{other}");
        assert!(!other.contains(TRACE) && others.iter().skip(number + 1).all(|it| it[..35] != other[..35]));
    }
}
