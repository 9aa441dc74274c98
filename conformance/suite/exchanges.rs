//! Exchanges and bindings.

use conformance::{Context, cases};

use crate::facade::{Binding, Channel, Connection, Exchange, ExchangeDelete, Get, Message, Queue};
use crate::suite::support::{Result, assert_channel_closed, assert_connection_closed, open, open_once, version};

cases! {
    a9_a_direct_exchange_routes_by_the_key,
    a9_a_fanout_exchange_routes_to_all,
    a9_a_topic_exchange_routes_by_patterns,
    a9_a_headers_exchange_routes_by_headers,
    a9_an_unknown_exchange_type_is_an_error_that_names_it,
    a9_the_broker_has_the_exchange_as_it_was_declared,
    a9_f22_a_passive_declare_finds_an_exchange_or_is_404,
    a9_an_exchange_redeclared_otherwise_is_406,
    a9_an_exchange_is_deleted_twice_and_unless_it_is_used,
    a9_exchanges_are_bound_to_exchanges_and_unbound,
    a9_a_queue_is_unbound_and_nothing_is_routed_any_more,
    a9_bindings_of_what_is_missing_are_404,
    an_internal_exchange_takes_no_publish,
    names_that_begin_with_amq_are_403,
    an_alternate_exchange_gets_what_is_not_routed,
    f22_declaring_and_binding_without_waiting_works,
}

/// An exchange of this kind, and queues that are bound to it by these bindings.
async fn bound(
    context: &Context,
    exchange: fn(String) -> Exchange,
    bindings: &[Binding],
) -> Result<(Connection, Channel, String, Vec<String>)> {
    let connection = open(context).await?;
    let channel = connection.channel().await?;
    let name = context.name("exchange");
    channel.exchange_declare(exchange(name.clone()).auto_delete()).await?;
    let mut queues = Vec::new();
    for binding in bindings {
        let queue = channel.queue_declare(Queue::server_named()).await?.name;
        channel.queue_bind(&queue, &name, binding.clone()).await?;
        queues.push(queue);
    }
    channel.confirm_select().await?;
    Ok((connection, channel, name, queues))
}

/// Publishes a message, and says which of the queues it was routed to.
async fn routed(
    channel: &Channel,
    exchange: &str,
    key: &str,
    message: impl Into<Message<'static>>,
    queues: &[String],
) -> Result<Vec<usize>> {
    channel.send(exchange, key, message).await?.await?;
    let mut routed = Vec::new();
    for (index, queue) in queues.iter().enumerate() {
        if let Some(delivery) = channel.get(Get::new(queue).no_ack()).await? {
            assert_eq!((delivery.exchange(), delivery.routing_key()), (exchange, key));
            routed.push(index);
        }
        assert!(channel.get(Get::new(queue).no_ack()).await?.is_none(), "it came twice");
    }
    Ok(routed)
}

async fn a9_a_direct_exchange_routes_by_the_key(context: Context) -> Result {
    let bindings = [Binding::new("a"), Binding::new("b"), Binding::new("a")];
    let (connection, channel, exchange, queues) = bound(&context, Exchange::direct, &bindings).await?;
    for (key, expected) in [("a", &[0, 2][..]), ("b", &[1]), ("c", &[]), ("", &[])] {
        assert_eq!(routed(&channel, &exchange, key, key, &queues).await?, expected, "{key:?}");
    }
    Ok(connection.close().await?)
}

async fn a9_a_fanout_exchange_routes_to_all(context: Context) -> Result {
    let bindings = [Binding::new("a"), Binding::default()];
    let (connection, channel, exchange, queues) = bound(&context, Exchange::fanout, &bindings).await?;
    for key in ["a", "b", ""] {
        assert_eq!(routed(&channel, &exchange, key, key, &queues).await?, [0, 1]);
    }
    Ok(connection.close().await?)
}

async fn a9_a_topic_exchange_routes_by_patterns(context: Context) -> Result {
    let bindings = ["a.*", "a.#", "*.b", "#"].map(Binding::new);
    let (connection, channel, exchange, queues) = bound(&context, Exchange::topic, &bindings).await?;
    for (key, expected) in [("a", &[1, 3][..]), ("a.b", &[0, 1, 2, 3]), ("a.b.c", &[1, 3]), ("c", &[3]), ("", &[3])] {
        assert_eq!(routed(&channel, &exchange, key, key, &queues).await?, expected, "{key:?}");
    }
    Ok(connection.close().await?)
}

async fn a9_a_headers_exchange_routes_by_headers(context: Context) -> Result {
    let pdf = |how: &str| Binding::default().argument("x-match", how).argument("format", "pdf").argument("pages", 2);
    let (connection, channel, exchange, queues) = bound(&context, Exchange::headers, &[pdf("all"), pdf("any")]).await?;
    for (format, pages, expected) in [("pdf", 2, &[0, 1][..]), ("pdf", 3, &[1]), ("txt", 2, &[1]), ("txt", 3, &[])] {
        let message = Message::new("body").header("format", format).header("pages", pages);
        assert_eq!(routed(&channel, &exchange, "", message, &queues).await?, expected, "{format} {pages}");
    }
    Ok(connection.close().await?)
}

