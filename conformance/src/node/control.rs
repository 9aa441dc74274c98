//! The line to a node: `control.erl` dials it from inside, and answers what is asked over it.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::place::token;
use crate::{Failure, Result};

/// Where a node dials back to. It outlives the node's restarts.
#[derive(Debug)]
pub(super) struct Switchboard {
    listener: TcpListener,
    token: String,
}

impl Switchboard {
    pub(super) fn new() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Failure::during("opening the control port"))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, token: token() })
    }

    pub(super) fn port(&self) -> Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// What the node says first, so that nobody else is taken for it.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Hangs up on calls that nobody has answered: those of a node that did not live to boot.
    pub(super) fn clear(&self) {
        while self.listener.accept().is_ok() {}
    }

    /// The node's call, if it has come.
    pub(super) fn answer(&self) -> Result<Option<Line>> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let mut line = Line { stream, received: Vec::new(), last_id: 0 };
        let hello = line.receive(Instant::now() + Duration::from_secs(10))?;
        let is_ours = hello.id == 0 && hello.status == HELLO && hello.text == self.token;
        Ok(is_ours.then_some(line))
    }
}

// What a node says of its own life, under the id 0.
const HELLO: u8 = 0;
const READY: u8 = 1;

// How it answers an expression.
const VALUE: u8 = 0;

/// The connection to a running node. The node ends when it is closed.
#[derive(Debug)]
pub(super) struct Line {
    stream: TcpStream,
    received: Vec<u8>,
    last_id: u64,
}

struct Answer {
    id: u64,
    status: u8,
    text: String,
}

impl Line {
    /// Waits until RabbitMQ has booted.
    pub(super) fn await_ready(&mut self, within: Duration) -> Result<()> {
        let answer = self.receive(Instant::now() + within)?;
        match answer.status {
            READY => Ok(()),
            _ => Err(Failure::new(format!("RabbitMQ did not boot: {}", answer.text))),
        }
    }

    /// Has the node evaluate Erlang expressions, separated by commas and without the final full stop.
    pub(super) fn evaluate(&mut self, expressions: &str, within: Duration) -> Result<String> {
        self.last_id += 1;
        let mut frame = Vec::with_capacity(12 + expressions.len());
        let length = u32::try_from(8 + expressions.len()).map_err(Failure::during("asking the node"))?;
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&self.last_id.to_be_bytes());
        frame.extend_from_slice(expressions.as_bytes());
        self.stream.write_all(&frame).map_err(Failure::during("asking the node"))?;

        let deadline = Instant::now() + within;
        loop {
            let answer = self.receive(deadline).map_err(Failure::during(format!("asked for {expressions}")))?;
            // An older id is the late answer to a question that was given up.
            if answer.id == self.last_id {
                return match answer.status {
                    VALUE => Ok(answer.text),
                    _ => Err(Failure::new(format!("the node answered {} to {expressions}", answer.text))),
                };
            }
        }
    }

    /// The next whole frame. One that is cut by the deadline goes on where it was in the next call.
    fn receive(&mut self, deadline: Instant) -> Result<Answer> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(answer) = self.take_answer() {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Failure::new("no answer from the node in time"));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::new("the node has gone")),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take_answer(&mut self) -> Option<Answer> {
        let (length, rest) = self.received.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let payload = rest.get(..length)?;
        let (id, payload) = payload.split_first_chunk()?;
        let (status, text) = payload.split_first()?;
        let answer =
            Answer { id: u64::from_be_bytes(*id), status: *status, text: String::from_utf8_lossy(text).into_owned() };
        self.received.drain(..4 + length);
        Some(answer)
    }
}
