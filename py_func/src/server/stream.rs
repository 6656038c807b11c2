//! Connections that give up when the other side takes too little for too long. Reading has timeouts where it is known what is read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::body::BYTES_PER_SECOND;

/// A connection whose writes may wait for so long in all, and longer the more the other side has taken.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// How long writes may still wait.
    left: Duration,
    /// Since when a write has waited.
    since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, left: patience, since: None, timer: Box::pin(sleep(patience)) }
    }

    /// Turns waiting for too long into an error. `written` says how much of what was ready went to the other side.
    fn limit<T>(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<T>>,
        written: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = result {
            if let Some(since) = self.since.take() {
                self.left = self.left.saturating_sub(since.elapsed());
            }
            if self.left < self.patience {
                let bytes = done.as_ref().map_or(0, written);
                let earned = Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64);
                self.left = (self.left + earned).min(self.patience);
            }
            return Poll::Ready(done);
        }
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            self.timer.as_mut().reset(now + self.left);
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes too little")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limit(cx, result, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.limit(cx, result, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.limit(cx, result, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limit(cx, result, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[test]
    fn who_takes_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (server, client) = tokio::io::duplex(10);
            let mut server = Patient::new(server, Duration::from_millis(20));
            server.write_all(b"0123456789").await.unwrap();
            let error = server.write_all(b"more").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(client);
        });
    }

    #[test]
    fn who_takes_little_at_a_time_is_given_up() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            for (bytes, patience, enough) in [(16, 100, false), (64 << 10, 20_000, true)] {
                let (server, mut client) = tokio::io::duplex(1 << 10);
                let mut server = Patient::new(server, Duration::from_millis(patience));
                let reading = async {
                    let mut buffer = vec![0; bytes];
                    while client.read(&mut buffer).await.unwrap() > 0 {
                        if !enough {
                            sleep(Duration::from_millis(1)).await;
                        }
                    }
                };
                let writing = async move { server.write_all(&vec![b'x'; 1 << 20]).await };
                let (written, ()) = futures_util::future::join(writing, reading).await;
                assert_eq!(written.is_ok(), enough, "{bytes} bytes at a time");
            }
        });
    }
}
