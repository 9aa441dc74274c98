//! The body of a delivery, while it comes in.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use amqp_proto::conn::{self, BodyId, NextChunk};
use amqp_proto::error::Error;
use bytes::Bytes;
use futures_core::Stream;

use crate::shared::{Shared, Touch};

/// After so many chunks without a wait between them, other tasks get their turn: a chunk may be as large as a frame.
const CHUNKS_IN_A_ROW: u32 = 64;

/// The body of a [`StreamedDelivery`](crate::StreamedDelivery): a stream of its chunks. Dropped, the rest is thrown away as it comes.
#[must_use = "the rest of a body is thrown away when its stream is dropped"]
pub struct BodyStream {
    shared: Arc<Shared>,
    source: Source,
    /// What was taken from there and not read: all of a body that came with its delivery.
    ready: Bytes,
    size: u64,
    unread: u64,
    /// Chunks given out without a wait between them.
    in_a_row: u32,
}

enum Source {
    /// There is nothing more.
    Over,
    Coming(BodyId),
    Failed(Error),
}

impl BodyStream {
    pub(super) fn new(received: &conn::Delivery, shared: &Arc<Shared>) -> Self {
        let ready = received.to_bytes();
        let (source, size) = match received.streamed_body() {
            Some(body) => (Source::Coming(body.id()), body.size()),
            None => (Source::Over, ready.len() as u64),
        };
        Self { shared: Arc::clone(shared), source, ready, size, unread: size, in_a_row: 0 }
    }

    /// See [`StreamedDelivery::chunk`](crate::StreamedDelivery::chunk).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, Error>> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// See [`StreamedDelivery::read`](crate::StreamedDelivery::read).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// As there.
    pub async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let mut chunk = match self.chunk().await {
            Some(chunk) => chunk?,
            None => match &self.source {
                Source::Failed(error) => return Err(error.clone()),
                _ => return Ok(0),
            },
        };
        let count = chunk.len().min(buffer.len());
        self.ready = chunk.split_off(count);
        self.unread += self.ready.len() as u64;
        if let Some(to) = buffer.get_mut(..count) {
            to.copy_from_slice(&chunk);
        }
        Ok(count)
    }

    /// The size of the body in bytes, as the header announced it.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes were not read.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        self.in_a_row += 1;
        if self.in_a_row > CHUNKS_IN_A_ROW {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = match self.source {
            _ if !self.ready.is_empty() => NextChunk::Chunk(std::mem::take(&mut self.ready)),
            // Nothing follows an error.
            Source::Over | Source::Failed(_) => NextChunk::End,
            Source::Coming(id) => self.shared.visit(Touch::Deliveries, |state| {
                let next = state.conn.next_chunk(id);
                if matches!(next, NextChunk::Pending) {
                    let old = state.bodies.set(id.index(), cx.waker());
                    state.discard(old);
                }
                next
            }),
        };
        match next {
            NextChunk::Chunk(chunk) => {
                self.unread -= chunk.len() as u64;
                Poll::Ready(Some(Ok(chunk)))
            }
            NextChunk::Failed(error) => {
                self.release(Source::Failed(error.clone()));
                Poll::Ready(Some(Err(error)))
            }
            NextChunk::Pending => {
                self.in_a_row = 0;
                Poll::Pending
            }
            _ => Poll::Ready(None),
        }
    }

    fn release(&mut self, then: Source) {
        if let Source::Coming(id) = std::mem::replace(&mut self.source, then) {
            self.shared.visit(Touch::Deliveries, |state| {
                let old = state.bodies.take(id.index());
                state.discard(old);
                state.conn.release_body(id);
            });
        }
    }
}

impl Stream for BodyStream {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(cx)
    }
}

impl Drop for BodyStream {
    fn drop(&mut self) {
        self.release(Source::Over);
    }
}

impl fmt::Debug for BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyStream").field("size", &self.size).field("unread", &self.unread).finish_non_exhaustive()
    }
}
