//! Deliveries that are handed out before their bodies are complete.
//!
//! The delivery of a streamed consumer is handed out when its header has come; its body is read chunk by chunk while it
//! comes in. What has come and was not read is bounded in bytes, together with what consumers hold that nothing else
//! bounds: beyond [`Limits::receive_buffer`](crate::config::Limits) reading from the socket pauses, for the whole
//! connection. Bodies that fit next to their envelope, 1 KiB, come with it as in any other delivery.
//!
//! So that the answers to a cancel or a close are read, nothing may pause reading then but a body that somebody is
//! reading: what was not handed out is put back, what is complete is counted no more, and where the channel or the
//! connection closes, what is not complete fails.

use super::channel::ChannelState;
use super::consumers::Item;
use super::content::{Assembly, Head, Inflow, NextChunk, Payload, StreamedBody};
use super::inbound::Fault;
use super::{BodyId, ChannelId, Connection, ConsumerId, DeliveryTag, Event};
use crate::error::{Error, ErrorKind};
use crate::wire::Block;

impl Connection {
    /// What a streamed body has next.
    pub fn next_chunk(&mut self, id: BodyId) -> NextChunk {
        let Some(body) = self.body_mut(id) else {
            return NextChunk::Failed(Error::new(ErrorKind::Internal("a body was read that nobody holds")));
        };
        let (next, freed) = body.next();
        self.unbuffer(freed);
        next
    }

    /// Nobody will read the body any more: the rest of it is thrown away as it comes. The delivery is to be settled apart
    /// from that.
    pub fn release_body(&mut self, id: BodyId) {
        let Some(body) = self.body_mut(id) else { return };
        let freed = body.release();
        self.unbuffer(freed);
        self.forget_body_if_done(id);
    }

