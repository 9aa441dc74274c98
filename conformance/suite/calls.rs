//! Calls: each gets its own reply in whatever order they come, and who gives one up disturbs no other.

use std::time::Duration;

use conformance::peer::Peer;
use conformance::proxy::Direction;
use conformance::raw::args::Args;
use conformance::raw::{Frame, Tune, Wire, id};
use conformance::{Context, cases, wait};

use crate::facade::{Consume, Error, ErrorKind, Queue, TimeoutReason, connect, spawn};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, named, open};

cases! {
    c8_p13_a_hundred_parallel_declares_on_one_channel_succeed,
    p11_every_caller_gets_its_own_reply_however_soon_it_comes,
    p13_replies_that_overtake_each_other_go_to_their_callers,
    p13_replies_in_another_order_than_their_requests_go_to_their_callers,
    p10_a_late_reply_is_not_given_to_the_next_caller,
    p12_a_dropped_call_shifts_no_reply,
    p10_p12_calls_given_up_at_the_same_time_shift_no_reply_and_leave_nothing,
    c17_f24_calls_and_confirms_that_are_under_way_end_with_their_channel,
}

async fn c8_p13_a_hundred_parallel_declares_on_one_channel_succeed(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let mut tasks = Vec::new();
    for number in 0..100 {
        let (channel, name) = (channel.clone(), context.name(&format!("queue_{number}")));
        tasks.push(spawn(async move {
            let declared = channel.queue_declare(Queue::exclusive(&name)).await.unwrap();
            assert_eq!(declared.name, name);
        }));
    }
    for task in tasks {
        task.await;
    }
    let mine = context.name("queue_");
    let queues = context.node().list_queues()?;
    assert_eq!(queues.iter().filter(|queue| queue.name.starts_with(&mine)).count(), 100);
    Ok(connection.close().await?)
}

async fn p11_every_caller_gets_its_own_reply_however_soon_it_comes(context: Context) -> Result {
    const CALLERS: u32 = 8;
    let connection = open(&context).await?;
    let publisher = connection.publisher().await?;
    let shared = connection.channel().await?;
    let mut callers = Vec::new();
    // Replies are told apart by the queue's name and by how many messages it has.
    for number in 0..CALLERS {
        let name = shared.queue_declare(Queue::exclusive(context.name(&format!("queue_{number}")))).await?.name;
        for _ in 0..number {
            publisher.publish("", &name, "counted").await?;
        }
        let (shared, own) = (shared.clone(), connection.channel().await?);
        callers.push(spawn(async move {
            for channel in [&shared, &own].into_iter().cycle().take(100) {
                let declared = channel.queue_declare(Queue::exclusive(&name)).await.unwrap();
                assert_eq!((declared.name.as_str(), declared.message_count), (name.as_str(), number));
            }
        }));
    }
    for caller in callers {
        caller.await;
    }
    Ok(connection.close().await?)
}

async fn p13_replies_that_overtake_each_other_go_to_their_callers(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    for round in 0..20 {
        // RabbitMQ answers declare-ok, declare-ok, consume-ok.
        let names = [1, 2].map(|number| context.name(&format!("{round}_{number}")));
        let tag = format!("tag {round}");
        let consumer = channel.consume(Consume::new(&queue).tag(&tag));
        let declares = names.each_ref().map(|name| channel.queue_declare(Queue::exclusive(name)));
        let get = channel.get(&names[0]);
        for (declared, name) in declares.into_iter().zip(&names) {
            assert_eq!(&declared.await?.name, name);
        }
        assert!(get.await?.is_none());
        let consumer = consumer.await?;
        assert_eq!(consumer.tag(), tag);
        // And the same with cancel-ok.
        let cancel = consumer.cancel();
        let declared = channel.queue_declare(Queue::exclusive(&names[1]));
        assert_eq!(declared.await?.name, names[1]);
        cancel.await?;
    }
    Ok(connection.close().await?)
}

/// The short string behind `skip` bytes of a method's arguments.
fn short_string(frame: &Frame, skip: usize) -> String {
    let (length, rest) = frame.args()[skip..].split_first().expect("a short string");
    String::from_utf8_lossy(&rest[..usize::from(*length)]).into_owned()
}

