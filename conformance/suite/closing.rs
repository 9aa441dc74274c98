//! How connections end, by either side.

use std::time::Duration;

use conformance::node::LogMark;
use conformance::peer::Peer;
use conformance::proxy::{Direction, Fault};
use conformance::raw::{Frame, Tune, id};
use conformance::recorder::Recorder;
use conformance::{Context, cases, wait};

use crate::facade::{Error, ErrorKind, Origin, Queue, ReplyCode, TimeoutReason, connect, spawn};
use crate::suite::support::{Result, SOON, assert_connection_closed, await_queue, named, open};

cases! {
    a18_a_clean_close_leaves_no_warning_in_the_brokers_log,
    a18_the_last_handle_dropped_leaves_no_warning_in_the_brokers_log,
    f14_an_aborted_connection_does_leave_one,
    f14_close_sends_what_was_accepted_before,
    close_tells_the_broker_why,
    p14_f9_a_close_that_is_not_answered_ends_in_time,
    c15_a_close_by_the_broker_is_answered_and_reported_with_its_reason_to_everybody,
    p9_p14_f24_a_reset_is_reported_to_everybody_as_a_lost_connection,
    an_end_of_the_stream_is_a_lost_connection,
    both_sides_may_close_at_once,
}

/// The broker's log of the case's connection since then, once it has logged its end.
fn log_of(context: &Context, mark: LogMark) -> Result<String> {
    context.node().await_log(mark, &format!("- {}", context.case()))?;
    let log = wait::until(SOON, "the connection's end in the log", || {
        let log = context.node().log_since(mark);
        log.lines().any(|line| line.contains("closing AMQP connection") && line.contains(context.case())).then_some(log)
    })?;
    // The lines of one connection bear its process id; a reason stands on a line of its own.
    let line = log.lines().find(|line| line.contains(context.case())).expect("it was found");
    let pid = line.split_whitespace().find(|word| word.starts_with('<')).expect("a process id");
    Ok(log.lines().filter(|line| line.contains(pid)).collect::<Vec<_>>().join("\n"))
}

#[track_caller]
fn assert_clean(log: &str) {
    for trouble in ["[warning]", "[error]", "unexpectedly closed"] {
        assert!(!log.contains(trouble), "{log}");
    }
}

async fn a18_a_clean_close_leaves_no_warning_in_the_brokers_log(context: Context) -> Result {
    let mark = context.node().log_mark();
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    // In the midst of things.
    let _consumer = channel.consume(&queue).await?;
    let publisher = connection.publisher().await?;
    let _unread = publisher.send("", &queue, vec![0; 1 << 20]).await?;
    let _unanswered = channel.queue_declare(Queue::server_named());
    connection.close().await?;
    assert_clean(&log_of(&context, mark)?);
    Ok(())
}

async fn a18_the_last_handle_dropped_leaves_no_warning_in_the_brokers_log(context: Context) -> Result {
    let mark = context.node().log_mark();
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    drop((connection, channel));
    assert_clean(&log_of(&context, mark)?);
    Ok(())
}

async fn f14_an_aborted_connection_does_leave_one(context: Context) -> Result {
    let mark = context.node().log_mark();
    let connection = open(&context).await?;
    connection.abort();
    assert!(!connection.is_open());
    assert!(matches!(connection.channel().await.unwrap_err().kind(), ErrorKind::ConnectionNotOpen));
    connection.closed().await?;
    let log = log_of(&context, mark)?;
    assert!(log.contains("[warning]"), "the other cases here could not fail: {log}");
    Ok(())
}

async fn f14_close_sends_what_was_accepted_before(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = context.name("queue");
    channel.queue_declare(&queue).await?;
    for number in 0..500 {
        channel.publish("", &queue, vec![0; 1000 * (number % 20)]).await?;
    }
    channel.publish("", &queue, vec![0; 3 << 20]).await?;
    connection.close().await?;
    // The channel has taken them before it closed; the queue is a process of its own.
    await_queue(context.node(), &queue, "all 501 messages", |queue| queue.messages == 501);
    Ok(context.node().delete_queue(&queue)?)
}

async fn close_tells_the_broker_why(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri())).await?;
    // The broker's limit is 255 bytes; ö has two, and is not cut in half.
    connection.close_with(ReplyCode(320), "ö".repeat(200)).await?;
    let is_close = |frame: &Frame| frame.method_id() == Some(id::CONNECTION_CLOSE);
    recorder.await_frames(Direction::ToBroker, 1, is_close)?;
    let close = recorder.frames_to(Direction::ToBroker).into_iter().find(is_close).expect("it was awaited");
    assert_eq!(close.args()[..3], [1, 64, 254]);
    assert_eq!(close.args()[3..257], *"ö".repeat(127).as_bytes());
    recorder.await_frames(Direction::ToClient, 1, |frame| frame.method_id() == Some(id::CONNECTION_CLOSE_OK))?;
    connection.closed().await?;
    Ok(())
}

