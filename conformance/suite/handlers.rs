//! Deliveries that go to a handler.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use conformance::suite::Subject;
use conformance::{Context, cases};

use crate::facade::{
    Channel, Connection, Consume, Delivery, ErrorKind, Exchange, Get, Handling, OnError, Queue, Settlement, spawn,
};
use crate::suite::support::{Result, SOON, assert_channel_closed, await_queue, open, open_once};

cases! {
    f34_each_delivery_is_handled_once_and_acked,
    f34_what_a_handler_returns_settles_its_delivery,
    f34_a_handler_may_settle_its_delivery_itself,
    f34_as_many_handlers_run_at_a_time_as_are_wanted_and_no_more,
    f34_one_at_a_time_keeps_the_order,
    f34_stop_lets_handlers_finish_and_takes_no_more_deliveries,
    f34_stop_does_not_wait_for_ever_and_puts_back_what_was_not_finished,
    f34_a_subscription_that_is_dropped_is_stopped,
    f34_a_handler_that_fails_again_and_again_does_not_spin_with_requeue_once,
    f34_p32_a_handler_that_panics_stops_nothing,
    f34_c16_f37_a_subscription_says_why_it_ended,
    f34_n9_a_handler_may_use_its_own_connection,
}

/// What handlers wait at until it is opened.
#[derive(Default)]
struct Gate(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    open: bool,
    /// How many have come.
    arrived: usize,
    wakers: Vec<Waker>,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self) {
        self.arrive();
        self.until(|waiting| waiting.open).await;
    }

    async fn arrivals(&self, count: usize) {
        self.until(|waiting| waiting.arrived >= count).await;
    }

    fn open(&self) {
        self.lock().open = true;
        self.wake();
    }

    fn arrive(&self) {
        self.lock().arrived += 1;
        self.wake();
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut self.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn until(&self, is_so: impl Fn(&Waiting) -> bool) {
        poll_fn(|cx| {
            let mut waiting = self.lock();
            if is_so(&waiting) {
                return Poll::Ready(());
            }
            waiting.wakers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.to_bytes()).into_owned()
}

async fn filled(context: &Context, queue: Queue, messages: usize) -> Result<(Connection, Channel, String)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(queue).await?.name;
    let publisher = connection.publisher().await?;
    for number in 0..messages {
        drop(publisher.send("", &queue, number.to_string()).await?);
    }
    publisher.wait_for_confirms().await?;
    Ok((connection, channel, queue))
}

fn exclusive(context: &Context) -> Queue {
    Queue::exclusive(context.name("queue"))
}

#[track_caller]
fn await_counts(node: &Subject, queue: &str, ready: u64, unacknowledged: u64, consumers: u64) {
    await_queue(node, queue, "these counts", |queue| {
        (queue.ready, queue.unacknowledged, queue.consumers) == (ready, unacknowledged, consumers)
    });
}

async fn f34_each_delivery_is_handled_once_and_acked(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 500).await?;
    let seen = Arc::new(Mutex::new(BTreeMap::<String, u32>::new()));
    let handling = Handling::default().concurrency(7);
    let subscription = channel
        .consume_with(Consume::new(&queue).prefetch(20), handling, {
            let seen = Arc::clone(&seen);
            move |delivery: Delivery| {
                let seen = Arc::clone(&seen);
                async move { *seen.lock().unwrap().entry(text(&delivery)).or_default() += 1 }
            }
        })
        .await?;
    await_counts(context.node(), &queue, 0, 0, 1);
    subscription.stop().await?;
    subscription.finished().await?;
    let handled = subscription.handled();
    assert_eq!((handled.acked, handled.in_progress, handled.requeued, handled.rejected), (500, 0, 0, 0));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert!(seen.len() == 500 && seen.values().all(|times| *times == 1), "{seen:?}");
    Ok(connection.close().await?)
}

async fn f34_what_a_handler_returns_settles_its_delivery(context: Context) -> Result {
    let dead = context.name("dead");
    let (connection, channel, queue) = filled(&context, exclusive(&context).dead_letter_exchange(&dead), 6).await?;
    channel.exchange_declare(Exchange::fanout(&dead).durable(false).auto_delete()).await?;
    let morgue = channel.queue_declare(Queue::exclusive(context.name("morgue"))).await?.name;
    channel.queue_bind(&morgue, &dead, "").await?;
    let subscription = channel
        .consume_with(&queue, Handling::default().on_error(OnError::Reject), async |delivery: Delivery| {
            match text(&delivery).as_str() {
                "1" => Ok(Settlement::Reject),
                "2" => Err("out of luck"),
                "3" if !delivery.redelivered() => Ok(Settlement::Requeue),
                "4" => Ok(Settlement::Failed),
                _ => Ok(Settlement::Ack),
            }
        })
        .await?;
    await_counts(context.node(), &queue, 0, 0, 1);
    await_counts(context.node(), &morgue, 3, 0, 0);
    let handled = subscription.handled();
    assert_eq!((handled.acked, handled.requeued, handled.rejected), (3, 1, 3));
    for body in ["1", "2", "4"] {
        let dead = channel.get(Get::new(&morgue).no_ack()).await?.expect("a dead letter");
        assert_eq!(dead.body(), body);
    }
    subscription.stop().await?;
    Ok(connection.close().await?)
}