/// Answers a request that has a queue or a consumer tag by this name.
fn answer(wire: &mut Wire, request: &Frame) -> conformance::Result<()> {
    let (method, arguments) = match request.method_id() {
        Some(id::BASIC_QOS) => (id::BASIC_QOS_OK, Args::new()),
        Some(id::QUEUE_DECLARE) => {
            (id::QUEUE_DECLARE_OK, Args::new().short_string(&short_string(request, 2)).u32(0).u32(0))
        }
        Some(id::QUEUE_PURGE) => (id::QUEUE_PURGE_OK, Args::new().u32(7)),
        Some(id::BASIC_GET) => (id::BASIC_GET_EMPTY, Args::new().short_string("")),
        Some(id::BASIC_CONSUME) => {
            let queue = short_string(request, 2);
            let tag = short_string(request, 2 + 1 + queue.len());
            (id::BASIC_CONSUME_OK, Args::new().short_string(&tag))
        }
        Some(id::BASIC_CANCEL) => (id::BASIC_CANCEL_OK, Args::new().short_string(&short_string(request, 0))),
        _ => return Err(conformance::Failure::new(format!("nobody wanted {request:?}"))),
    };
    wire.send_method(request.channel, method, arguments)
}

/// Waits until so many calls are under way, and answers those first that came last. Only calls of one kind are answered in
/// their order, as any broker does.
fn answer_backwards(wire: &mut Wire, calls: usize) -> conformance::Result<()> {
    let mut requests = Vec::new();
    while requests.len() < calls {
        match wire.read_frame()? {
            // A consumer's prefetch.
            qos if qos.method_id() == Some(id::BASIC_QOS) => answer(wire, &qos)?,
            request => requests.push(request),
        }
    }
    while let Some(kind) = requests.last().map(Frame::method_id) {
        let (answered, left) = requests.into_iter().partition(|request| request.method_id() == kind);
        requests = left;
        let answered: Vec<Frame> = answered;
        answered.iter().try_for_each(|request| answer(wire, request))?;
    }
    Ok(())
}

async fn p13_replies_in_another_order_than_their_requests_go_to_their_callers(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        wire.welcome_channel()?;
        for _ in 0..10 {
            answer_backwards(&mut wire, 5)?;
            answer_backwards(&mut wire, 3)?;
        }
        server.hold();
        Ok(())
    })?;
    let connection = connect(named(&context, &peer.uri())).await?;
    let channel = connection.channel().await?;
    let declare = |name: &'static str| {
        let channel = channel.clone();
        spawn(async move { channel.queue_declare(name).await.map(|declared| declared.name) })
    };
    for _ in 0..10 {
        // All at the same time, in whatever order.
        let consume = spawn({
            let channel = channel.clone();
            async move { channel.consume(Consume::new("queue").tag("tag")).await }
        });
        let get = spawn({
            let channel = channel.clone();
            async move { channel.get("empty").await }
        });
        let purge = spawn({
            let channel = channel.clone();
            async move { channel.queue_purge("purged").await }
        });
        let (one, two) = (declare("one"), declare("two"));
        assert_eq!((one.await?, two.await?), ("one".to_owned(), "two".to_owned()));
        assert!(get.await?.is_none());
        assert_eq!(purge.await?, 7);
        let consumer = consume.await?;
        assert_eq!(consumer.tag(), "tag");
        let cancel = spawn(async move { consumer.cancel().await });
        let (three, four) = (declare("three"), declare("four"));
        assert_eq!((three.await?, four.await?), ("three".to_owned(), "four".to_owned()));
        cancel.await?;
    }
    connection.abort();
    Ok(peer.finish()?)
}

async fn p10_a_late_reply_is_not_given_to_the_next_caller(context: Context) -> Result {
    fn declare_ok(queue: &str) -> Args {
        Args::new().short_string(queue).u32(0).u32(0)
    }
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::QUEUE_DECLARE)?;
        // The first is answered when its caller has given up and the second was asked.
        wire.expect_method(id::QUEUE_DECLARE)?;
        wire.send_method(channel, id::QUEUE_DECLARE_OK, declare_ok("slow"))?;
        wire.send_method(channel, id::QUEUE_DECLARE_OK, declare_ok("quick"))?;
        server.hold();
        Ok(())
    })?;
    let connection = connect(named(&context, &peer.uri()).call_timeout(Duration::from_secs(1))).await?;
    let channel = connection.channel().await?;
    let error = channel.queue_declare("slow").await.unwrap_err();
    let ErrorKind::Timeout { reason: TimeoutReason::Call { method }, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(*method, "queue.declare");
    assert!(channel.is_open(), "a call that took too long costs its reply and nothing else");
    assert_eq!(channel.queue_declare("quick").await?.name, "quick");
    connection.abort();
    Ok(peer.finish()?)
}

async fn p12_a_dropped_call_shifts_no_reply(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    for round in 0..50 {
        let name = |what: &str| context.name(&format!("{what}_{round}"));
        drop(channel.queue_declare(Queue::exclusive(name("dropped"))));
        let kept = channel.queue_declare(Queue::exclusive(name("kept")));
        drop(channel.queue_delete(name("dropped")));
        drop(connection.channel());
        assert_eq!(kept.await?.name, name("kept"));
    }
    // What was asked for was done all the same, and the channels that nobody got are closed.
    let left = context.node().list_queues()?;
    assert_eq!(left.iter().filter(|queue| queue.name.starts_with(&context.name("kept"))).count(), 50);
    wait::until_true(SOON, "the dropped queues to be deleted", || {
        context
            .node()
            .list_queues()
            .is_ok_and(|all| !all.iter().any(|queue| queue.name.starts_with(&context.name("dropped"))))
    })?;
    wait::until_true(SOON, "the dropped channels to go", || {
        context.node().connections_named(context.case()).is_ok_and(|all| all.len() == 1 && all[0].channels == 1)
    })?;
    Ok(connection.close().await?)
}

