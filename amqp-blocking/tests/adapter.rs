//! The adapter over the standard library's sockets, against a scripted broker on a thread.

#[cfg(test)]
#[allow(dead_code, reason = "shared with the tests of amqp-api")]
#[path = "../../amqp-api/tests/fake/peer.rs"]
mod peer;

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    use amqp_blocking::{Config, Connection, Elapsed, ErrorKind, IntoConnectOptions};

    use crate::peer::Peer;

    /// How a broker ends.
    #[derive(Clone, Default)]
    struct Control {
        hang_up: Arc<AtomicBool>,
        was_closed: Arc<AtomicBool>,
    }

    /// Answers until the stream ends, and delivers what is published. When nothing comes it sends a heartbeat.
    fn serve(mut stream: impl Read + Write, mut peer: Peer, control: &Control) -> Peer {
        let mut buffer = vec![0; 10_000];
        let mut delivered = 0;
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return peer,
                Ok(count) => peer.feed(&buffer[..count]),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    peer.out.extend_from_slice(&[8, 0, 0, 0, 0, 0, 0, 0xCE]);
                }
                Err(_) => return peer,
            }
            while delivered < peer.published.len() && !peer.consumers.is_empty() {
                let body = peer.published[delivered].3.clone();
                peer.deliver(&body);
                delivered += 1;
            }
            control.was_closed.store(peer.has_seen("connection.close"), Ordering::SeqCst);
            let answer = std::mem::take(&mut peer.out);
            if stream.write_all(&answer).is_err() || peer.hung_up || control.hang_up.load(Ordering::SeqCst) {
                return peer;
            }
        }
    }

    fn tcp() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = listener.accept().unwrap().0;
        theirs.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        (ours, theirs)
    }

    fn connect_by(config: impl IntoConnectOptions, peer: Peer) -> (Connection, JoinHandle<Peer>, Control) {
        let (ours, theirs) = tcp();
        let control = Control::default();
        let served = thread::spawn({
            let control = control.clone();
            move || serve(theirs, peer, &control)
        });
        (amqp_blocking::connect_with(ours, config).unwrap(), served, control)
    }

    fn connect(peer: Peer) -> (Connection, JoinHandle<Peer>, Control) {
        connect_by("amqp://localhost", peer)
    }

    fn work(connection: &Connection) {
        let publisher = connection.publisher().unwrap();
        let publishing = thread::spawn(move || {
            let mut confirms = Vec::new();
            for number in 0..300 {
                confirms.push(publisher.send("", "q", format!("message {number}")).unwrap());
            }
            for confirm in confirms {
                confirm.wait().unwrap();
            }
        });
        let channel = connection.channel().unwrap();
        let consumer = channel.consume("q").unwrap();
        for (number, delivery) in consumer.take(30).enumerate() {
            let delivery = delivery.unwrap();
            assert_eq!(delivery.body(), format!("greeting {number}").as_str());
            delivery.ack().unwrap();
        }
        publishing.join().unwrap();
        connection.close().unwrap();
    }

    #[test]
    fn a_session_works_over_tcp() {
        let (connection, served, _) = connect(Peer { greeting: 30, ..Peer::default() });
        work(&connection);
        let peer = served.join().unwrap();
        assert_eq!((peer.published.len(), peer.acked().len()), (300, 30));
    }

    #[cfg(unix)]
    #[test]
    fn f15_a_session_works_over_a_unix_socket() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let peer = Peer { greeting: 30, ..Peer::default() };
        let served = thread::spawn(move || serve(theirs, peer, &Control::default()));
        work(&amqp_blocking::connect_with(ours, "amqp://localhost").unwrap());
        let peer = served.join().unwrap();
        assert_eq!((peer.published.len(), peer.acked().len()), (300, 30));
    }

    #[test]
    fn handles_are_used_from_many_threads() {
        let (connection, served, _) = connect(Peer::default());
        let channel = connection.channel().unwrap();
        thread::scope(|scope| {
            for number in 0..8 {
                let channel = &channel;
                scope.spawn(move || {
                    for round in 0..50 {
                        let name = format!("{number} {round}");
                        assert_eq!(channel.queue_declare(&name).unwrap().name, name);
                    }
                });
            }
        });
        connection.close().unwrap();
        assert_eq!(served.join().unwrap().count("queue.declare"), 400);
    }

    #[test]
    fn threads_that_wait_are_woken_by_the_end_of_the_driver() {
        for abort in [false, true] {
            let (connection, served, control) = connect(Peer::default().mute(&["queue.declare"]));
            let channel = connection.channel().unwrap();
            let mut consumer = channel.consume("q").unwrap();
            let mut returns = channel.returns();
            let waiting = [
                thread::spawn(move || consumer.next().map_or(Ok(()), |delivery| delivery.map(|_| ()))),
                thread::spawn(move || channel.queue_declare("q").map(|_| ())),
                thread::spawn({
                    let connection = connection.clone();
                    move || connection.closed()
                }),
            ];
            let last = thread::spawn(move || returns.next());
            // Let them begin to wait. It makes no difference to the outcome.
            thread::sleep(Duration::from_millis(20));
            if abort {
                connection.abort();
            } else {
                control.hang_up.store(true, Ordering::SeqCst);
            }
            for (number, thread) in waiting.into_iter().enumerate() {
                // An end that this side has made is an error for a call alone.
                let result = thread.join().unwrap();
                assert!(result.is_err() || (abort && number != 1), "{number}: {result:?}");
            }
            assert!(last.join().unwrap().is_none());
            assert!(!connection.is_open());
            served.join().unwrap();
        }
    }

    #[test]
    fn f6_a_body_is_copied_into_its_writer() {
        let (connection, peer, _) = connect(Peer::default());
        let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
        let mut writer = connection.publish_streamed("", "key", "", body.len() as u64).unwrap();
        assert_eq!(io::copy(&mut &body[..], &mut writer).unwrap(), body.len() as u64);
        let error = Write::write(&mut writer, b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        let inner = error.get_ref().unwrap().downcast_ref::<amqp_blocking::Error>().unwrap();
        assert!(matches!(inner.kind(), ErrorKind::BodySize { missing: 0, given: 1 }), "{inner}");
        writer.flush().unwrap();
        writer.finish().unwrap();
        connection.close().unwrap();
        let peer = peer.join().unwrap();
        assert!(peer.published[0].3 == body);
        assert!(peer.has_seen("tx.commit"));
    }

    #[test]
    fn f33_recv_timeout_times_out_and_loses_nothing() {
        let (connection, _served, _) = connect(Peer::default());
        let channel = connection.channel().unwrap();
        let mut consumer = channel.consume("q").unwrap();
        let start = Instant::now();
        assert_eq!(consumer.recv_timeout(Duration::from_millis(50)).unwrap_err(), Elapsed);
        assert!(start.elapsed() >= Duration::from_millis(50));
        // Time-outs and deliveries cross each other.
        let publishing = thread::spawn(move || {
            for number in 0..100 {
                channel.publish("", "q", format!("{number}")).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut received = 0;
        while received < 100 {
            assert!(start.elapsed() < Duration::from_secs(30), "{received} came");
            match consumer.recv_timeout(Duration::from_micros(300)) {
                Ok(Some(delivery)) => {
                    let delivery = delivery.unwrap();
                    assert_eq!(delivery.body(), format!("{received}").as_str());
                    delivery.ack().unwrap();
                    received += 1;
                }
                Ok(None) => panic!("it has ended"),
                Err(Elapsed) => {}
            }
        }
        publishing.join().unwrap();
        assert_eq!(consumer.recv_timeout(Duration::ZERO).unwrap_err(), Elapsed);
        consumer.channel().close().unwrap();
        assert!(consumer.recv_timeout(Duration::from_secs(10)).unwrap().is_none());
    }

    #[test]
    fn dropping_the_last_handle_waits_until_all_was_sent() {
        let (connection, served, control) = connect(Peer::default());
        let channel = connection.channel().unwrap();
        let other = channel.clone();
        drop(connection);
        for _ in 0..200 {
            channel.publish("", "q", vec![7; 5000]).unwrap();
        }
        drop(channel);
        assert!(other.is_open());
        drop(other);
        assert!(control.was_closed.load(Ordering::SeqCst));
        assert_eq!(served.join().unwrap().published.len(), 200);
    }

    #[test]
    fn dropping_the_last_handle_does_not_wait_forever() {
        let config = Config::default().close_timeout(Duration::from_millis(100));
        let (connection, _served, _) = connect_by(config, Peer::default().mute(&["connection.close"]));
        let start = Instant::now();
        drop(connection);
        assert!(start.elapsed() < Duration::from_secs(5));
    }

    #[test]
    fn p16_a_connection_stays_open_while_nobody_calls() {
        let (connection, served, _) = connect(Peer { heartbeat: 1, ..Peer::default() });
        assert_eq!(connection.tuning().heartbeat, Some(Duration::from_secs(1)));
        thread::sleep(Duration::from_millis(3500));
        assert!(connection.is_open());
        connection.close().unwrap();
        let heartbeats = served.join().unwrap().heartbeats;
        assert!(heartbeats >= 3, "{heartbeats} heartbeats");
    }

    #[test]
    fn c1_a_refused_port_and_an_unknown_host_are_errors() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = amqp_blocking::connect(format!("amqp://127.0.0.1:{port}")).unwrap_err();
        let refused = io::ErrorKind::ConnectionRefused;
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind, .. } if *kind == refused), "{error}");
        let error = amqp_blocking::connect("amqp://doesntexist.invalid").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        let error = amqp_blocking::connect("http://localhost").unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{error}");
    }

    #[test]
    fn a_host_that_says_nothing_is_given_up_and_the_next_one_is_tried() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let good = TcpListener::bind("127.0.0.1:0").unwrap();
        let hosts = [&silent, &good]
            .map(|listener| amqp_blocking::Address::new("127.0.0.1", listener.local_addr().unwrap().port()));
        let served = thread::spawn(move || serve(good.accept().unwrap().0, Peer::default(), &Control::default()));
        let config = Config::new("localhost").hosts(hosts).handshake_timeout(Duration::from_millis(100));
        let connection = amqp_blocking::connect(config).unwrap();
        connection.close().unwrap();
        drop(connection);
        assert!(served.join().unwrap().has_seen("connection.close"));
    }

    #[test]
    fn handles_can_go_to_other_threads() {
        fn shared<T: Send + Sync + Clone>() {}
        fn sent<T: Send>() {}
        shared::<Connection>();
        shared::<amqp_blocking::Channel>();
        shared::<amqp_blocking::Publisher>();
        sent::<amqp_blocking::Consumer>();
        sent::<amqp_blocking::Returns>();
        sent::<amqp_blocking::Confirm>();
        sent::<amqp_blocking::Delivery>();
    }
}