async fn f34_a_handler_may_settle_its_delivery_itself(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 4).await?;
    let subscription = channel
        .consume_with(&queue, Handling::default().concurrency(4), async |delivery: Delivery| {
            match text(&delivery).as_str() {
                "0" => delivery.ack(),
                "1" => delivery.nack(false),
                // It is dropped here, which settles nothing, and acked then.
                _ => Ok(()),
            }
        })
        .await?;
    await_counts(context.node(), &queue, 0, 0, 1);
    // Nothing was settled twice: the channel is open.
    assert!(channel.is_open());
    assert_eq!(subscription.handled().acked, 4);
    // Without acks there is nothing to be settled.
    subscription.stop().await?;
    let subscription =
        channel.consume_with(Consume::new(&queue).no_ack(), Handling::default(), async |_: Delivery| ()).await?;
    channel.publish("", &queue, "x").await?;
    await_queue(context.node(), &queue, "the message to be gone", |queue| queue.messages == 0);
    subscription.stop().await?;
    assert!(channel.is_open());
    Ok(connection.close().await?)
}

async fn f34_as_many_handlers_run_at_a_time_as_are_wanted_and_no_more(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 40).await?;
    let (gate, running, most) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)), Arc::default());
    let most: Arc<AtomicUsize> = most;
    let subscription = channel
        .consume_with(Consume::new(&queue).prefetch(10), Handling::default().concurrency(4), {
            let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
            move |_: Delivery| {
                let (gate, running, most) = (Arc::clone(&gate), Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    gate.pass().await;
                    running.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })
        .await?;
    gate.arrivals(4).await;
    assert_eq!(subscription.handled().in_progress, 4);
    await_counts(context.node(), &queue, 30, 10, 1);
    gate.open();
    await_counts(context.node(), &queue, 0, 0, 1);
    assert_eq!(most.load(Ordering::SeqCst), 4);
    subscription.stop().await?;
    Ok(connection.close().await?)
}

async fn f34_one_at_a_time_keeps_the_order(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 100).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let subscription = channel
        .consume_with(&queue, Handling::default(), {
            let seen = Arc::clone(&seen);
            move |delivery: Delivery| {
                let seen = Arc::clone(&seen);
                async move { seen.lock().unwrap().push(text(&delivery)) }
            }
        })
        .await?;
    await_counts(context.node(), &queue, 0, 0, 1);
    subscription.stop().await?;
    assert!(seen.lock().unwrap().iter().cloned().eq((0..100).map(|number| number.to_string())));
    Ok(connection.close().await?)
}

/// A subscription whose handlers wait at a gate.
macro_rules! gated {
    ($channel:ident, $queue:ident, $gate:ident, $handling:expr) => {
        $channel
            .consume_with(Consume::new(&$queue).prefetch(6), $handling, {
                let gate = Arc::clone(&$gate);
                move |_: Delivery| {
                    let gate = Arc::clone(&gate);
                    async move { gate.pass().await }
                }
            })
            .await?
    };
}

async fn f34_stop_lets_handlers_finish_and_takes_no_more_deliveries(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 20).await?;
    let gate = Arc::new(Gate::default());
    let subscription = Arc::new(gated!(channel, queue, gate, Handling::default().concurrency(3)));
    gate.arrivals(3).await;
    let stopping = spawn({
        let subscription = Arc::clone(&subscription);
        async move { subscription.stop().await }
    });
    // What it had received and not begun is back before the handlers are done.
    await_counts(context.node(), &queue, 17, 3, 0);
    gate.open();
    stopping.await?;
    await_counts(context.node(), &queue, 17, 0, 0);
    assert_eq!(gate.lock().arrived, 3);
    assert_eq!(subscription.handled().acked, 3);
    subscription.stop().await?;
    subscription.finished().await?;
    Ok(connection.close().await?)
}

async fn f34_stop_does_not_wait_for_ever_and_puts_back_what_was_not_finished(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 5).await?;
    let gate = Arc::new(Gate::default());
    let handling = Handling::default().concurrency(2).stop_timeout(Duration::from_millis(50));
    let subscription = gated!(channel, queue, gate, handling);
    gate.arrivals(2).await;
    let error = subscription.stop().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    await_counts(context.node(), &queue, 5, 0, 0);
    assert_eq!((subscription.handled().requeued, subscription.handled().in_progress), (2, 0));
    // Handlers on threads are still there; what they say now is too late.
    gate.open();
    subscription.stop().await?;
    assert!(channel.is_open());
    Ok(connection.close().await?)
}

