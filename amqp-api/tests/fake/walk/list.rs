//! Every method that waits, and how to start it. A method that is missing here fails a test.
//!
//! The closure makes the future from one thing of the scene: it may be dropped at any time. If the broker has to say
//! something for it to end, that stands in `meanwhile`.

use std::sync::Arc;

use amqp_api::{BatchConfirm, Binding, Content, Delivery, Error, Exchange, Handling, Queue, Retry};

use super::{Ends, Hands, MINUTE, Walk, walk, walked};

/// A body in parts.
const LARGE: u64 = 40_000;

/// A batch.
const MESSAGES: [(&str, &str, &str); 2] = [("", "q", "one"), ("", "q", "two")];

pub(super) fn walks() -> Vec<Walk> {
    [connection(), channel(), topology(), receiving(), publishing(), streamed(), calls()]
        .into_iter()
        .flatten()
        .collect()
}

fn connection() -> Vec<Walk> {
    vec![
        walk("Connection::channel", |scene| walked(scene.connection.channel())),
        walk("Connection::publisher", |scene| walked(scene.connection.publisher())),
        walk("Connection::with_channel", |scene| {
            walked(scene.connection.with_channel(async |channel| channel.publish("", "q", "walked").await))
        }),
        walk("Connection::close", |scene| walked(scene.connection.close())).ends(Ends::Connection),
        walk("Connection::close_with", |scene| walked(scene.connection.close_with(320.into(), "enough")))
            .ends(Ends::Connection),
        walk("Connection::closed", |scene| walked(scene.connection.closed()))
            .meanwhile(|hands| drop(hands.connection.close()))
            .ends(Ends::Connection),
        walk("Connection::update_secret", |scene| walked(scene.connection.update_secret("secret", "why"))),
        walk("Events::next", |scene| walked(scene.events.next())).meanwhile(Hands::alarm),
        walk("Events::recv_timeout", |scene| walked(scene.events.recv_timeout(MINUTE))).meanwhile(Hands::alarm),
    ]
}

fn channel() -> Vec<Walk> {
    vec![
        walk("Channel::close", |scene| walked(scene.channel.close())).ends(Ends::Channel),
        walk("Channel::confirm_select", |scene| walked(scene.confirming.confirm_select())),
        walk("Channel::tx_select", |scene| walked(scene.transactional.tx_select())),
        walk("Channel::tx_commit", |scene| walked(scene.transactional.tx_commit())),
        walk("Channel::tx_rollback", |scene| walked(scene.transactional.tx_rollback())),
        walk("Channel::flow", |scene| walked(scene.channel.flow(true))),
    ]
}

fn topology() -> Vec<Walk> {
    vec![
        walk("Channel::exchange_declare", |scene| walked(scene.channel.exchange_declare(Exchange::topic("e")))),
        walk("Channel::exchange_delete", |scene| walked(scene.channel.exchange_delete("e"))),
        walk("Channel::exchange_bind", |scene| walked(scene.channel.exchange_bind("to", "from", "key"))),
        walk("Channel::exchange_unbind", |scene| walked(scene.channel.exchange_unbind("to", "from", "key"))),
        walk("Channel::queue_declare", |scene| walked(scene.channel.queue_declare(Queue::exclusive("q1")))),
        walk("Channel::queue_bind", |scene| walked(scene.channel.queue_bind("q", "e", Binding::new("key")))),
        walk("Channel::queue_unbind", |scene| walked(scene.channel.queue_unbind("q", "e", "key"))),
        walk("Channel::queue_purge", |scene| walked(scene.channel.queue_purge("q2"))),
        walk("Channel::queue_delete", |scene| walked(scene.channel.queue_delete("q3"))),
    ]
}

fn receiving() -> Vec<Walk> {
    vec![
        walk("Channel::consume", |scene| walked(scene.channel.consume("q"))),
        walk("Channel::consume_with", |scene| {
            walked(scene.channel.consume_with("q", Handling::default(), async |_: Delivery| ()))
        }),
        walk("Subscription::stop", |scene| {
            walked(async {
                let subscription = scene.channel.consume_with("q", Handling::default(), async |_: Delivery| ()).await?;
                subscription.stop().await
            })
        })
        .once(),
        walk("Subscription::finished", |scene| {
            walked(async {
                let subscription = scene.channel.consume_with("q", Handling::default(), async |_: Delivery| ()).await?;
                drop(subscription.stop());
                subscription.finished().await
            })
        })
        .once(),
        walk("Channel::cancel", |scene| walked(scene.channel.cancel("nobody's"))),
        walk("Channel::get", |scene| walked(scene.channel.get("q"))),
        walk("Channel::qos", |scene| walked(scene.channel.qos(7))),
        walk("Channel::recover", |scene| walked(scene.channel.recover(true))),
        walk("Consumer::next", |scene| walked(scene.consumer.next())).meanwhile(|hands| hands.deliver("walked")),
        walk("Consumer::recv_timeout", |scene| walked(scene.consumer.recv_timeout(MINUTE)))
            .meanwhile(|hands| hands.deliver("walked")),
        walk("Consumer::next_batch", |scene| walked(scene.consumer.next_batch(1, MINUTE)))
            .meanwhile(|hands| hands.deliver("walked")),
        walk("Consumer::set_prefetch", |scene| walked(scene.consumer.set_prefetch(7))).once(),
        walk("Consumer::cancel", |scene| walked(scene.consumer.cancel())).ends(Ends::Consumer),
        walk("Returns::next", |scene| walked(scene.returns.next())).meanwhile(|hands| hands.bring_back("walked")),
        walk("Returns::recv_timeout", |scene| walked(scene.returns.recv_timeout(MINUTE)))
            .meanwhile(|hands| hands.bring_back("walked")),
    ]
}