async fn a9_an_unknown_exchange_type_is_an_error_that_names_it(context: Context) -> Result {
    let connection = open_once(&context).await?;
    let channel = connection.channel().await?;
    let exchange = Exchange::custom(context.name("exchange"), "no-such-type");
    let error = channel.exchange_declare(exchange).await.unwrap_err();
    assert!(error.to_string().contains("no-such-type"), "{error}");
    if version(context.node()) >= (4, 0) {
        assert_channel_closed(&error, 406);
        return Ok(connection.close().await?);
    }
    assert_connection_closed(&error, 503);
    assert_connection_closed(&connection.closed().await.unwrap_err(), 503);
    Ok(())
}

async fn a9_the_broker_has_the_exchange_as_it_was_declared(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    for (number, (durable, auto_delete, internal)) in
        [(true, false, false), (false, true, false), (false, false, true), (true, true, true)].into_iter().enumerate()
    {
        let name = context.name(&number.to_string());
        let mut exchange = Exchange::fanout(&name).durable(durable).argument("x-note", "noted");
        if auto_delete {
            exchange = exchange.auto_delete();
        }
        if internal {
            exchange = exchange.internal();
        }
        channel.exchange_declare(exchange).await?;
        let all = context.node().list_exchanges()?;
        let seen = all.iter().find(|exchange| exchange.name == name).expect("the exchange");
        assert_eq!((seen.durable, seen.auto_delete, seen.internal), (durable, auto_delete, internal));
        assert_eq!((seen.kind.as_str(), seen.arguments["x-note"].as_str()), ("fanout", "noted"));
        channel.exchange_delete(&name).await?;
        assert!(!context.node().list_exchanges()?.iter().any(|exchange| exchange.name == name));
    }
    Ok(connection.close().await?)
}

async fn a9_f22_a_passive_declare_finds_an_exchange_or_is_404(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let name = context.name("exchange");
    channel.exchange_declare(Exchange::topic(&name).durable(false)).await?;
    // Whatever its type.
    channel.exchange_declare(Exchange::direct(&name).passive()).await?;
    channel.exchange_delete(&name).await?;
    let error = channel.exchange_declare(Exchange::topic(&name).passive()).await.unwrap_err();
    assert_channel_closed(&error, 404);
    Ok(connection.close().await?)
}

async fn a9_an_exchange_redeclared_otherwise_is_406(context: Context) -> Result {
    let connection = open(&context).await?;
    let name = context.name("exchange");
    let declared = || Exchange::topic(&name).auto_delete();
    let channel = connection.channel().await?;
    channel.exchange_declare(declared()).await?;
    channel.exchange_declare(declared()).await?;
    for other in [
        Exchange::direct(&name).auto_delete(),
        Exchange::topic(&name),
        declared().durable(false),
        declared().internal(),
        declared().alternate_exchange("amq.fanout"),
    ] {
        let error = connection.channel().await?.exchange_declare(other).await.unwrap_err();
        assert_channel_closed(&error, 406);
        assert!(error.to_string().contains(&name), "{error}");
    }
    channel.exchange_delete(&name).await?;
    Ok(connection.close().await?)
}

async fn a9_an_exchange_is_deleted_twice_and_unless_it_is_used(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let name = context.name("exchange");
    channel.exchange_declare(Exchange::topic(&name)).await?;
    let queue = channel.queue_declare(Queue::server_named()).await?.name;
    channel.queue_bind(&queue, &name, "key").await?;
    let unless_used = || ExchangeDelete::new(&name).if_unused();
    assert_channel_closed(&connection.channel().await?.exchange_delete(unless_used()).await.unwrap_err(), 406);
    channel.exchange_declare(Exchange::topic(&name).passive()).await?;
    channel.queue_unbind(&queue, &name, "key").await?;
    channel.exchange_delete(unless_used()).await?;
    // RabbitMQ takes what is not there for deleted.
    channel.exchange_delete(&name).await?;
    channel.exchange_delete(unless_used()).await?;
    Ok(connection.close().await?)
}

async fn a9_exchanges_are_bound_to_exchanges_and_unbound(context: Context) -> Result {
    let (connection, channel, destination, queues) = bound(&context, Exchange::fanout, &[Binding::default()]).await?;
    let source = context.name("source");
    channel.exchange_declare(Exchange::topic(&source).auto_delete()).await?;
    channel.exchange_bind(&destination, &source, Binding::new("a.*").argument("x-note", "noted")).await?;
    channel.exchange_bind(&destination, &source, "b").await?;
    let all = context.node().list_bindings()?;
    let seen: Vec<_> = all.iter().filter(|binding| binding.source == source).collect();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|binding| binding.destination == destination && binding.destination_kind == "exchange"));
    for (key, expected) in [("a.b", &[0][..]), ("b", &[0]), ("c", &[])] {
        assert_eq!(routed(&channel, &source, key, key, &queues).await?, expected, "{key}");
    }
    // What is unbound has to be what was bound, arguments included; what is not bound is as good as unbound.
    channel.exchange_unbind(&destination, &source, "a.*").await?;
    assert_eq!(routed(&channel, &source, "a.b", "body", &queues).await?, [0]);
    channel.exchange_unbind(&destination, &source, Binding::new("a.*").argument("x-note", "noted")).await?;
    assert!(routed(&channel, &source, "a.b", "body", &queues).await?.is_empty());
    assert_eq!(routed(&channel, &source, "b", "body", &queues).await?, [0]);
    channel.exchange_unbind(&destination, &source, "b").await?;
    // That was the last binding, so it has gone.
    let error = channel.exchange_declare(Exchange::topic(&source).passive()).await.unwrap_err();
    assert_channel_closed(&error, 404);
    Ok(connection.close().await?)
}

