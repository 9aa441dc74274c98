//! The scripted peer and the proxy do what they are told, and end.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use conformance::peer::{Peer, refusing_address};
use conformance::proxy::{Direction, Fault, Proxy};
use conformance::raw::{Frame, Tune, Wire};
use conformance::{Failure, wait};

/// Sends back what it gets, on every connection.
fn echo() -> Peer {
    Peer::start(|server| {
        while let Ok(wire) = server.accept() {
            std::thread::spawn(move || {
                let mut stream = wire.stream();
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
        Ok(())
    })
    .unwrap()
}

/// Whether nothing comes for a while.
fn is_silent(wire: &mut Wire) -> bool {
    wire.set_patience(Duration::from_millis(100)).unwrap();
    let silent = wire.stream().read(&mut [0; 1]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    wire.set_patience(Duration::from_secs(10)).unwrap();
    silent
}

#[test]
fn a_script_plays_the_servers_side_of_a_handshake() {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune { heartbeat: 5, ..Tune::default() })?;
        wire.send_frame(&Frame::heartbeat())?;
        assert_eq!(wire.welcome_channel()?, 7);
        wire.half_close()?;
        wire.expect(b"still here")
    })
    .unwrap();
    let mut client = Wire::log_in(peer.address(), "scripted").unwrap();
    client.open_channel(7).unwrap();
    assert_eq!(client.expect_end().unwrap(), b"");
    client.send(b"still here").unwrap();
    peer.finish().unwrap();
}

#[test]
fn a_script_that_is_disappointed_says_so() {
    let peer = Peer::start(|server| server.accept()?.expect(b"AMQP")).unwrap();
    Wire::connect(peer.address()).unwrap().send(b"HTTP").unwrap();
    assert!(peer.finish().unwrap_err().to_string().contains("received [48, 54, 54, 50]"));
}

#[test]
fn a_script_may_hold_a_connection_without_reading_until_it_is_finished() {
    let peer = Peer::start(|server| {
        let wire = server.accept()?;
        server.hold();
        wire.reset()
    })
    .unwrap();
    let mut client = Wire::connect(peer.address()).unwrap();
    client.send(b"unheard").unwrap();
    assert!(is_silent(&mut client));
    peer.finish().unwrap();
    assert_eq!(client.stream().read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_script_that_waits_ends_when_its_peer_is_dropped() {
    let peer = Peer::start(|server| server.accept()?.expect(b"never")).unwrap();
    let mut client = Wire::connect(peer.address()).unwrap();
    drop(peer);
    assert!(client.expect_end().unwrap().is_empty());
    drop(Peer::start(|server| server.accept().map(|_| ())).unwrap());
}

#[test]
fn an_address_where_nobody_listens_refuses() {
    let failure: Failure = Wire::connect(refusing_address().unwrap()).unwrap_err();
    assert!(failure.to_string().contains("refused"), "{failure}");
}

#[test]
fn the_proxy_passes_stalls_and_goes_on() {
    let broker = echo();
    let proxy = Proxy::start(broker.address()).unwrap();
    proxy.chop(3);
    proxy.delay(Duration::from_millis(1));
    let mut client = Wire::connect(proxy.address()).unwrap();
    client.send(b"hello proxy").unwrap();
    client.expect(b"hello proxy").unwrap();
    assert_eq!(proxy.passed(Direction::ToClient), 11);

    proxy.stall(Direction::ToBroker);
    client.send(b"later").unwrap();
    assert!(is_silent(&mut client));
    proxy.resume();
    client.expect(b"later").unwrap();
    assert_eq!(proxy.accepted(), 1);
}

#[test]
fn the_proxy_cuts_after_the_very_byte_that_was_asked_for() {
    let broker = echo();
    let proxy = Proxy::start(broker.address()).unwrap();
    proxy.inflict_after(Direction::ToClient, 6, Fault::Cut);
    let mut client = Wire::connect(proxy.address()).unwrap();
    client.send(b"abc").unwrap();
    client.expect(b"abc").unwrap();
    client.send(b"defghi").unwrap();
    assert_eq!(client.expect_end().unwrap(), b"def");

    // The next connection is unharmed.
    let mut client = Wire::connect(proxy.address()).unwrap();
    client.send(b"again").unwrap();
    client.expect(b"again").unwrap();
}

#[test]
fn the_proxy_resets_stalls_for_good_half_closes_and_refuses() {
    let broker = echo();
    let proxy = Proxy::start(broker.address()).unwrap();
    let connect = || {
        let mut client = Wire::connect(proxy.address()).unwrap();
        client.send(b"x").unwrap();
        client.expect(b"x").unwrap();
        client
    };

    let client = connect();
    proxy.inflict(Fault::Reset);
    assert_eq!(client.stream().read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut client = connect();
    proxy.half_close(Direction::ToClient);
    assert!(client.expect_end().unwrap().is_empty());

    let mut client = connect();
    proxy.inflict(Fault::Stall);
    client.send(b"unheard").unwrap();
    assert!(is_silent(&mut client));

    proxy.refuse(true);
    let mut client = Wire::connect(proxy.address()).unwrap();
    assert!(client.expect_end().unwrap().is_empty());
    wait::until_true(Duration::from_secs(10), "four connections", || proxy.accepted() == 4).unwrap();
}

#[test]
fn what_the_broker_does_to_a_connection_its_client_sees() {
    let broker = Peer::start(|server| {
        server.accept()?.reset()?;
        let mut wire = server.accept()?;
        wire.send(b"bye")?;
        wire.half_close()?;
        wire.expect(b"you too")
    })
    .unwrap();
    let proxy = Proxy::start(broker.address()).unwrap();
    let client = Wire::connect(proxy.address()).unwrap();
    assert_eq!(client.stream().read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut client = Wire::connect(proxy.address()).unwrap();
    assert_eq!(client.expect_end().unwrap(), b"bye");
    client.send(b"you too").unwrap();
    broker.finish().unwrap();
}
