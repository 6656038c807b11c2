//! A local HTTP server whose every reply a test writes.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What to do with a connection.
pub(super) enum Reply {
    /// Send this and close it.
    Close(Vec<u8>),
    /// Send this and then nothing more.
    Stall(Vec<u8>),
}

pub(super) struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The heads of all requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// A server that answers each connection with what `reply` makes of the request's head and its number, from
/// 0.
pub(super) fn serve(reply: impl Fn(&str, usize) -> Reply + Send + 'static) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        let mut stalled = Vec::new();
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let head = read_head(&mut stream);
            seen.lock().unwrap().push(head.clone());
            // The client may have hung up, which some tests want.
            match reply(&head, number) {
                Reply::Close(bytes) => drop(stream.write_all(&bytes)),
                Reply::Stall(bytes) => {
                    let _ = stream.write_all(&bytes);
                    stalled.push(stream);
                }
            }
        }
    });
    Server { port, requests }
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}
