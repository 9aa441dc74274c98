//! The adapter over tokio's streams, in both flavors of the runtime, against a scripted broker in memory.

#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of amqp-api")]
#[path = "../../amqp-api/tests/fake/peer.rs"]
mod peer;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use amqp_tokio::{Connection, ErrorKind};
    use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio::runtime::{Builder, Runtime};

    use crate::peer::Peer;

    fn runtimes() -> [Runtime; 2] {
        [
            Builder::new_current_thread().enable_all().build().unwrap(),
            Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
        ]
    }

    /// Answers on this stream until it ends.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, mut peer: Peer) -> Peer {
        let mut buffer = vec![0; 10_000];
        loop {
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                return peer;
            }
            peer.feed(&buffer[..count]);
            let answer = std::mem::take(&mut peer.out);
            if stream.write_all(&answer).await.is_err() || peer.hung_up {
                return peer;
            }
        }
    }

    async fn connect(peer: Peer) -> (Connection, tokio::task::JoinHandle<Peer>) {
        // A narrow pipe: writes are cut short.
        let (ours, theirs) = tokio::io::duplex(777);
        let served = tokio::spawn(serve(theirs, peer));
        (amqp_tokio::connect_with(ours, "amqp://localhost").await.unwrap(), served)
    }

    /// Publishes 300 messages, consumes 30, and closes.
    async fn work(connection: Connection) {
        let publisher = connection.publisher().await.unwrap();
        let publishing = tokio::spawn(async move {
            let mut confirms = Vec::new();
            for number in 0..300 {
                confirms.push(publisher.send("", "q", format!("message {number}")).await.unwrap());
            }
            for confirm in confirms {
                confirm.await.unwrap();
            }
        });
        let channel = connection.channel().await.unwrap();
        let mut consumer = channel.consume("q").await.unwrap();
        for number in 0..30 {
            let delivery = consumer.next().await.unwrap().unwrap();
            assert_eq!(delivery.body(), format!("greeting {number}").as_str());
            delivery.ack().unwrap();
        }
        publishing.await.unwrap();
        connection.close().await.unwrap();
    }

    #[test]
    fn a_session_works_in_both_flavors_of_the_runtime() {
        for runtime in runtimes() {
            runtime.block_on(async {
                let (connection, served) = connect(Peer { greeting: 30, ..Peer::default() }).await;
                work(connection).await;
                let peer = served.await.unwrap();
                assert_eq!((peer.published.len(), peer.acked().len()), (300, 30));
            });
        }
    }

    #[cfg(unix)]
    #[test]
    fn f15_a_session_works_over_a_unix_socket() {
        for runtime in runtimes() {
            runtime.block_on(async {
                let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
                let served = tokio::spawn(serve(theirs, Peer { greeting: 30, ..Peer::default() }));
                work(amqp_tokio::connect_with(ours, "amqp://localhost").await.unwrap()).await;
                let peer = served.await.unwrap();
                assert_eq!((peer.published.len(), peer.acked().len()), (300, 30));
            });
        }
    }

    #[test]
    fn a_runtime_that_is_shut_down_ends_its_connections() {
        for runtime in runtimes() {
            let (connection, _served) = runtime.block_on(connect(Peer::default()));
            let channel = runtime.block_on(connection.channel()).unwrap();
            drop(runtime);
            let mut call = pin!(channel.queue_declare("q"));
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Err(error)) = polled else { panic!("{polled:?}") };
            assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
            assert!(!connection.is_open());
        }
    }

    #[test]
    fn c1_a_refused_port_and_an_unknown_host_are_errors() {
        for runtime in runtimes() {
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                drop(listener);
                let error = amqp_tokio::connect(format!("amqp://127.0.0.1:{port}")).await.unwrap_err();
                let refused = io::ErrorKind::ConnectionRefused;
                assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind, .. } if *kind == refused), "{error}");
                let error = amqp_tokio::connect("amqp://doesntexist.invalid").await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
                let error = amqp_tokio::connect("http://localhost").await.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{error}");
            });
        }
    }

    #[test]
    fn outside_of_a_runtime_connecting_is_an_error_and_no_panic() {
        let mut connecting = pin!(amqp_tokio::connect("amqp://localhost"));
        let polled = connecting.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = polled else { panic!("it does not say so") };
        assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    }
}