fn publishing() -> Vec<Walk> {
    vec![
        walk("Channel::publish", |scene| walked(scene.channel.publish("", "q", "walked"))),
        walk("Channel::publish", |scene| walked(scene.channel.publish("", "q", "walked"))).without_room(),
        walk("Channel::send", |scene| walked(scene.confirming.send("", "q", "walked"))),
        walk("Channel::send", |scene| walked(scene.confirming.send("", "q", "walked"))).without_room(),
        walk("Publisher::publish", |scene| walked(scene.publisher.publish("", "q", "walked"))),
        walk("Publisher::publish", |scene| walked(scene.publisher.publish("", "q", "walked"))).without_room(),
        walk("Publisher::send", |scene| walked(scene.publisher.send("", "q", "walked"))),
        walk("Publisher::send", |scene| walked(scene.publisher.send("", "q", "walked"))).without_room(),
        walk("Channel::reply", |scene| walked(scene.channel.reply(&scene.request, "walked"))),
        walk("Channel::reply", |scene| walked(scene.channel.reply(&scene.request, "walked"))).without_room(),
        walk("Publisher::reply", |scene| walked(scene.publisher.reply(&scene.request, "walked"))),
        walk("Publisher::reply", |scene| walked(scene.publisher.reply(&scene.request, "walked"))).without_room(),
        walk("Publisher::publish_batch", |scene| walked(scene.publisher.publish_batch(MESSAGES))),
        walk("Publisher::publish_batch", |scene| walked(scene.publisher.publish_batch(MESSAGES))).without_room(),
        walk("Publisher::send_batch", |scene| walked(scene.publisher.send_batch(MESSAGES))),
        walk("Publisher::send_batch", |scene| walked(scene.publisher.send_batch(MESSAGES))).without_room(),
        walk("Channel::wait_for_confirms", |scene| {
            scene.send_unread();
            walked(scene.confirming.wait_for_confirms())
        }),
        walk("Publisher::wait_for_confirms", |scene| {
            scene.send_unread();
            walked(scene.publisher.wait_for_confirms())
        }),
        walk("BatchConfirm::outcome", |scene| walked(scene.send_batch(BatchConfirm::outcome))),
        walk("BatchConfirm::wait", |scene| walked(scene.send_batch(BatchConfirm::wait))),
        walk("BatchConfirm::await", |scene| walked(scene.send_batch(|confirm| confirm))),
        walk("Confirm::outcome", |scene| walked(scene.publisher.try_send("", "q", "walked").unwrap().outcome())),
        walk("Confirm::wait", |scene| walked(scene.publisher.try_send("", "q", "walked").unwrap().wait())),
        walk("Confirm::await", |scene| walked(scene.publisher.try_send("", "q", "walked").unwrap())),
    ]
}

fn streamed() -> Vec<Walk> {
    vec![
        walk("Connection::publish_streamed", |scene| walked(scene.connection.publish_streamed("", "q", "", LARGE))),
        walk("BodyWriter::write", |scene| walked(async { scene.write_body(LARGE - 1).await.map(drop) })),
        walk("BodyWriter::write", |scene| walked(async { scene.write_body(LARGE - 1).await.map(drop) })).without_room(),
        walk("BodyWriter::finish", |scene| walked(async { scene.write_body(LARGE).await?.finish().await })),
        walk("Channel::consume_streamed", |scene| walked(scene.channel.consume_streamed("q"))),
        walk("StreamedConsumer::next", |scene| walked(async { scene.consume_streamed().await.next().await })),
        walk("StreamedConsumer::recv_timeout", |scene| {
            walked(async { scene.consume_streamed().await.recv_timeout(MINUTE).await })
        }),
        // The consumer of the one that was dropped is cancelled as well, and that is answered in between.
        walk("StreamedConsumer::cancel", |scene| walked(async { scene.consume_streamed().await.cancel().await }))
            .once(),
        walk("StreamedConsumer::set_prefetch", |scene| {
            walked(async { scene.consume_streamed().await.set_prefetch(7).await })
        })
        .once(),
        walk("StreamedDelivery::chunk", |scene| {
            walked(async { scene.consume_streamed().await.next().await.unwrap().unwrap().chunk().await })
        }),
        walk("StreamedDelivery::read", |scene| {
            walked(async { scene.consume_streamed().await.next().await.unwrap().unwrap().read(&mut [0; 9]).await })
        }),
        walk("BodyStream::chunk", |scene| {
            walked(async {
                let (mut body, acker) = scene.consume_streamed().await.next().await.unwrap().unwrap().into_parts();
                acker.ack().unwrap();
                body.chunk().await
            })
        }),
        walk("BodyStream::read", |scene| {
            walked(async {
                let (mut body, acker) = scene.consume_streamed().await.next().await.unwrap().unwrap().into_parts();
                acker.ack().unwrap();
                body.read(&mut [0; 9]).await
            })
        }),
    ]
}

fn calls() -> Vec<Walk> {
    vec![
        walk("Connection::rpc_client", |scene| walked(scene.connection.rpc_client())),
        walk("RpcClient::call", |scene| walked(scene.rpc.call("", "q", "walked"))),
        walk("RpcClient::call", |scene| walked(scene.rpc.call("", "q", "walked"))).without_room(),
        walk("Connection::rpc_server", |scene| {
            let handler = async |_: Delivery| Ok::<_, Error>("reply");
            walked(scene.connection.rpc_server("q", Handling::default(), handler))
        }),
        walk("Connection::consume_with_retry", |scene| {
            let handler = async |_: Arc<Content>| Ok::<_, Error>(());
            walked(scene.connection.consume_with_retry(Retry::new("q"), Handling::default(), handler))
        }),
    ]
}