#[track_caller]
fn assert_given_up(error: &Error) {
    assert!(matches!(error.kind(), ErrorKind::Timeout { reason: TimeoutReason::Call { .. }, .. }), "{error}");
}

async fn p10_p12_calls_given_up_at_the_same_time_shift_no_reply_and_leave_nothing(context: Context) -> Result {
    let proxy = context.proxy()?;
    let connection = connect(named(&context, &proxy.uri()).call_timeout(Duration::from_secs(2))).await?;
    let channel = connection.channel().await?;
    let observer = open(&context).await?;
    let queue = observer.channel().await?.queue_declare(context.name("queue")).await?.name;
    observer.publisher().await?.publish("", &queue, "wanted").await?;

    proxy.stall(Direction::ToClient);
    let declares = [1, 2, 3].map(|number| {
        let (channel, name) = (channel.clone(), context.name(&format!("dropped_{number}")));
        spawn(async move { channel.queue_declare(Queue::exclusive(name)).await.map(|_| ()) })
    });
    let get = spawn({
        let (channel, queue) = (channel.clone(), queue.clone());
        async move { channel.get(&queue).await.map(|_| ()) }
    });
    let consume = spawn({
        let (channel, queue) = (channel.clone(), queue.clone());
        async move { channel.consume(&queue).await.map(|_| ()) }
    });
    let open = spawn({
        let connection = connection.clone();
        async move { connection.channel().await.map(|_| ()) }
    });
    for call in declares.into_iter().chain([get, consume, open]) {
        assert_given_up(&call.await.unwrap_err());
    }
    proxy.resume();

    // The replies to those come first, and nobody gets them. On a slow machine this may take longer than a call may.
    let name = context.name("kept");
    let kept = loop {
        match channel.queue_declare(Queue::exclusive(&name)).await {
            Ok(declared) => break declared,
            Err(error) => assert_given_up(&error),
        }
    };
    assert_eq!(kept.name, name);
    await_queue(context.node(), &queue, "the message back and no consumer", |queue| {
        (queue.ready, queue.unacknowledged, queue.consumers) == (1, 0, 0)
    });
    wait::until_true(SOON, "the channel that nobody got to go, and the observer's", || {
        let all = context.node().connections_named(context.case()).unwrap_or_default();
        all.len() == 2 && all.iter().map(|connection| connection.channels).sum::<u64>() == 1
    })?;
    connection.close().await?;
    observer.channel().await?.queue_delete(&queue).await?;
    Ok(observer.close().await?)
}

async fn c17_f24_calls_and_confirms_that_are_under_way_end_with_their_channel(context: Context) -> Result {
    let peer = Peer::start(|server| {
        let mut wire = server.accept()?;
        wire.welcome(Tune::default())?;
        let channel = wire.welcome_channel()?;
        wire.expect_method(id::CONFIRM_SELECT)?;
        wire.send_method(channel, id::CONFIRM_SELECT_OK, Args::new())?;
        // Two calls, and a publish of three frames.
        for _ in 0..2 + 3 {
            wire.read_frame()?;
        }
        let reason = Args::new().u16(404).short_string("NOT_FOUND").u16(50).u16(10);
        wire.send_method(channel, id::CHANNEL_CLOSE, reason)?;
        wire.expect_method(id::CHANNEL_CLOSE_OK)?;
        wire.expect_method(id::CONNECTION_CLOSE)?;
        wire.send_method(0, id::CONNECTION_CLOSE_OK, Args::new())
    })?;
    let connection = connect(named(&context, &peer.uri())).await?;
    let channel = connection.channel().await?;
    channel.confirm_select().await?;
    let calls = ["one", "two"].map(|name| {
        let channel = channel.clone();
        spawn(async move { channel.queue_declare(name).await })
    });
    let confirm = channel.send("", "queue", "lost").await?;
    for call in calls {
        assert_channel_closed(&call.await.unwrap_err(), 404);
    }
    let error = confirm.await.unwrap_err();
    let ErrorKind::Unknown(cause) = error.kind() else { panic!("{error}") };
    assert_channel_closed(cause, 404);
    assert_channel_closed(&channel.error().expect("the reason"), 404);
    // It has harmed nothing else.
    connection.close().await?;
    Ok(peer.finish()?)
}
