//! A look at the wire: passes everything on between a client and a broker, and keeps it as frames.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::proxy::Direction;
use crate::raw::{Frame, PROTOCOL_HEADER};
use crate::{Failure, Result};

/// How long [`Recorder::await_frames`] waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Passes one connection on to a broker and keeps what both sides say. Its threads end with that connection.
#[derive(Debug)]
pub struct Recorder {
    address: SocketAddr,
    tape: Arc<Tape>,
}

/// A frame and which way it went.
pub type Recorded = (Direction, Frame);

#[derive(Debug, Default)]
struct Tape {
    frames: Mutex<Vec<Recorded>>,
    grown: Condvar,
}

impl Recorder {
    /// Listens on a free port of 127.0.0.1 for one connection, and passes it on to `broker`.
    ///
    /// # Errors
    /// If there is no port or no thread to be had.
    pub fn start(broker: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let tape = Arc::new(Tape::default());
        let recorder = Self { address, tape: Arc::clone(&tape) };
        thread::Builder::new().name("recorder".to_owned()).spawn(move || serve(&listener, broker, &tape))?;
        Ok(recorder)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URI of the broker behind it.
    pub fn uri(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// All frames so far. The order of the two directions among each other is that in which they came by here.
    pub fn frames(&self) -> Vec<Recorded> {
        self.tape.frames().clone()
    }

    /// The frames so far in one direction.
    pub fn frames_to(&self, direction: Direction) -> Vec<Frame> {
        self.tape.frames().iter().filter(|(way, _)| *way == direction).map(|(_, frame)| frame.clone()).collect()
    }

    /// Waits until `count` frames have gone in a direction for which `is_one` holds.
    ///
    /// # Errors
    /// If they do not come within twenty seconds.
    pub fn await_frames(&self, direction: Direction, count: usize, is_one: impl Fn(&Frame) -> bool) -> Result<()> {
        let seen =
            |frames: &[Recorded]| frames.iter().filter(|(way, frame)| *way == direction && is_one(frame)).count();
        let waiting = self.tape.grown.wait_timeout_while(self.tape.frames(), PATIENCE, |frames| seen(frames) < count);
        let (frames, _) = waiting.unwrap_or_else(PoisonError::into_inner);
        match seen(&frames) {
            seen if seen >= count => Ok(()),
            seen => Err(Failure::new(format!("waited {PATIENCE:?} for {count} frames {direction:?}, saw {seen}"))),
        }
    }
}

impl Tape {
    fn frames(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn serve(listener: &TcpListener, broker: SocketAddr, tape: &Arc<Tape>) {
    let Ok((client, _)) = listener.accept() else { return };
    // A broker that does not answer is a client that is hung up on.
    let Ok(broker) = TcpStream::connect(broker) else { return };
    let (client, broker) = (Arc::new(client), Arc::new(broker));
    for stream in [&client, &broker] {
        let _ = stream.set_nodelay(true);
    }
    for direction in Direction::BOTH {
        let (source, sink) = match direction {
            Direction::ToBroker => (Arc::clone(&client), Arc::clone(&broker)),
            Direction::ToClient => (Arc::clone(&broker), Arc::clone(&client)),
        };
        let tape = Arc::clone(tape);
        thread::spawn(move || {
            // However the stream ends, the sink shall see it.
            let _ = pass(&source, &sink, direction, &tape);
            let _ = sink.shutdown(Shutdown::Write);
        });
    }
}

fn pass(source: &TcpStream, mut sink: &TcpStream, direction: Direction, tape: &Tape) -> io::Result<()> {
    let mut source = BufReader::with_capacity(64 * 1024, source);
    if direction == Direction::ToBroker {
        let mut header = [0; PROTOCOL_HEADER.len()];
        source.read_exact(&mut header)?;
        sink.write_all(&header)?;
    }
    loop {
        let frame = Frame::read_from(&mut source)?;
        let bytes = frame.to_bytes();
        // Before it is passed on, so that what a receiver has is always recorded.
        tape.frames().push((direction, frame));
        tape.grown.notify_all();
        sink.write_all(&bytes)?;
    }
}
