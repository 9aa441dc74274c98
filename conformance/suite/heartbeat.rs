//! Heartbeats (0-9-1 §4.2.7): who is alive, and who is not.

use std::time::Duration;

use conformance::peer::Peer;
use conformance::proxy::{Direction, Fault};
use conformance::raw::{Frame, Tune};
use conformance::recorder::Recorder;
use conformance::{Context, cases};

use crate::facade::{Error, ErrorKind, Heartbeat, Origin, Queue, TimeoutReason, connect};
use crate::suite::support::{Result, await_queue, named};

cases! {
    a13_f10_p16_an_idle_connection_sends_heartbeats_and_stays_open,
    a13_a_connection_that_only_sends_stays_open,
    a13_f10_p17_a_silent_broker_is_a_time_out_error_for_everybody,
    a13_p17_a_peer_that_sends_nothing_after_the_handshake_is_a_time_out_error,
}

fn second() -> Heartbeat {
    Heartbeat::seconds(1)
}

#[track_caller]
fn assert_gave_up(error: &Error) {
    let ErrorKind::Timeout { reason: TimeoutReason::Heartbeat { interval }, blocked: false } = error.kind() else {
        panic!("{error}")
    };
    assert_eq!(*interval, Duration::from_secs(1));
    assert_eq!(error.origin(), Origin::Network);
    assert!(error.is_retryable());
}

async fn a13_f10_p16_an_idle_connection_sends_heartbeats_and_stays_open(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri()).heartbeat(second())).await?;
    // RabbitMQ gives a client up that was silent for two intervals. This thread does nothing meanwhile.
    recorder.await_frames(Direction::ToBroker, 6, Frame::is_heartbeat)?;
    recorder.await_frames(Direction::ToClient, 3, Frame::is_heartbeat)?;
    // Both have the same interval, of which they wait half: each sends about as many as the other, neither in a loop nor
    // only now and then. (What is said here is no absolute time, which a busy machine would make a lie.)
    let frames = recorder.frames();
    let heartbeats = |direction| frames.iter().filter(|(way, frame)| *way == direction && frame.is_heartbeat()).count();
    let (sent, received) = (heartbeats(Direction::ToBroker), heartbeats(Direction::ToClient));
    assert!(sent <= 2 * received + 4 && received <= 2 * sent + 4, "{sent} heartbeats sent while {received} came");
    assert!(connection.is_open());
    connection.channel().await?;
    Ok(connection.close().await?)
}

async fn a13_a_connection_that_only_sends_stays_open(context: Context) -> Result {
    let recorder = Recorder::start(context.address())?;
    let connection = connect(named(&context, &recorder.uri()).heartbeat(second())).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    // What is written is as good as a heartbeat, and what the broker sends of its own keeps this side content.
    let heartbeats = |frames: &[Frame]| frames.iter().filter(|frame| frame.is_heartbeat()).count();
    let mut published = 0;
    while heartbeats(&recorder.frames_to(Direction::ToClient)) < 4 {
        channel.publish("", &queue, "on and on").await?;
        published += 1;
        crate::facade::sleep(Duration::from_millis(50)).await;
    }
    await_queue(context.node(), &queue, "all that was published", |queue| queue.messages == published);
    Ok(connection.close().await?)
}

async fn a13_f10_p17_a_silent_broker_is_a_time_out_error_for_everybody(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(named(&context, &proxy.uri()).heartbeat(second()).no_recovery()).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let mut consumer = channel.consume(&queue).await?;
    proxy.inflict(Fault::Stall);

    let confirm = channel.send("", &queue, "unheard").await?;
    assert_gave_up(&connection.closed().await.unwrap_err());
    assert_gave_up(&channel.queue_declare(&queue).await.unwrap_err());
    let ErrorKind::Unknown(cause) = confirm.await.unwrap_err().kind().clone() else { panic!("not unknown") };
    assert_gave_up(&cause);
    assert_gave_up(&consumer.next().await.expect("the reason").unwrap_err());
    assert!(consumer.next().await.is_none());
    assert_gave_up(&channel.error().expect("the reason"));
    assert_gave_up(&connection.channel().await.unwrap_err());
    assert_gave_up(&connection.close().await.unwrap_err());
    Ok(())
}

async fn a13_p17_a_peer_that_sends_nothing_after_the_handshake_is_a_time_out_error(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune { heartbeat: 1, ..Tune::default() })?;
        // It hears the client's heartbeats, and then that it has gone.
        assert!(wire.read_frame()?.is_heartbeat());
        assert!(wire.read_frame()?.is_heartbeat());
        wire.expect_end().map(|_| ())
    })?;
    let connection = connect(named(&context, &peer.uri()).no_recovery()).await?;
    assert_gave_up(&connection.closed().await.unwrap_err());
    Ok(peer.finish()?)
}
