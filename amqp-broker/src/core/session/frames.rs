//! Frames of a channel to methods and messages. (0-9-1 §4.2.6)

use amqp_proto::method::{ContentHeader, Method, basic, channel};
use amqp_proto::wire::{Frame, FrameKind};

use super::channel::{Assembly, Channel, Publish};
use super::{Core, SessionId};
use crate::Emulate;
use crate::core::message::Incoming;
use crate::core::name::Name;
use crate::core::refusal::{Outcome, Refusal};

/// The largest body that RabbitMQ's framing takes, in bytes.
const MAX_BODY: u64 = 512 << 20;

const PUBLISH: (u16, u16) = (60, 40);

impl Core {
    /// A frame on a channel of an open connection.
    pub(super) fn channel_frame(&mut self, id: SessionId, frame: Frame<'_>) {
        let number = frame.channel;
        let outcome = match frame.kind {
            FrameKind::Method => self.method_frame(id, number, frame.payload),
            FrameKind::Header => self.header_frame(id, number, frame.payload),
            FrameKind::Body => self.body_frame(id, number, frame.payload),
            FrameKind::Heartbeat => Ok(()),
        };
        if let Err(refusal) = outcome {
            self.refuse(id, number, refusal);
        }
        if frame.kind != FrameKind::Method {
            self.note_publish(id);
        }
    }

    /// The channel of this number, which is made if there is none: RabbitMQ starts one for any frame.
    fn channel_for(&mut self, id: SessionId, number: u16) -> Outcome<&mut Channel> {
        let Some(session) = self.sessions.get_mut(&id) else { return Err(Refusal::Hangup) };
        let (count, max) = (session.channels.len(), usize::from(session.channel_max));
        if max > 0 && count >= max && !session.channels.contains_key(&number) {
            let text =
                format_args!("number of channels opened ({count}) has reached the negotiated channel_max ({max})");
            return Err(Refusal::not_allowed(text).blaming(None));
        }
        Ok(session.channels.entry(number).or_default())
    }

    fn method_frame(&mut self, id: SessionId, number: u16, payload: &[u8]) -> Outcome {
        let channel = self.channel_for(id, number)?;
        match channel.assembly {
            Assembly::Method => {}
            Assembly::Header(_) => return Err(not_a_header()),
            Assembly::Body(..) => return Err(not_a_body()),
        }
        let method = self.decode(payload)?;
        if method.info().content {
            let publish = match method {
                Method::Basic(basic::Method::Publish(publish)) => publish,
                // RabbitMQ waits for a content before it says that it does not take these.
                _ => basic::Publish::default(),
            };
            let publish = Publish {
                exchange: Name::from(publish.exchange.as_bytes()),
                routing_key: Name::from(publish.routing_key.as_bytes()),
                mandatory: publish.mandatory,
                immediate: publish.immediate,
            };
            self.channel_for(id, number)?.assembly = Assembly::Header(publish);
            return Ok(());
        }
        let blamed = Some((method.class_id(), method.method_id()));
        self.channel_method(id, number, &method).map_err(|refusal| match refusal {
            Refusal::Close { method: None, .. } => refusal.blaming(blamed),
            other => other,
        })
    }

    fn header_frame(&mut self, id: SessionId, number: u16, payload: &[u8]) -> Outcome {
        let version = self.version;
        let channel = self.channel_for(id, number)?;
        let publish = match std::mem::take(&mut channel.assembly) {
            Assembly::Method => return Err(not_a_method()),
            Assembly::Body(..) => return Err(not_a_body()),
            Assembly::Header(publish) => publish,
        };
        let Ok(header) = ContentHeader::decode(payload) else { return Err(Refusal::crash()) };
        if payload.get(2..4) != Some(&[0, 0]) {
            return Err(not_a_header());
        }
        if header.class_id != basic::CLASS_ID {
            let class = header.class_id;
            let text = format_args!("expected content header for class 60, got one for class {class} instead");
            return Err(Refusal::unexpected_frame(text).blaming(Some(PUBLISH)));
        }
        if header.body_size > MAX_BODY {
            let size = header.body_size;
            return match version {
                Emulate::V4_3 => Err(Refusal::frame_error(format_args!(
                    "content body size {size} exceeds maximum allowed size {MAX_BODY}"
                ))
                .blaming(Some(PUBLISH))),
                // Older ones wait for a body that never ends.
                _ => Err(not_a_body()),
            };
        }
        let (exchange, key) = (publish.exchange.clone(), publish.routing_key.clone());
        let incoming = Incoming::start(version, exchange, key.as_bytes(), payload, header.body_size);
        if incoming.is_complete() {
            return self.message_came(id, number, &publish, incoming);
        }
        self.channel_for(id, number)?.assembly = Assembly::Body(publish, Box::new(incoming));
        Ok(())
    }

