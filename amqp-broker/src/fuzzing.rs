//! The body of the fuzz target: clients that send anything to a broker. It must not panic, hang, or be led to allocate much,
//! and other clients must get on.

use std::time::{Duration, Instant};

use amqp_proto::method::{Method, channel, connection, methods, put_any, queue};
use amqp_proto::wire::{FrameKind, LongStr, ShortStr, put_frame};
use bytes::BytesMut;

use crate::{Alarm, Core, Emulate, Limits, On, Reaction, Rule, SessionId};

/// Plays the input against a broker, starting at `now`. The seeds in `fuzz/corpus/broker` are written in this form, by
/// amqp-proto's test of its golden traces.
///
/// # Panics
/// If the broker does what it must not.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn broker(now: Instant, data: &[u8]) {
    let mut input = Input(data);
    let version = [Emulate::V3_10, Emulate::V4_0, Emulate::V4_3][usize::from(input.byte() % 3)];
    let limits = Limits::of(version).with_consumer_timeout(Duration::from_secs(1));
    let mut core = Core::new(version, limits, now, Duration::ZERO, 1);
    let mut now = now;
    let mut clients = vec![open(&mut core, now), open(&mut core, now), core.connect(now, 1)];
    let mut unread: Vec<BytesMut> = vec![BytesMut::new(); clients.len()];
    let all: Vec<_> = methods().collect();
    while !input.0.is_empty() {
        let at = usize::from(input.byte()) % clients.len();
        let number = u16::from(input.byte() % 3);
        let mut out = Vec::new();
        match input.byte() {
            // A method that there is, with any fields.
            0..100 => {
                let info = all[usize::from(input.byte()) % all.len()];
                let mut payload = [info.class_id.to_be_bytes(), info.method_id.to_be_bytes()].concat();
                let len = usize::from(input.byte() % 48);
                payload.extend_from_slice(input.take(len));
                put_frame(&mut out, FrameKind::Method, number, &payload).unwrap();
            }
            100..160 => {
                let kind = [FrameKind::Header, FrameKind::Body][usize::from(input.byte() & 1)];
                let len = usize::from(input.byte() % 32);
                put_frame(&mut out, kind, number, input.take(len)).unwrap();
            }
            160..200 => {
                let len = usize::from(input.byte());
                out.extend_from_slice(input.take(len));
            }
            200..220 => {
                now += Duration::from_millis(u64::from(input.byte()) * 10);
                while core.poll_timeout().is_some_and(|due| due <= now) {
                    core.handle_timeout(now);
                }
            }
            220..230 => core.set_alarm(now, Alarm::Memory, input.byte() & 1 == 0),
            230..240 => {
                core.handle_eof(now, clients[at]);
                clients[at] = open(&mut core, now);
                unread[at].clear();
            }
            240..244 => core.add_rule(Rule::new(On::Anything, reaction(input.byte())).after(1).times(1)),
            _ => put(&mut out, number, channel::Open {}),
        }
        unread[at].extend_from_slice(&out);
        core.handle_input(now, clients[at], &mut unread[at]);
        for client in &clients {
            core.take_outbound(now, *client, &mut Vec::new());
        }
        while core.poll_woken().is_some() {}
    }
    // A newcomer, whom no rule is about, is served, unless there is an alarm, which is none of its business either.
    core.clear_rules();
    let newcomer = open(&mut core, now);
    let mut out = Vec::new();
    put(&mut out, 1, channel::Open {});
    put(&mut out, 1, queue::Declare { queue: ShortStr::new("newcomer").unwrap(), ..Default::default() });
    core.take_outbound(now, newcomer, &mut Vec::new());
    core.handle_input(now, newcomer, &mut BytesMut::from(&out[..]));
    let mut heard = Vec::new();
    core.take_outbound(now, newcomer, &mut heard);
    assert!(heard.windows(8).any(|bytes| bytes == b"newcomer"), "a newcomer is not served: {heard:?}");
}

fn reaction(byte: u8) -> Reaction {
    let time = Duration::from_millis(u64::from(byte));
    match byte % 14 {
        0 => Reaction::NoConfirm,
        1 => Reaction::ConfirmAfter(time),
        2 => Reaction::ConfirmWithin(time),
        3 => Reaction::Nack,
        4 => Reaction::Reject,
        5 => Reaction::Ignore,
        6 => Reaction::Delay(time),
        7 => Reaction::CancelConsumers("q".to_owned()),
        8 => Reaction::CloseChannel(406, "PRECONDITION_FAILED - by chance".to_owned()),
        9 => Reaction::CloseConnection(541, "INTERNAL_ERROR - by chance".to_owned()),
        10 => Reaction::Cut,
        11 => Reaction::EndAlarm(Alarm::Memory),
        12 => Reaction::Resume(String::new()),
        _ => Reaction::Stall,
    }
}

/// A client with an open connection.
#[expect(clippy::unwrap_used, reason = "what is sent is constant")]
fn open(core: &mut Core, now: Instant) -> SessionId {
    let id = core.connect(now, 1);
    let mut out = b"AMQP\0\0\x09\x01".to_vec();
    let start = connection::StartOk {
        mechanism: ShortStr::new("PLAIN").unwrap(),
        response: LongStr(b"\0guest\0guest"),
        ..Default::default()
    };
    put(&mut out, 0, start);
    put(&mut out, 0, connection::TuneOk { channel_max: 3, frame_max: 8192, heartbeat: 1 });
    put(&mut out, 0, connection::Open { virtual_host: ShortStr::new("/").unwrap() });
    core.handle_input(now, id, &mut BytesMut::from(&out[..]));
    id
}

#[expect(clippy::unwrap_used, reason = "these can be encoded")]
fn put<'a>(out: &mut Vec<u8>, number: u16, method: impl Into<Method<'a>>) {
    put_any(out, number, &method.into()).unwrap();
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
