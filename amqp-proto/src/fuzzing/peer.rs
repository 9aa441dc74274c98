//! The broker's end of a fuzzed connection.

use bytes::BytesMut;

use super::broker::Broker;
use super::input::Input;
use super::watch::Watch;
use crate::wire::{Deframer, PROTOCOL_HEADER};

/// It checks what the client sends, and says what the input makes of it.
#[derive(Debug)]
pub struct Peer {
    broker: Broker,
    frame_max: u32,
    heard: BytesMut,
    greeted: bool,
    deframer: Deframer,
    watch: Watch,
}

impl Peer {
    /// A broker that keeps to the protocol, or one that need not.
    pub fn new(orderly: bool, frame_max: u32) -> Self {
        Self {
            broker: Broker::new(orderly),
            frame_max,
            heard: BytesMut::new(),
            greeted: false,
            deframer: Deframer::new(frame_max),
            watch: Watch::default(),
        }
    }

    /// Whether it keeps to the protocol: then the client must find no fault with it.
    pub fn is_orderly(&self) -> bool {
        self.broker.orderly
    }

    /// All that it says up to an open connection.
    pub fn handshake(&self, out: &mut Vec<u8>) {
        Broker::handshake(self.frame_max, out);
    }

    /// Says something.
    pub fn speak(&mut self, input: &mut Input<'_>, out: &mut Vec<u8>) {
        self.broker.speak(input, out);
    }

    /// The client has sent the next bytes.
    ///
    /// # Panics
    /// If they are not whole frames within the limit, in an order that a broker can follow.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
        if !self.greeted && self.heard.len() >= PROTOCOL_HEADER.len() {
            assert_eq!(self.heard.split_to(PROTOCOL_HEADER.len())[..], PROTOCOL_HEADER);
            self.greeted = true;
        }
        if !self.greeted {
            return;
        }
        while let Some(block) = self.deframer.next_block(&mut self.heard).expect("whole frames within the limit") {
            for frame in block.frames() {
                self.watch.frame(&frame);
                self.broker.heard(&frame);
            }
        }
    }
}