    fn body_frame(&mut self, id: SessionId, number: u16, payload: &[u8]) -> Outcome {
        let checks = self.version.checks_body_size();
        let channel = self.channel_for(id, number)?;
        match &mut channel.assembly {
            Assembly::Method => return Err(not_a_method()),
            Assembly::Header(_) => return Err(not_a_header()),
            Assembly::Body(_, incoming) => {
                if !incoming.append(payload) {
                    if checks {
                        let text = "content body frame exceeds remaining content size";
                        return Err(Refusal::frame_error(text).blaming(Some(PUBLISH)));
                    }
                    // Older ones wait for its end.
                    incoming.overflow();
                }
                if !incoming.is_complete() {
                    return Ok(());
                }
            }
        }
        match std::mem::take(&mut channel.assembly) {
            Assembly::Body(publish, incoming) => self.message_came(id, number, &publish, *incoming),
            _ => Ok(()),
        }
    }

    fn message_came(&mut self, id: SessionId, number: u16, publish: &Publish, incoming: Incoming) -> Outcome {
        let channel = self.channel_for(id, number)?;
        if channel.closing {
            return Ok(());
        }
        if !channel.open {
            return Err(Refusal::channel_error("expected 'channel.open'").blaming(Some(PUBLISH)));
        }
        self.publish(id, number, publish, incoming).map_err(|refusal| match refusal {
            Refusal::Close { method: None, .. } => refusal.blaming(Some(PUBLISH)),
            other => other,
        })
    }

    /// A method without content, on a channel.
    fn channel_method(&mut self, id: SessionId, number: u16, method: &Method<'_>) -> Outcome {
        let channel = self.channel_for(id, number)?;
        let (is_open, is_closing) = (channel.open, channel.closing);
        match method {
            Method::Channel(channel::Method::CloseOk(_)) if is_closing => {
                self.forget_channel(id, number);
                Ok(())
            }
            Method::Channel(channel::Method::Close(_)) if is_closing => {
                self.put(id, number, &channel::CloseOk {});
                Ok(())
            }
            _ if is_closing => Ok(()),
            Method::Channel(channel::Method::Open(_)) if !is_open => {
                channel.open = true;
                self.put(id, number, &channel::OpenOk {});
                Ok(())
            }
            Method::Channel(channel::Method::Open(_)) => Err(Refusal::channel_error("second 'channel.open' seen")),
            _ if !is_open => Err(Refusal::channel_error("expected 'channel.open'")),
            Method::Channel(channel::Method::Close(_)) => {
                self.release_channel(id, number);
                self.flush();
                self.forget_channel(id, number);
                self.put(id, number, &channel::CloseOk {});
                Ok(())
            }
            method => self.handle_method(id, number, method),
        }
    }
}

fn not_a_method() -> Refusal {
    Refusal::unexpected_frame("expected method frame, got non method frame instead").blaming(None)
}

fn not_a_header() -> Refusal {
    let text = "expected content header for class 60, got non content header frame instead";
    Refusal::unexpected_frame(text).blaming(Some(PUBLISH))
}

fn not_a_body() -> Refusal {
    let text = "expected content body, got non content body frame instead";
    Refusal::unexpected_frame(text).blaming(Some(PUBLISH))
}
