//! Bytes to frames, and what is wrong with them.

use amqp_proto::wire::{Block, Frame, FrameError, FrameKind};
use bytes::{Buf, BytesMut};

use super::{Core, Phase, SessionId};
use crate::core::erlang::Binary;
use crate::core::refusal::Refusal;

const PROTOCOL_091: &[u8; 8] = b"AMQP\0\0\x09\x01";
/// The header of 0-9, which RabbitMQ takes for 0-9-1.
const PROTOCOL_09: &[u8; 8] = b"AMQP\x01\x01\0\x09";

impl Core {
    /// Takes what is whole of the input.
    pub(in crate::core) fn read(&mut self, id: SessionId, input: &mut BytesMut) {
        loop {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            if !session.wants_read() {
                return;
            }
            if let Some((block, done)) = session.held.take() {
                self.carry_out(id, &block, done);
                continue;
            }
            if input.is_empty() {
                return;
            }
            if session.phase == Phase::Silent {
                return input.clear();
            }
            if session.phase == Phase::Header {
                if input.len() < PROTOCOL_091.len() {
                    return;
                }
                self.greet(id, input);
                continue;
            }
            match session.deframer.next_block(input) {
                Ok(Some(block)) => self.carry_out(id, &block, 0),
                Ok(None) => return,
                Err(error) => return self.refuse_bytes(id, &error, input),
            }
        }
    }

    fn greet(&mut self, id: SessionId, input: &mut BytesMut) {
        let is_ours = input.starts_with(PROTOCOL_091) || input.starts_with(PROTOCOL_09);
        let answer = match input.first_chunk() {
            // It speaks AMQP 0-9 or later, but not this one.
            Some(&[b'A', b'M', b'Q', b'P', 0, 0, 9..=255, _]) => *PROTOCOL_091,
            _ => self.version.answer_to_strangers(),
        };
        input.advance(PROTOCOL_091.len());
        if is_ours {
            return self.start_handshake(id);
        }
        input.clear();
        if let Some(session) = self.sessions.get_mut(&id) {
            session.put_raw(&answer);
        }
        self.end_session(id);
    }

    /// Carries out the frames of a block, but for the first `done`.
    pub(in crate::core) fn carry_out(&mut self, id: SessionId, block: &Block, done: usize) {
        for (at, frame) in block.frames().enumerate().skip(done) {
            let Some(session) = self.sessions.get_mut(&id) else { return };
            match session.phase {
                Phase::Silent | Phase::Over => return,
                _ if !session.wants_read() => {
                    session.held = Some((block.clone(), at));
                    return;
                }
                _ => {}
            }
            self.carry_out_frame(id, frame);
        }
    }

    fn carry_out_frame(&mut self, id: SessionId, frame: Frame<'_>) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let phase = session.phase;
        let (number, payload) = (frame.channel, frame.payload);
        let is_known = match frame.kind {
            FrameKind::Method => payload.len() >= 4,
            FrameKind::Header => payload.len() >= 12,
            FrameKind::Body => true,
            FrameKind::Heartbeat => payload.is_empty(),
        };
        let outcome = match (number, frame.kind) {
            (_, FrameKind::Method) if is_known && number == 0 => self.connection_method(id, payload),
            _ if phase == Phase::Closing => Ok(()),
            _ if !is_known && (number == 0 || phase == Phase::Running) => {
                Err(Refusal::frame_error(format_args!("{}: unknown_frame", Snippet(frame.kind as u8, payload))))
            }
            (0, FrameKind::Heartbeat) => Ok(()),
            (0, _) | (_, FrameKind::Heartbeat) => {
                Err(Refusal::unexpected_frame(Snippet(frame.kind as u8, payload)).blaming(None))
            }
            _ if phase == Phase::Running => return self.channel_frame(id, frame),
            // RabbitMQ does not talk to those who are too early.
            _ => return self.hush(id),
        };
        if let Err(refusal) = outcome {
            self.refuse(id, 0, refusal);
        }
    }

    /// The bytes do not fall into frames.
    fn refuse_bytes(&mut self, id: SessionId, error: &FrameError, input: &mut BytesMut) {
        let kind = input.first().copied().unwrap_or_default();
        let size = input.get(3..7).and_then(|size| size.try_into().ok()).map_or(0, u32::from_be_bytes);
        let payload = input.get(7..).unwrap_or_default();
        let payload = payload.get(..size as usize).unwrap_or(payload);
        let refusal = match error {
            FrameError::TooLarge { size, limit } => {
                // What it lets clients be off by is not told.
                let (size, limit) = (size.saturating_sub(8), limit.saturating_sub(16));
                Refusal::frame_error(format_args!("{}: {{frame_too_large,{size},{limit}}}", Snippet(kind, b"")))
            }
            FrameError::BadEnd { octet } => {
                let start = format!("{}: {{invalid_frame_end_marker,", Snippet(kind, payload));
                let reason = Wrapped(&start, format!("{octet}}}"));
                Refusal::frame_error(reason)
            }
            _ => Refusal::frame_error(format_args!("{}: unknown_frame", Snippet(kind, payload))),
        };
        input.clear();
        self.refuse(id, 0, refusal.blaming(None));
        // Nothing that follows can be read.
        let now = self.now;
        if let Some(session) = self.sessions.get_mut(&id)
            && session.phase == Phase::Closing
        {
            session.fall_silent(now);
        }
        self.arm_session(id);
    }
}

/// A tuple of two as Erlang prints it behind other text: on a second line where it goes beyond 80 columns.
struct Wrapped<'a>(&'a str, String);

impl std::fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(start, rest) = self;
        if start.len() + rest.len() <= 80 {
            return write!(f, "{start}{rest}");
        }
        let indent = start.rfind('{').map_or(0, |at| at + 1);
        write!(f, "{start}\n{:indent$}{rest}", "")
    }
}

/// A frame as RabbitMQ shows it.
struct Snippet<'a>(u8, &'a [u8]);

impl std::fmt::Display for Snippet<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(kind, payload) = self;
        match payload.get(..16) {
            Some(start) if payload.len() > 16 => write!(f, "type {kind}, first 16 octets = {}", Binary(start)),
            _ => write!(f, "type {kind}, all octets = {}", Binary(payload)),
        }
    }
}
