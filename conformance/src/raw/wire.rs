//! A connection on which frames, or any bytes, go both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::Duration;

use socket2::SockRef;

use super::args::Args;
use super::{Frame, MethodId, PROTOCOL_HEADER, id};
use crate::{Failure, Result};

/// How long a read waits for what a script expects.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a server proposes in connection.tune, or a client answers in connection.tune-ok.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tune {
    /// The highest channel number; 0 for no limit.
    pub channel_max: u16,
    /// The largest frame in bytes, its 8 bytes of framing included; 0 for no limit.
    pub frame_max: u32,
    /// Seconds between heartbeats; 0 for none.
    pub heartbeat: u16,
}

impl Default for Tune {
    /// RabbitMQ's, without heartbeats.
    fn default() -> Self {
        Self { channel_max: 2047, frame_max: 131_072, heartbeat: 0 }
    }
}

/// A TCP connection, to be driven from a script. Reads give up after ten seconds, so that no script waits forever.
#[derive(Debug)]
pub struct Wire {
    // Shared with whoever may have to end the connection under a script that waits.
    stream: Arc<TcpStream>,
}

impl Wire {
    /// Takes over a connection.
    ///
    /// # Errors
    /// If its options cannot be set.
    pub fn new(stream: TcpStream) -> Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: Arc::new(stream) })
    }

    /// Connects to a broker, and does no more.
    ///
    /// # Errors
    /// If nothing listens there.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::new(TcpStream::connect(address).map_err(Failure::during(format!("connecting to {address}")))?)
    }

    /// Connects to a broker as `guest`, on the default virtual host, under the connection name `name`.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn log_in(address: SocketAddr, name: &str) -> Result<Self> {
        let mut wire = Self::connect(address)?;
        wire.send(&PROTOCOL_HEADER)?;
        wire.expect_method(id::CONNECTION_START)?;
        let properties = Args::new()
            .short_string("connection_name")
            .bytes(b"S")
            .long_string(name.as_bytes())
            .short_string("capabilities")
            .bytes(b"F")
            .long_string(&Args::new().short_string("connection.blocked").bytes(b"t\x01").into_bytes());
        let start_ok = Args::new()
            .long_string(&properties.into_bytes())
            .short_string("PLAIN")
            .long_string(b"\0guest\0guest")
            .short_string("en_US");
        wire.send_method(0, id::CONNECTION_START_OK, start_ok)?;
        wire.expect_method(id::CONNECTION_TUNE)?;
        wire.send_method(0, id::CONNECTION_TUNE_OK, tune_args(Tune::default()))?;
        wire.send_method(0, id::CONNECTION_OPEN, Args::new().short_string("/").short_string("").u8(0))?;
        wire.expect_method(id::CONNECTION_OPEN_OK)?;
        Ok(wire)
    }

    /// Plays the server's side until the client's connection is open, proposing `tune`.
    ///
    /// # Errors
    /// If the client says anything else than it should.
    pub fn welcome(&mut self, tune: Tune) -> Result<()> {
        self.expect(&PROTOCOL_HEADER)?;
        let start = Args::new().u8(0).u8(9).empty_table().long_string(b"PLAIN AMQPLAIN").long_string(b"en_US");
        self.send_method(0, id::CONNECTION_START, start)?;
        self.expect_method(id::CONNECTION_START_OK)?;
        self.send_method(0, id::CONNECTION_TUNE, tune_args(tune))?;
        self.expect_method(id::CONNECTION_TUNE_OK)?;
        self.expect_method(id::CONNECTION_OPEN)?;
        self.send_method(0, id::CONNECTION_OPEN_OK, Args::new().short_string(""))
    }

    /// Plays the server's side of opening a channel, and returns its number.
    ///
    /// # Errors
    /// If the client says anything else.
    pub fn welcome_channel(&mut self) -> Result<u16> {
        let channel = self.expect_method(id::CHANNEL_OPEN)?.channel;
        self.send_method(channel, id::CHANNEL_OPEN_OK, Args::new().empty_table())?;
        Ok(channel)
    }

    /// Plays the client's side of opening a channel.
    ///
    /// # Errors
    /// If the broker refuses.
    pub fn open_channel(&mut self, channel: u16) -> Result<()> {
        self.call(channel, id::CHANNEL_OPEN, Args::new().short_string(""), id::CHANNEL_OPEN_OK).map(|_| ())
    }

    /// Sends a method and waits for its answer.
    ///
    /// # Errors
    /// If another method comes first.
    pub fn call(&mut self, channel: u16, method: MethodId, args: Args, answer: MethodId) -> Result<Frame> {
        self.send_method(channel, method, args)?;
        self.expect_method(answer)
    }

    /// Sends any bytes.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        (&*self.stream).write_all(bytes).map_err(Failure::during("sending"))
    }

    /// Sends a frame.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn send_frame(&mut self, frame: &Frame) -> Result<()> {
        self.send(&frame.to_bytes())
    }

    /// Sends a method frame.
    ///
    /// # Errors
    /// If the other side is gone.
    pub fn send_method(&mut self, channel: u16, method: MethodId, args: Args) -> Result<()> {
        self.send_frame(&Frame::method(channel, method, args))
    }

    /// Reads exactly these bytes.
    ///
    /// # Errors
    /// If others come, or too few within ten seconds.
    pub fn expect(&mut self, bytes: &[u8]) -> Result<()> {
        let mut received = vec![0; bytes.len()];
        (&*self.stream).read_exact(&mut received).map_err(Failure::during(format!("expecting {bytes:02x?}")))?;
        if received == bytes {
            return Ok(());
        }
        Err(Failure::new(format!("expected {bytes:02x?} and received {received:02x?}")))
    }

    /// Reads the next frame, whatever it is.
    ///
    /// # Errors
    /// If none comes within ten seconds.
    pub fn read_frame(&mut self) -> Result<Frame> {
        Frame::read_from(&mut &*self.stream).map_err(Failure::during("expecting a frame"))
    }

    /// Reads frames up to the next that is no heartbeat, which must carry this method.
    ///
    /// # Errors
    /// If it carries another, or none comes within ten seconds.
    pub fn expect_method(&mut self, method: MethodId) -> Result<Frame> {
        let frame = loop {
            let frame =
                Frame::read_from(&mut &*self.stream).map_err(Failure::during(format!("expecting {method:?}")))?;
            if !frame.is_heartbeat() {
                break frame;
            }
        };
        if frame.method_id() == Some(method) {
            return Ok(frame);
        }
        Err(Failure::new(format!("expected method {method:?} and received {frame:?}")))
    }

    /// Reads until the other side closes, and returns what came before.
    ///
    /// # Errors
    /// If it does not close within ten seconds of its last byte.
    pub fn expect_end(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        match (&*self.stream).read_to_end(&mut rest) {
            Ok(_) => Ok(rest),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(rest),
            Err(error) => Err(Failure::during("expecting the other side to close")(error)),
        }
    }

    /// How long reads wait from now on.
    ///
    /// # Errors
    /// If `patience` is zero.
    pub fn set_patience(&mut self, patience: Duration) -> Result<()> {
        Ok(self.stream.set_read_timeout(Some(patience))?)
    }

    /// Says that nothing more will be sent, and goes on reading.
    ///
    /// # Errors
    /// If the connection is closed already.
    pub fn half_close(&mut self) -> Result<()> {
        Ok(self.stream.shutdown(Shutdown::Write)?)
    }

    /// Ends the connection by a reset: the other side gets an error instead of an end.
    ///
    /// # Errors
    /// If the connection is closed already.
    pub fn reset(self) -> Result<()> {
        reset_on_close(&self.stream)
    }

    /// The connection itself.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A way to end the connection from another thread that does not keep it open.
    pub(crate) fn weak(&self) -> Weak<TcpStream> {
        Arc::downgrade(&self.stream)
    }
}

fn tune_args(tune: Tune) -> Args {
    Args::new().u16(tune.channel_max).u32(tune.frame_max).u16(tune.heartbeat)
}

/// Makes the close of the last handle of a connection a reset.
pub(crate) fn reset_on_close(stream: &TcpStream) -> Result<()> {
    Ok(SockRef::from(stream).set_linger(Some(Duration::ZERO))?)
}
