//! The adapter over streams of the futures traits, on each executor, against a scripted broker in memory.

#[cfg(test)]
#[expect(dead_code, reason = "shared with the tests of amqp-api")]
#[path = "../../amqp-api/tests/fake/peer.rs"]
mod peer;

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::io::{self, IoSlice};
    use std::pin::{Pin, pin};
    use std::sync::{Arc, mpsc};
    use std::task::{Context, Poll, Waker};
    use std::thread;
    use std::time::Duration;

    use amqp_smol::{Connection, ErrorKind, Executor, Spawner};
    use futures_lite::future::block_on;
    use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use piper::{Reader, Writer, pipe};

    use crate::peer::Peer;

    /// One end of a pair of pipes.
    struct Duplex(Reader, Writer);

    /// A narrow pair: writes are cut short.
    fn duplex() -> (Duplex, Duplex) {
        let ((to_theirs, from_ours), (to_ours, from_theirs)) = (pipe(777), pipe(777));
        (Duplex(to_ours, from_ours), Duplex(to_theirs, from_theirs))
    }

    impl AsyncRead for Duplex {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_read(cx, bytes)
        }
    }

    impl AsyncWrite for Duplex {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.1).poll_write(cx, bytes)
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.1).poll_write_vectored(cx, slices)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.1).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.1).poll_close(cx)
        }
    }

    /// Answers on this stream, on a thread of its own, until it ends.
    fn serve(
        mut stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        mut peer: Peer,
    ) -> thread::JoinHandle<Peer> {
        let serving = async move {
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
        };
        thread::spawn(|| block_on(serving))
    }

    /// A connected session, used from two threads.
    fn use_it(connection: &Connection, served: thread::JoinHandle<Peer>) {
        let publisher = block_on(connection.publisher()).unwrap();
        let publishing = thread::spawn(|| {
            block_on(async move {
                let mut confirms = Vec::new();
                for number in 0..300 {
                    confirms.push(publisher.send("", "q", format!("message {number}")).await.unwrap());
                }
                for confirm in confirms {
                    confirm.await.unwrap();
                }
            });
        });
        block_on(async {
            let channel = connection.channel().await.unwrap();
            let mut consumer = channel.consume("q").await.unwrap();
            for number in 0..30 {
                let delivery = consumer.next().await.unwrap().unwrap();
                assert_eq!(delivery.body(), format!("greeting {number}").as_str());
                delivery.ack().unwrap();
            }
        });
        publishing.join().unwrap();
        block_on(connection.close()).unwrap();
        let peer = served.join().unwrap();
        assert_eq!((peer.published.len(), peer.acked().len()), (300, 30));
    }

    fn greeting() -> Peer {
        Peer { greeting: 30, ..Peer::default() }
    }

    #[test]
    fn a_session_works_on_the_global_executor_of_smol() {
        let (ours, theirs) = duplex();
        let served = serve(theirs, greeting());
        let connection = block_on(amqp_smol::connect_with(ours, "amqp://localhost")).unwrap();
        use_it(&connection, served);
    }

    #[cfg(unix)]
    #[test]
    fn f15_a_session_works_over_a_unix_socket() {
        let (ours, theirs) = async_net::unix::UnixStream::pair().unwrap();
        let served = serve(theirs, greeting());
        let connection = block_on(amqp_smol::connect_with(ours, "amqp://localhost")).unwrap();
        use_it(&connection, served);
    }

    #[test]
    fn a_session_works_on_a_given_executor() {
        let executor = Arc::new(Executor::new());
        let (stop, stopped) = until_dropped();
        let running = thread::spawn({
            let executor = Arc::clone(&executor);
            move || block_on(executor.run(stopped))
        });
        let (ours, theirs) = duplex();
        let served = serve(theirs, greeting());
        let connection = block_on(amqp_smol::connect_with_on(&executor, ours, "amqp://localhost")).unwrap();
        use_it(&connection, served);
        drop(stop);
        running.join().unwrap();
    }

    /// A future that is done when the other half is dropped.
    fn until_dropped() -> (Writer, impl Future<Output = ()>) {
        let (mut reader, writer) = pipe(1);
        (writer, async move { assert_eq!(reader.read(&mut [0]).await.unwrap(), 0) })
    }

    #[test]
    fn a_session_works_on_async_std() {
        let (ours, theirs) = duplex();
        let served = serve(theirs, greeting());
        let connection =
            async_std::task::block_on(amqp_smol::async_std::connect_with(ours, "amqp://localhost")).unwrap();
        use_it(&connection, served);
    }

    /// A stream that tells on which thread it is read, and then is at its end.
    struct Telltale(mpsc::Sender<String>);

    impl AsyncRead for Telltale {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            let _ = self.0.send(thread::current().name().unwrap_or_default().to_owned());
            Poll::Ready(Ok(0))
        }
    }

    impl AsyncWrite for Telltale {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_connection_runs_on_the_threads_of_its_executor() {
        let (sender, threads) = mpsc::channel();
        block_on(amqp_smol::connect_with(Telltale(sender.clone()), "amqp://localhost")).unwrap_err();
        let name = threads.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(name.starts_with("smol-"), "{name}");
        let connecting = amqp_smol::async_std::connect_with(Telltale(sender), "amqp://localhost");
        async_std::task::block_on(connecting).unwrap_err();
        let name = threads.try_iter().last().unwrap();
        assert!(name.starts_with("async-std/runtime"), "{name}");
    }

    #[test]
    fn an_executor_that_is_dropped_ends_its_connections() {
        let executor = Arc::new(Executor::new());
        let (ours, theirs) = duplex();
        let _served = serve(theirs, Peer::default());
        let connecting = amqp_smol::connect_with_on(&executor, ours, "amqp://localhost");
        let connection = block_on(executor.run(connecting)).unwrap();
        let channel = block_on(executor.run(async { connection.channel().await })).unwrap();
        drop(executor);
        let mut call = pin!(channel.queue_declare("q"));
        let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Err(error)) = polled else { panic!("{polled:?}") };
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        assert!(!connection.is_open());
    }

    #[test]
    fn an_executor_that_is_gone_and_a_spawner_that_drops_its_task_are_errors() {
        let spawners = [Spawner::from(&Arc::new(Executor::new())), Spawner::new(drop)];
        for spawner in spawners {
            let connecting = amqp_smol::connect_with_on(spawner, duplex().0, "amqp://localhost");
            let error = block_on(connecting).unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        }
    }

    #[test]
    fn c1_a_refused_port_and_an_unknown_host_are_errors() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = block_on(amqp_smol::connect(format!("amqp://127.0.0.1:{port}"))).unwrap_err();
        let refused = io::ErrorKind::ConnectionRefused;
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { kind, .. } if *kind == refused), "{error}");
        let error = block_on(amqp_smol::connect("amqp://doesntexist.invalid")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{error}");
        let error = block_on(amqp_smol::connect("http://localhost")).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Uri(_)), "{error}");
    }
}
