//! Malformed and odd input, by hand: `amqp-broker` answers it as RabbitMQ does, code, text and all, and others are undisturbed.

use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use conformance::raw::args::Args;
use conformance::raw::{Frame, MethodId, PROTOCOL_HEADER, Wire, id};

use crate::brokers;

/// How long a broker may say nothing: RabbitMQ lets strangers wait for three seconds.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long it may take until it closes a connection that is seen to go on elsewhere, in one try after the other.
const QUIET: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];
/// Cases at a time: most of them wait for a broker.
const THREADS: usize = 32;

const EXCHANGE_DECLARE: MethodId = (40, 10);
const EXCHANGE_DECLARE_OK: MethodId = (40, 11);
/// The channel that asks whether the connection still works.
const PROBE: u16 = 7;

/// Input, and when it comes.
enum Input {
    /// Instead of the protocol header.
    First(Vec<u8>),
    /// Instead of `connection.start-ok`.
    Start(Vec<u8>),
    /// Instead of `connection.tune-ok`, and before `connection.open`.
    Tune(Vec<u8>),
    /// On an open connection with channel 1 open.
    Open(Vec<u8>),
}

#[test]
fn malformed_input_is_answered_by_amqp_broker_as_by_rabbitmq() {
    let (version, node, broker) = brokers();
    let cases: Vec<_> = first_words().into_iter().chain(frames()).chain(methods()).chain(tables()).collect();
    let next = AtomicUsize::new(0);
    let differences = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some((name, input)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let both = |quiet| {
                        [node.address(), broker.address()].map(|address| {
                            answer(address, input, quiet).unwrap_or_else(|failure| panic!("{name}: {failure}"))
                        })
                    };
                    // The last try has the last word.
                    let tries = QUIET.into_iter().map(both);
                    let mut differing = tries.take_while(|[theirs, ours]| theirs != ours).collect::<Vec<_>>();
                    if differing.len() == QUIET.len()
                        && let Some([theirs, ours]) = differing.pop()
                    {
                        let text = format!("{name}:\n  RabbitMQ: {theirs:?}\n      ours: {ours:?}");
                        differences.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let differences = differences.into_inner().unwrap();
    assert!(differences.is_empty(), "RabbitMQ {version}:\n{}", differences.join("\n"));
}

/// What a broker says to some input until it hangs up, or until it is seen to go on.
fn answer(address: SocketAddr, input: &Input, quiet: Duration) -> conformance::Result<Vec<String>> {
    let mut witness = Wire::log_in(address, "witness")?;
    witness.open_channel(1)?;
    let mut wire = match input {
        Input::Open(_) => Wire::log_in(address, "malformed")?,
        _ => Wire::connect(address)?,
    };
    wire.set_patience(PATIENCE)?;
    let bytes = match input {
        Input::First(bytes) => bytes.clone(),
        Input::Start(bytes) => {
            wire.send(&PROTOCOL_HEADER)?;
            wire.expect_method(id::CONNECTION_START)?;
            bytes.clone()
        }
        Input::Tune(bytes) => {
            wire.send(&PROTOCOL_HEADER)?;
            wire.expect_method(id::CONNECTION_START)?;
            let login = Args::new().empty_table().short_string("PLAIN").long_string(b"\0guest\0guest");
            let start_ok = login.short_string("en_US");
            wire.call(0, id::CONNECTION_START_OK, start_ok, id::CONNECTION_TUNE)?;
            let open = Args::new().short_string("/").short_string("").u8(0);
            [&bytes[..], &method(0, id::CONNECTION_OPEN, open)].concat()
        }
        Input::Open(bytes) => {
            wire.open_channel(1)?;
            [&bytes[..], &method(PROBE, id::CHANNEL_OPEN, Args::new().short_string(""))].concat()
        }
    };
    // It may have hung up before all of it is sent: what it said shows.
    let _ = wire.send(&bytes);
    let heard = match input {
        Input::First(_) => vec![format!("{:?}", wire.expect_end()?)],
        _ => listen(&mut wire, quiet)?,
    };
    let passive = Args::new().u16(0).short_string("amq.direct").short_string("direct").u8(1).empty_table();
    witness.call(1, EXCHANGE_DECLARE, passive, EXCHANGE_DECLARE_OK)?;
    Ok(heard)
}

fn listen(wire: &mut Wire, quiet: Duration) -> conformance::Result<Vec<String>> {
    let mut heard = Vec::new();
    loop {
        match Frame::read_from(&mut wire.stream()) {
            Ok(frame) => {
                let closes = [id::CONNECTION_CLOSE, id::CHANNEL_CLOSE].map(Some).contains(&frame.method_id());
                let text = if closes { String::from_utf8_lossy(frame.args()).into_owned() } else { String::new() };
                heard.push(format!("{} {:?} {text:?}", frame.channel, frame.method_id()));
                let is_probed = frame.channel == PROBE && frame.method_id() == Some(id::CHANNEL_OPEN_OK);
                if is_probed {
                    // What is wrong with a channel is told by the channel, in its own time.
                    heard.pop();
                    wire.set_patience(quiet)?;
                }
                if [id::CONNECTION_OPEN_OK, id::CONNECTION_CLOSE_OK].map(Some).contains(&frame.method_id()) {
                    return Ok(heard);
                }
                if frame.method_id() == Some(id::CONNECTION_CLOSE) {
                    // It may be gone already.
                    let _ = wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new());
                }
            }
            Err(error) => {
                let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                heard.push(if is_silent { "silence" } else { "end" }.to_owned());
                return Ok(heard);
            }
        }
    }
}

fn method(channel: u16, method: MethodId, args: Args) -> Vec<u8> {
    Frame::method(channel, method, args).to_bytes()
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    Frame { kind, channel, payload: payload.to_vec() }.to_bytes()
}

fn named(name: &str, input: Input) -> (String, Input) {
    (name.to_owned(), input)
}

fn first_words() -> Vec<(String, Input)> {
    let tune = |channel_max: u16, frame_max: u32, heartbeat: u16| {
        let args = Args::new().u16(channel_max).u32(frame_max).u16(heartbeat);
        let name = format!("tune-ok of {channel_max} channels, frames of {frame_max} and a heartbeat of {heartbeat}");
        (name, Input::Tune(method(0, id::CONNECTION_TUNE_OK, args)))
    };
    let start = |name: &str, args: Args| named(name, Input::Start(method(0, id::CONNECTION_START_OK, args)));
    let login = |mechanism: &str, response: &[u8]| {
        Args::new().empty_table().short_string(mechanism).long_string(response).short_string("en_US")
    };
    vec![
        named("HTTP", Input::First(b"GET / HTTP/1.1\r\n\r\n".to_vec())),
        named("AMQP 0-10", Input::First(b"AMQP\x01\x01\x00\x0a".to_vec())),
        named("AMQP 0-9-2", Input::First(b"AMQP\x00\x00\x09\x02".to_vec())),
        named("AMQP 0-8-0", Input::First(b"AMQP\x00\x00\x08\x00".to_vec())),
        start("an unknown mechanism", login("NONE", b"")),
        start("a response that is none", login("PLAIN", b"guest")),
        start("a wrong password", login("PLAIN", b"\0guest\0wrong")),
        start("a truncated start-ok", Args::new().u8(0)),
        named("open instead of start-ok", Input::Start(method(0, id::CONNECTION_OPEN, Args::new().short_string("/")))),
        named("a frame of type 5 instead of start-ok", Input::Start(frame(5, 0, b"abcd"))),
        named("8200 bytes instead of start-ok", Input::Start(frame(1, 0, &[0; 8200]))),
        named("a channel's method instead of start-ok", Input::Start(method(1, id::CHANNEL_OPEN, Args::new()))),
        tune(2047, 0, 0),
        tune(2047, 1, 0),
        tune(2047, 4095, 0),
        tune(2047, 4096, 0),
        tune(2047, 8191, 0),
        tune(2047, 8192, 0),
        tune(2047, 131_073, 0),
        tune(2047, u32::MAX, 0),
        tune(0, 131_072, 0),
        tune(1, 131_072, 1),
        tune(2048, 131_072, 0),
        tune(u16::MAX, 131_072, u16::MAX),
    ]
}

/// `basic.publish` on channel 1.
fn publish() -> Vec<u8> {
    method(1, id::BASIC_PUBLISH, Args::new().u16(0).short_string("").short_string("nowhere").u8(0))
}

fn frames() -> Vec<(String, Input)> {
    let after_publish = |frames: &[Vec<u8>]| Input::Open([publish(), frames.concat()].concat());
    let header = |size: u64, properties: &[u8]| Frame::header(1, size, properties).to_bytes();
    let body = |bytes: &[u8]| Frame::body(1, bytes).to_bytes();
    let of_class = |class: u16| frame(2, 1, &Args::new().u16(class).u16(0).u64(0).u16(0).into_bytes());
    let truncated = |drop: usize| {
        let mut bytes = method(1, EXCHANGE_DECLARE, Args::new().u16(0).short_string("x").short_string("direct").u8(1));
        bytes.truncate(bytes.len() - drop);
        bytes
    };
    let cases = [
        ("08 000000", Input::Open(b"\x08000000".to_vec())),
        ("a frame that is too large", Input::Open(frame(3, 1, &[0; 131_081]))),
        ("a method frame that is too large", Input::Open(frame(1, 0, &[0; 131_081]))),
        ("a size of 2^32 - 1", Input::Open(b"\x01\0\x01\xff\xff\xff\xff".to_vec())),
        ("no end octet", Input::Open(truncated(1))),
        ("a wrong end octet", Input::Open([truncated(1), vec![0]].concat())),
        ("type 5", Input::Open(frame(5, 1, b"abcd"))),
        ("type 0", Input::Open(frame(0, 0, b""))),
        ("type 4", Input::Open(frame(4, 1, b"abcd"))),
        ("a method of no bytes", Input::Open(frame(1, 1, b""))),
        ("a method of three bytes", Input::Open(frame(1, 1, b"\0\x3c\0"))),
        ("a header of four bytes", Input::Open(frame(2, 1, b"\0\x3c\0\0"))),
        ("a heartbeat with content", Input::Open(frame(8, 0, b"xx"))),
        ("a heartbeat on a channel", Input::Open(frame(8, 1, b""))),
        ("a heartbeat", Input::Open(frame(8, 0, b""))),
        ("a header without a method", Input::Open(header(3, &[0, 0]))),
        ("a body without a header", Input::Open(body(b"abc"))),
        ("a body on a channel that is not open", Input::Open(frame(3, 9, b"abc"))),
        ("a body on channel 0", Input::Open(frame(3, 0, b"abc"))),
        ("a header on channel 0", Input::Open(frame(2, 0, &[0; 14]))),
        ("a body after a publish", after_publish(&[body(b"abc")])),
        ("a publish after a publish", after_publish(&[publish()])),
        ("a header of class 50", after_publish(&[of_class(50)])),
        ("a header of class 0", after_publish(&[of_class(0)])),
        ("a header of class 99", after_publish(&[of_class(99)])),
        ("a body that is too long", after_publish(&[header(3, &[0, 0]), body(b"abcd")])),
        ("a body after an empty one", after_publish(&[header(0, &[0, 0]), body(b"abcd")])),
        ("an empty body frame", after_publish(&[header(3, &[0, 0]), body(b""), body(b"abc")])),
        ("a header in a body", after_publish(&[header(3, &[0, 0]), header(3, &[0, 0])])),
        ("a method in a body", after_publish(&[header(3, &[0, 0]), publish()])),
        ("padding after the properties", after_publish(&[header(0, &[0, 0, b'x', b'x'])])),
        ("properties that end early", after_publish(&[header(0, &[0x80, 0, 9, b'a'])])),
        ("a flag that means nothing", after_publish(&[header(0, &[0, 2])])),
        ("flags that go on", after_publish(&[header(0, &[0, 1, 0, 0])])),
    ];
    cases.into_iter().map(|(name, input)| named(name, input)).collect()
}

fn methods() -> Vec<(String, Input)> {
    let open = |bytes: Vec<u8>| Input::Open(bytes);
    let queue = |name: &[u8]| Args::new().u16(0).u8(u8::try_from(name.len()).unwrap()).bytes(name);
    let close = Args::new().u16(200).short_string("done").u32(0);
    let cases = [
        ("an unknown class", open(method(1, (99, 1), Args::new()))),
        ("an unknown method", open(method(1, (60, 199), Args::new()))),
        ("an unknown class on channel 0", open(method(0, (99, 1), Args::new()))),
        ("a method of the server's", open(method(1, id::BASIC_DELIVER, Args::new()))),
        ("a reply", open(method(1, id::QUEUE_DECLARE_OK, Args::new().short_string("q").u32(0).u32(0)))),
        ("channel.open on channel 0", open(method(0, id::CHANNEL_OPEN, Args::new().short_string("")))),
        ("a queue's method on channel 0", open(method(0, id::QUEUE_DECLARE, queue(b"q").u8(1).empty_table()))),
        ("connection.close on channel 1", open(method(1, id::CONNECTION_CLOSE, close.clone()))),
        ("connection.open again", open(method(0, id::CONNECTION_OPEN, Args::new().short_string("/").u8(0).u8(0)))),
        ("connection.tune-ok again", open(method(0, id::CONNECTION_TUNE_OK, Args::new().u64(0)))),
        ("connection.close-ok unasked", open(method(0, id::CONNECTION_CLOSE_OK, Args::new()))),
        ("channel.close-ok unasked", open(method(1, id::CHANNEL_CLOSE_OK, Args::new()))),
        ("channel.open again", open(method(1, id::CHANNEL_OPEN, Args::new().short_string("")))),
        ("a method on a channel that is not open", open(method(9, id::QUEUE_DECLARE, queue(b"q").u8(1).empty_table()))),
        ("a channel above the limit", open(method(2048, id::CHANNEL_OPEN, Args::new().short_string("")))),
        ("a method that ends early", open(method(1, id::QUEUE_DECLARE, Args::new().u8(0)))),
        ("a method that goes on", open(method(1, id::BASIC_ACK, Args::new().u64(1).u8(0).bytes(b"zz")))),
        ("a string that is too long", open(method(1, id::QUEUE_DECLARE, Args::new().u16(0).u8(200).bytes(b"abc")))),
        ("a name that is no UTF-8", open(method(1, id::QUEUE_DECLARE, queue(b"\xff\xfe").u8(1).empty_table()))),
        (
            "close twice",
            open(
                [method(0, id::CONNECTION_CLOSE, close.clone()), method(0, id::CONNECTION_CLOSE, close.clone())]
                    .concat(),
            ),
        ),
    ];
    cases.into_iter().map(|(name, input)| named(name, input)).collect()
}

/// Tables of all sorts, as arguments of a queue and as headers of a message.
fn tables() -> Vec<(String, Input)> {
    let field = |tag: u8, value: &[u8]| Args::new().short_string("k").u8(tag).bytes(value).into_bytes();
    let nested = |depth: usize| {
        (0..depth).fold(Vec::new(), |inner, _| field(b'F', &Args::new().long_string(&inner).into_bytes()))
    };
    let mut all = vec![("an unknown tag".to_owned(), field(b'?', b"")), ("tag X".to_owned(), field(b'X', &[0; 8]))];
    // More than 32, and keys that are no UTF-8, are refused by ours alone.
    all.push(("30 tables in each other".to_owned(), nested(30)));
    for tag in *b"SxAF" {
        for length in [u32::MAX, 1 << 31, 5] {
            all.push((
                format!("{} of {length} bytes", char::from(tag)),
                field(tag, &Args::new().u32(length).u8(1).into_bytes()),
            ));
        }
    }
    all.push(("a key that ends early".to_owned(), Args::new().u8(9).bytes(b"k").into_bytes()));
    all.push(("duplicate keys".to_owned(), [field(b't', &[1]), field(b't', &[0])].concat()));
    all.push(("a number that ends early".to_owned(), field(b'I', &[0, 0])));
    all.push(("infinity".to_owned(), field(b'd', &f64::INFINITY.to_be_bytes())));
    all.push(("an array of nothing known".to_owned(), field(b'A', &Args::new().long_string(b"?").into_bytes())));
    all.into_iter()
        .flat_map(|(name, entries)| {
            let declare = Args::new().u16(0).short_string("").u8(4).long_string(&entries);
            let properties = Args::new().u16(0x2000).long_string(&entries).into_bytes();
            let published = [publish(), Frame::header(1, 0, &properties).to_bytes()].concat();
            [
                (format!("{name}, as arguments"), Input::Open(method(1, id::QUEUE_DECLARE, declare))),
                (format!("{name}, as headers"), Input::Open(published)),
            ]
        })
        .collect()
}