async fn f34_a_subscription_that_is_dropped_is_stopped(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 5).await?;
    let gate = Arc::new(Gate::default());
    let subscription = gated!(channel, queue, gate, Handling::default().concurrency(2));
    gate.arrivals(2).await;
    drop(subscription);
    await_counts(context.node(), &queue, 3, 2, 0);
    // What is running finishes.
    gate.open();
    await_counts(context.node(), &queue, 3, 0, 0);
    Ok(connection.close().await?)
}

async fn f34_a_handler_that_fails_again_and_again_does_not_spin_with_requeue_once(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 3).await?;
    let handling = Handling::default().on_error(OnError::RequeueOnce);
    let subscription = channel.consume_with(&queue, handling, async |_: Delivery| Err::<(), _>("never")).await?;
    await_counts(context.node(), &queue, 0, 0, 1);
    let handled = subscription.handled();
    assert_eq!((handled.requeued, handled.rejected, handled.acked), (3, 3, 0));
    subscription.stop().await?;
    Ok(connection.close().await?)
}

async fn f34_p32_a_handler_that_panics_stops_nothing(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 20).await?;
    for (concurrency, on_panic) in [(1, OnError::Reject), (4, OnError::RequeueOnce)] {
        let handling = Handling::default().concurrency(concurrency).on_panic(on_panic);
        let subscription = channel
            .consume_with(&queue, handling, async |delivery: Delivery| {
                if text(&delivery).ends_with('3') && !delivery.redelivered() {
                    // As a panic does, but without a word on the terminal.
                    resume_unwind(Box::new("as it should"));
                }
            })
            .await?;
        await_counts(context.node(), &queue, 0, 0, 1);
        let handled = subscription.handled();
        assert_eq!((handled.panicked, handled.in_progress), (2, 0));
        let expected = if on_panic == OnError::Reject { (18, 2, 0) } else { (20, 0, 2) };
        assert_eq!((handled.acked, handled.rejected, handled.requeued), expected);
        subscription.stop().await?;
        let publisher = connection.publisher().await?;
        for number in 0..20 {
            publisher.publish("", &queue, number.to_string()).await?;
        }
    }
    // The handle of the channel may go as well.
    let gate = Arc::new(Gate::default());
    let subscription = gated!(channel, queue, gate, Handling::default());
    drop(channel);
    gate.open();
    await_counts(context.node(), &queue, 0, 0, 1);
    subscription.stop().await?;
    Ok(connection.close().await?)
}

async fn f34_c16_f37_a_subscription_says_why_it_ended(context: Context) -> Result {
    let connection = open_once(&context).await?;
    let channel = connection.channel().await?;
    let queue = channel.queue_declare(context.name("queue")).await?.name;
    let subscription = channel.consume_with(&queue, Handling::default(), async |_: Delivery| ()).await?;
    context.node().delete_queue(&queue)?;
    let error = subscription.finished().await.unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::ConsumerCancelled { consumer_tag } if consumer_tag == subscription.tag())
    );
    // Stopping it then is fine.
    subscription.stop().await?;

    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    let subscription = channel.consume_with(&queue, Handling::default(), async |_: Delivery| ()).await?;
    let waiting = spawn(async move { subscription.finished().await });
    channel.ack(17, false)?;
    assert_channel_closed(&waiting.await.unwrap_err(), 406);

    // This side has closed it.
    let channel = connection.channel().await?;
    let subscription = channel.consume_with(&queue, Handling::default(), async |_: Delivery| ()).await?;
    channel.close().await?;
    subscription.finished().await?;
    // It never began.
    let missing =
        connection.channel().await?.consume_with("missing", Handling::default(), async |_: Delivery| ()).await;
    assert_channel_closed(&missing.unwrap_err(), 404);
    Ok(connection.close().await?)
}

async fn f34_n9_a_handler_may_use_its_own_connection(context: Context) -> Result {
    let (connection, channel, queue) = filled(&context, exclusive(&context), 5).await?;
    let replies = channel.queue_declare(Queue::exclusive(context.name("replies"))).await?.name;
    let handling = Handling::default().concurrency(2);
    let subscription = channel
        .consume_with(&queue, handling, {
            let (connection, channel, replies) = (connection.clone(), channel.clone(), replies.clone());
            move |delivery: Delivery| {
                let (connection, channel, replies) = (connection.clone(), channel.clone(), replies.clone());
                async move {
                    let declared = channel.queue_declare(Queue::exclusive(&replies)).await?;
                    let publisher = connection.publisher().await?;
                    publisher.publish("", &declared.name, text(&delivery)).await
                }
            }
        })
        .await?;
    await_queue(context.node(), &replies, "a reply to each", |queue| queue.ready == 5);
    await_counts(context.node(), &queue, 0, 0, 1);
    assert_eq!(subscription.handled().acked, 5);
    let limit = crate::facade::timeout(SOON, subscription.stop()).await;
    assert!(limit.is_ok_and(|stopped| stopped.is_ok()));
    Ok(connection.close().await?)
}