async fn p14_f9_a_close_that_is_not_answered_ends_in_time(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        assert_eq!(wire.expect_end()?, b"");
        Ok(())
    })?;
    let connection = connect(named(&context, &peer.uri()).close_timeout(Duration::from_millis(300))).await?;
    let error = connection.close().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Close, .. }), "{error}");
    Ok(peer.finish()?)
}

/// Everybody who can wait on a connection waits, something ends it, and each of them says what it heard.
async fn everybody(context: &Context, uri: String, end: impl FnOnce() -> Result) -> Result<Vec<(&'static str, Error)>> {
    let connection = connect(named(context, &uri).no_recovery()).await?;
    let channel = connection.channel().await?;
    let other = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    let mut returns = channel.returns();
    let consuming = spawn(async move {
        let last = consumer.next().await.expect("the reason").unwrap_err();
        assert!(consumer.next().await.is_none());
        last
    });
    let returning = spawn(async move { returns.next().await.is_none() });
    let watching = spawn({
        let connection = connection.clone();
        async move { connection.closed().await.unwrap_err() }
    });
    end()?;
    let mut heard = vec![("closed()", watching.await), ("a consumer", consuming.await)];
    assert!(returning.await, "the stream of returns ends");
    heard.push(("the channel", channel.error().expect("why it has ended")));
    heard.push(("the other channel", other.error().expect("why it has ended")));
    heard.push(("a call", channel.queue_declare(&queue).await.unwrap_err()));
    heard.push(("a publish", channel.publish("", &queue, "late").await.unwrap_err()));
    heard.push(("a new channel", connection.channel().await.unwrap_err()));
    heard.push(("a new publisher", connection.publisher().await.unwrap_err()));
    heard.push(("close()", connection.close().await.unwrap_err()));
    heard.push(("closed() again", connection.closed().await.unwrap_err()));
    assert!(!connection.is_open() && !channel.is_open());
    Ok(heard)
}

async fn c15_a_close_by_the_broker_is_answered_and_reported_with_its_reason_to_everybody(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let heard = everybody(&context, recorder.uri(), || {
        assert_eq!(context.node().close_connections(context.case(), "maintenance at five")?, 1);
        Ok(())
    });
    for (who, error) in heard.await? {
        assert_connection_closed(&error, 320);
        assert!(error.to_string().contains("maintenance at five"), "{who}: {error}");
        assert_eq!(error.origin(), Origin::Broker, "{who}");
        assert!(error.is_retryable(), "{who}");
    }
    // It is the last that is sent.
    let close_ok = recorder.await_frames(Direction::ToBroker, 1, |f| f.method_id() == Some(id::CONNECTION_CLOSE_OK));
    close_ok?;
    let last = recorder.frames_to(Direction::ToBroker).pop().expect("a frame");
    assert_eq!(last.method_id(), Some(id::CONNECTION_CLOSE_OK));
    Ok(())
}

async fn p9_p14_f24_a_reset_is_reported_to_everybody_as_a_lost_connection(context: Context) -> Result {
    let proxy = context.proxy()?;
    let heard = everybody(&context, proxy.uri(), || {
        proxy.inflict(Fault::Reset);
        Ok(())
    });
    for (who, error) in heard.await? {
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{who}: {error}");
        assert_eq!(error.origin(), Origin::Network, "{who}");
        assert!(error.is_retryable(), "{who}");
    }
    Ok(())
}

async fn an_end_of_the_stream_is_a_lost_connection(context: Context) -> Result {
    let proxy = context.proxy()?;
    let heard = everybody(&context, proxy.uri(), || {
        proxy.inflict(Fault::Cut);
        Ok(())
    });
    for (who, error) in heard.await? {
        assert!(matches!(error.kind(), ErrorKind::ConnectionLost { .. }), "{who}: {error}");
    }
    Ok(())
}

async fn both_sides_may_close_at_once(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        // Sent before the client's close was read.
        let close = conformance::raw::args::Args::new().u16(320).short_string("at once").u32(0);
        wire.send_method(0, id::CONNECTION_CLOSE, close)?;
        wire.expect_method(id::CONNECTION_CLOSE_OK)?;
        assert_eq!(wire.expect_end()?, b"");
        Ok(())
    })?;
    let connection = connect(named(&context, &peer.uri())).await?;
    // Either is an answer; none is to hang.
    if let Err(error) = connection.close().await {
        assert_connection_closed(&error, 320);
    }
    Ok(peer.finish()?)
}
