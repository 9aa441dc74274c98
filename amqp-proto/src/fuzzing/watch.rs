//! What holds for every byte that a client ever sends, whatever the test is about. The tests of `conn` use it, too.

use std::collections::HashMap;

use amqp_proto::method::{ContentHeader, Method, basic, channel, connection};
use amqp_proto::wire::{Frame, FrameKind};

/// Follows the client's frames and panics at the first that must not be there.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    connection: End,
    channels: HashMap<u16, Channel>,
}

/// How far a connection or channel has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum End {
    #[default]
    Open,
    /// Close was sent: only close-ok may follow.
    Close,
    /// Close-ok was sent: nothing may follow.
    CloseOk,
}

#[derive(Debug, Default)]
struct Channel {
    end: End,
    content: Content,
}

/// The message that is under way on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Content {
    #[default]
    None,
    Header,
    Body(u64),
}

impl Watch {
    pub(crate) fn frame(&mut self, sent: &Frame<'_>) {
        let method = (sent.kind == FrameKind::Method).then(|| Method::decode(sent.payload).unwrap());
        match self.connection {
            End::Open => {}
            End::Close => assert!(is_connection_close_ok(method), "{sent:?} after connection.close"),
            End::CloseOk => panic!("{sent:?} after connection.close-ok"),
        }
        if sent.channel == 0 {
            match method {
                Some(Method::Connection(connection::Method::Close(_))) => self.connection = End::Close,
                Some(Method::Connection(connection::Method::CloseOk(_))) => self.connection = End::CloseOk,
                Some(Method::Connection(_)) => {}
                _ => assert_eq!(sent.kind, FrameKind::Heartbeat, "{sent:?}"),
            }
            return;
        }
        if let Some(Method::Channel(channel::Method::Open(_))) = method {
            let old = self.channels.insert(sent.channel, Channel::default());
            assert!(old.is_none_or(|old| old.end != End::Open), "{sent:?} of an open channel");
            return;
        }
        let channel = self.channels.get_mut(&sent.channel).unwrap_or_else(|| panic!("{sent:?} of an unopened channel"));
        match (channel.end, method) {
            (End::Open | End::Close, Some(Method::Channel(channel::Method::CloseOk(_)))) => {
                // RabbitMQ closes the connection if it cuts a message off, although it has closed the channel.
                assert_eq!(channel.content, Content::None, "{sent:?} in the middle of a message");
                *channel = Channel { end: End::CloseOk, content: Content::None };
            }
            (End::Open, _) => channel.content(sent, method),
            (end, _) => panic!("{sent:?} on a channel that is closed: {end:?}"),
        }
    }
}

impl Channel {
    fn content(&mut self, sent: &Frame<'_>, method: Option<Method<'_>>) {
        self.content = match (self.content, sent.kind) {
            (Content::None, FrameKind::Method) => match method {
                Some(Method::Basic(basic::Method::Publish(_))) => Content::Header,
                Some(Method::Channel(channel::Method::Close(_))) => {
                    self.end = End::Close;
                    Content::None
                }
                _ => Content::None,
            },
            (Content::Header, FrameKind::Header) => match ContentHeader::decode(sent.payload).unwrap().body_size {
                0 => Content::None,
                size => Content::Body(size),
            },
            (Content::Body(left), FrameKind::Body) => {
                let part = sent.payload.len() as u64;
                assert!(0 < part && part <= left, "{sent:?} with {left} bytes left");
                if part == left { Content::None } else { Content::Body(left - part) }
            }
            (content, _) => panic!("{sent:?} while {content:?} is under way"),
        };
    }
}

fn is_connection_close_ok(method: Option<Method<'_>>) -> bool {
    matches!(method, Some(Method::Connection(connection::Method::CloseOk(_))))
}