    /// How many bytes of streamed bodies, and of deliveries that nothing else bounds, are held for those who have not read
    /// them.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.buffered
    }

    fn body_mut(&mut self, id: BodyId) -> Option<&mut Inflow> {
        self.bodies.get_mut(id.index()).filter(|body| body.generation == id.generation)
    }

    fn forget_body_if_done(&mut self, id: BodyId) {
        if self.body_mut(id).is_some_and(|body| body.is_done()) {
            self.bodies.remove(id.index());
        }
    }

    // ---- as it comes in ----------------------------------------------------------------------------------------

    /// The header of a delivery to a streamed consumer has come: it is handed out. What remains is its body.
    pub(super) fn streamed_header(&mut self, id: ChannelId, size: u64) -> Result<(), Fault> {
        let Some(assembly) = self.channels.get_mut(id).and_then(|channel| channel.assembly.take()) else {
            return Ok(());
        };
        let Head::Deliver { recipient, delivery_tag, redelivered } = assembly.head else { return Ok(()) };
        self.next_generation = self.next_generation.wrapping_add(1);
        let generation = self.next_generation;
        let index = self.bodies.insert(Inflow::new(generation, id, recipient.id, size));
        // A slab of 2^32 slots does not fit into memory.
        let body = BodyId { index: u32::try_from(index).unwrap_or(u32::MAX), generation };
        let mut is_taken = false;
        let delivered = self.delivered(id, recipient, delivery_tag, redelivered, || {
            let mut incoming = assembly.finish();
            incoming.oversized = None;
            // What cannot be read is handed out as an error, and its body is skipped.
            is_taken = incoming.envelope.bad_name().is_none();
            if is_taken {
                incoming.payload = Payload::Streamed(StreamedBody { id: body, size });
            }
            incoming
        });
        if !is_taken {
            // The consumer has gone, for example, and the delivery was put back.
            self.bodies.remove(index);
        }
        if let Some(channel) = self.channels.get_mut(id)
            && !matches!(channel.state, ChannelState::Closed(_))
        {
            channel.assembly = Some(Assembly::streamed(is_taken.then_some(body), size));
        }
        delivered
    }

    /// A piece of a streamed body, which stands in `block`.
    pub(super) fn streamed_chunk(&mut self, id: BodyId, chunk: &[u8], block: &Block) {
        let is_flood = self.is_closing() && self.buffered >= self.config.limits.receive_buffer;
        let Some(body) = self.body_mut(id) else { return };
        let grown = body.push(chunk, block);
        let is_ready = std::mem::take(&mut body.watched);
        self.buffered += grown;
        if is_ready {
            self.event(Event::BodyReady(id));
        }
        if is_flood {
            // Reading does not pause any more, and the broker has put the delivery back.
            self.fail_body(id, &Error::new(ErrorKind::ConnectionNotOpen));
        }
        self.forget_body_if_done(id);
    }

    // ---- as it ends --------------------------------------------------------------------------------------------

    fn fail_body(&mut self, id: BodyId, cause: &Error) {
        let Some(body) = self.body_mut(id).filter(|body| body.is_coming()) else { return };
        let freed = body.fail(cause);
        let is_ready = std::mem::take(&mut body.watched);
        self.unbuffer(freed);
        if is_ready {
            self.event(Event::BodyReady(id));
        }
        self.forget_body_if_done(id);
    }

    /// The channel is closing, or has ended: what is not complete will not be, and nothing pauses reading any more.
    pub(super) fn end_bodies_of(&mut self, channel: ChannelId, cause: &Error) {
        for id in self.bodies_where(|body| body.channel == channel) {
            self.fail_body(id, cause);
            let freed = self.body_mut(id).map_or(0, Inflow::stop_counting);
            self.unbuffer(freed);
        }
    }

    /// The channel is gone at the broker: what is not complete will not be.
    pub(super) fn fail_bodies_of(&mut self, channel: ChannelId, cause: &Error) {
        for id in self.bodies_where(|body| body.channel == channel && body.is_coming()) {
            self.fail_body(id, cause);
        }
    }

    /// The consumer's deliveries that were not handed out are void: so are their bodies.
    pub(super) fn drop_unread_bodies(&mut self, consumer: ConsumerId) {
        for id in self.bodies_where(|body| body.consumer == consumer && !body.handed_out) {
            self.release_body(id);
        }
    }

    /// The consumer is being cancelled: what was not handed out does not pause reading any more. The one that is coming in
    /// is put back, or, without acks, stays as it is.
    pub(super) fn uncount_unread_bodies(&mut self, id: ConsumerId) {
        for body in self.bodies_where(|body| body.consumer == id && !body.handed_out) {
            let Some(inflow) = self.body_mut(body) else { continue };
            if !inflow.is_coming() {
                let freed = inflow.stop_counting();
                self.unbuffer(freed);
            } else if let Some(tag) = self.take_back(id, body) {
                self.release_body(body);
                self.requeue(tag);
            }
        }
    }

    /// Takes a delivery that has to be settled out of the consumer's queue, by its body.
    fn take_back(&mut self, id: ConsumerId, body: BodyId) -> Option<DeliveryTag> {
        let consumer = self.consumer_mut(id)?;
        if consumer.no_ack {
            return None;
        }
        let (mut tag, mut freed) = (None, 0);
        let queue = consumer.take_all();
        freed += queue.1;
        for item in queue.0 {
            match &item {
                Item::Delivery(delivery) if delivery.streamed_body().is_some_and(|streamed| streamed.id == body) => {
                    tag = Some(delivery.delivery_tag());
                }
                _ => freed -= consumer.push(item),
            }
        }
        self.unbuffer(freed);
        tag
    }

    /// In the order of their slots.
    fn bodies_where(&self, is_so: impl Fn(&Inflow) -> bool) -> Vec<BodyId> {
        let bodies = self.bodies.iter().filter(|(_, body)| is_so(body));
        let id = |(index, body): (usize, &Inflow)| BodyId {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            generation: body.generation,
        };
        bodies.map(id).collect()
    }

    /// Somebody has got the delivery of this body.
    pub(super) fn hand_out(&mut self, id: BodyId) {
        if let Some(body) = self.body_mut(id) {
            body.handed_out = true;
        }
    }
}