async fn a9_a_queue_is_unbound_and_nothing_is_routed_any_more(context: Context) -> Result {
    let (connection, channel, exchange, queues) =
        bound(&context, Exchange::direct, &["a", "b"].map(Binding::new)).await?;
    channel.queue_bind(&queues[0], &exchange, "c").await?;
    channel.queue_unbind(&queues[0], &exchange, "a").await?;
    channel.queue_unbind(&queues[0], &exchange, "a").await?;
    for (key, expected) in [("a", &[][..]), ("b", &[1]), ("c", &[0])] {
        assert_eq!(routed(&channel, &exchange, key, key, &queues).await?, expected, "{key}");
    }
    Ok(connection.close().await?)
}

async fn a9_bindings_of_what_is_missing_are_404(context: Context) -> Result {
    let connection = open(&context).await?;
    let queue = connection.channel().await?.queue_declare(Queue::exclusive(context.name("queue"))).await?.name;
    let missing = context.name("missing");
    for (queue, exchange) in [(&*missing, "amq.direct"), (&*queue, &*missing)] {
        let error = connection.channel().await?.queue_bind(queue, exchange, "key").await.unwrap_err();
        assert_channel_closed(&error, 404);
    }
    for (destination, source) in [(&*missing, "amq.direct"), ("amq.direct", &*missing)] {
        let error = connection.channel().await?.exchange_bind(destination, source, "key").await.unwrap_err();
        assert_channel_closed(&error, 404);
    }
    Ok(connection.close().await?)
}

async fn an_internal_exchange_takes_no_publish(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let name = context.name("exchange");
    channel.exchange_declare(Exchange::fanout(&name).durable(false).internal()).await?;
    let publisher = connection.publisher().await?;
    let error = publisher.publish(&name, "", "body").await.unwrap_err();
    assert_eq!(error.reply_code().map(|code| code.0), Some(403), "{error}");
    channel.exchange_delete(&name).await?;
    Ok(connection.close().await?)
}

async fn names_that_begin_with_amq_are_403(context: Context) -> Result {
    let connection = open(&context).await?;
    let exchange = connection.channel().await?.exchange_declare(Exchange::direct("amq.mine")).await;
    assert_channel_closed(&exchange.unwrap_err(), 403);
    let queue = connection.channel().await?.queue_declare("amq.mine").await;
    assert_channel_closed(&queue.unwrap_err(), 403);
    Ok(connection.close().await?)
}

async fn an_alternate_exchange_gets_what_is_not_routed(context: Context) -> Result {
    let (connection, channel, alternate, queues) = bound(&context, Exchange::fanout, &[Binding::default()]).await?;
    let name = context.name("picky");
    channel.exchange_declare(Exchange::direct(&name).durable(false).alternate_exchange(&alternate)).await?;
    assert_eq!(routed(&channel, &name, "key", Message::new("body").mandatory(true), &queues).await?, [0]);
    channel.exchange_delete(&name).await?;
    Ok(connection.close().await?)
}

async fn f22_declaring_and_binding_without_waiting_works(context: Context) -> Result {
    let connection = open(&context).await?;
    let channel = connection.channel().await?;
    let (one, two) = (context.name("one"), context.name("two"));
    channel.exchange_declare(Exchange::fanout(&one).auto_delete().nowait()).await?;
    channel.exchange_declare(Exchange::fanout(&two).auto_delete().nowait()).await?;
    channel.exchange_bind(&two, &one, Binding::default().nowait()).await?;
    let queue = channel.queue_declare(Queue::exclusive(context.name("queue")).nowait()).await?;
    assert_eq!((queue.name, queue.message_count), (context.name("queue"), 0));
    channel.queue_bind(context.name("queue"), &two, Binding::default().nowait()).await?;
    channel.confirm_select().await?;
    assert_eq!(routed(&channel, &one, "key", "body", &[context.name("queue")]).await?, [0]);
    channel.exchange_unbind(&two, &one, Binding::default().nowait()).await?;
    channel.exchange_delete(ExchangeDelete::new(&two).nowait()).await?;
    assert_channel_closed(&channel.exchange_declare(Exchange::fanout(&two).passive()).await.unwrap_err(), 404);
    Ok(connection.close().await?)
}
