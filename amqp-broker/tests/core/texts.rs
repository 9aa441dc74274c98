//! Reply codes and texts, word for word.

use amqp_broker::Emulate;
use amqp_proto::method::{Method, basic, channel, exchange, queue};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{World, ack, bind, consume, declare, exchange as declare_exchange, get, message, passive, short};

/// What the broker answers on a fresh channel.
fn answer(version: Emulate, prepare: &[Method<'_>], method: &Method<'_>) -> String {
    let mut world = World::new(version);
    let client = world.client();
    world.pipeline(client, prepare);
    world.hear(client);
    world.pipeline(client, std::slice::from_ref(method));
    world.hear(client).join("\n")
}

#[test]
fn what_is_not_there_is_404() {
    let none = FieldTable::new();
    let here = declare("here", &none);
    let cases: [(Method<'_>, &str); 7] = [
        (passive("x"), "404 NOT_FOUND - no queue 'x' in vhost '/'"),
        (get("x"), "404 NOT_FOUND - no queue 'x' in vhost '/'"),
        (consume("x", ""), "404 NOT_FOUND - no queue 'x' in vhost '/'"),
        (bind("x", "amq.direct", "", &none), "404 NOT_FOUND - no queue 'x' in vhost '/'"),
        (bind("here", "y", "", &none), "404 NOT_FOUND - no exchange 'y' in vhost '/'"),
        (bind("x", "y", "", &none), "404 NOT_FOUND - no exchange 'y' in vhost '/'"),
        (
            exchange::Method::Declare(exchange::Declare { exchange: short("y"), passive: true, ..Default::default() })
                .into(),
            "404 NOT_FOUND - no exchange 'y' in vhost '/'",
        ),
    ];
    for (method, text) in cases {
        assert_eq!(answer(Emulate::V4_3, &[here], &method), format!("1 channel.close {text}"));
    }
    // The last declared queue is none's.
    assert_eq!(answer(Emulate::V4_3, &[], &get("")), "1 channel.close 404 NOT_FOUND - no previously declared queue");
    // What is deleted already is deleted.
    let delete = queue::Method::Delete(queue::Delete { queue: short("x"), ..Default::default() }).into();
    assert_eq!(answer(Emulate::V4_3, &[], &delete), "1 queue.delete-ok 0");
}

#[test]
fn a_redeclaration_that_differs_is_406_and_says_how() {
    let none = FieldTable::new();
    let (quorum, ttl, other_ttl, text_ttl) = (
        table! { "x-queue-type" => "quorum" },
        table! { "x-message-ttl" => 1000 },
        table! { "x-message-ttl" => 2000 },
        table! { "x-message-ttl" => "1000" },
    );
    let start = "1 channel.close 406 PRECONDITION_FAILED - inequivalent arg";
    let durable: Method<'_> =
        queue::Method::Declare(queue::Declare { queue: short("q"), durable: true, ..Default::default() }).into();
    for (version, first, second, text) in [
        (
            Emulate::V4_3,
            durable,
            declare("q", &none),
            "'durable' for queue 'q' in vhost '/': received 'false' but current is 'true'",
        ),
        (
            Emulate::V4_3,
            durable,
            declare("q", &quorum),
            "'x-queue-type' for queue 'q' in vhost '/': received 'quorum' but current is 'classic'",
        ),
        (
            Emulate::V3_10,
            durable,
            declare("q", &quorum),
            "'x-queue-type' for queue 'q' in vhost '/': received the value 'quorum' of type 'longstr' but current is none",
        ),
        (
            Emulate::V4_3,
            declare("q", &ttl),
            declare("q", &none),
            "'x-message-ttl' for queue 'q' in vhost '/': received none but current is the value '1000' of type 'signedint'",
        ),
        (
            Emulate::V4_3,
            declare("q", &none),
            declare("q", &ttl),
            "'x-message-ttl' for queue 'q' in vhost '/': received the value '1000' of type 'signedint' but current is none",
        ),
        (
            Emulate::V4_3,
            declare("q", &ttl),
            declare("q", &other_ttl),
            "'x-message-ttl' for queue 'q' in vhost '/': received '2000' but current is '1000'",
        ),
        (
            Emulate::V4_3,
            declare("q", &ttl),
            declare("q", &text_ttl),
            "'x-message-ttl' for queue 'q' in vhost '/': received '1000' but current is '1000'",
        ),
        (
            Emulate::V4_3,
            declare_exchange("q", "direct"),
            declare_exchange("q", "fanout"),
            "'type' for exchange 'q' in vhost '/': received 'fanout' but current is 'direct'",
        ),
    ] {
        assert_eq!(answer(version, &[first], &second), format!("{start} {text}"));
    }
}

#[test]
fn arguments_that_make_no_sense_are_406() {
    let start = "1 channel.close 406 PRECONDITION_FAILED - invalid arg";
    for (arguments, text) in [
        (
            table! { "x-message-ttl" => "a" },
            r#"'x-message-ttl' for queue 'q' in vhost '/': "expected integer, got longstr""#,
        ),
        (table! { "x-message-ttl" => -1 }, "'x-message-ttl' for queue 'q' in vhost '/': {value_negative,-1}"),
        (table! { "x-expires" => 0 }, "'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
        (table! { "x-max-priority" => 256 }, "'x-max-priority' for queue 'q' in vhost '/': {max_value_exceeded,256}"),
        (table! { "x-overflow" => "nope" }, "'x-overflow' for queue 'q' in vhost '/': invalid_overflow"),
        (table! { "x-overflow" => 3 }, "'x-overflow' for queue 'q' in vhost '/': {unacceptable_type,signedint}"),
        (
            table! { "x-dead-letter-routing-key" => "k" },
            "'x-dead-letter-routing-key' for queue 'q' in vhost '/': routing_key_but_no_dlx_defined",
        ),
        (
            table! { "x-delivery-limit" => 5 },
            "'x-delivery-limit' for queue 'q' in vhost '/' of queue type rabbit_classic_queue",
        ),
    ] {
        assert_eq!(answer(Emulate::V4_3, &[], &declare("q", &arguments)), format!("{start} {text}"));
    }
    let nope = table! { "x-queue-type" => "nope" };
    let text = r#"'x-queue-type' for queue 'q' in vhost '/': "unsupported queue type 'nope'""#;
    assert_eq!(answer(Emulate::V4_3, &[], &declare("q", &nope)), format!("{start} {text}"));
    let wrong = table! { "x-dead-letter-exchange" => 3 };
    let text = "invalid type 'signedint' for arg 'x-dead-letter-exchange' in queue 'q' in vhost '/'";
    assert_eq!(
        answer(Emulate::V4_3, &[], &declare("q", &wrong)),
        format!("1 channel.close 406 PRECONDITION_FAILED - {text}")
    );
}

#[test]
fn names_and_things_that_are_the_brokers_are_403() {
    let none = FieldTable::new();
    let start = "1 channel.close 403 ACCESS_REFUSED -";
    let delete: Method<'_> =
        exchange::Method::Delete(exchange::Delete { exchange: short("amq.direct"), ..Default::default() }).into();
    for (method, text) in [
        (declare("amq.mine", &none), "queue name 'amq.mine' contains reserved prefix 'amq.*'"),
        (declare_exchange("amq.mine", "topic"), "exchange name 'amq.mine' contains reserved prefix 'amq.*'"),
        (declare_exchange("", "direct"), "operation not permitted on the default exchange"),
        (bind("q", "", "k", &none), "operation not permitted on the default exchange"),
        (delete, "deletion of system exchange 'amq.direct' in vhost '/' not allowed"),
    ] {
        assert_eq!(answer(Emulate::V4_3, &[declare("q", &none)], &method), format!("{start} {text}"));
    }
}

#[test]
fn what_rabbitmq_does_not_do_is_540_and_closes_the_connection() {
    let qos = basic::Method::Qos(basic::Qos { prefetch_size: 5, prefetch_count: 0, global: false }).into();
    let recover = basic::Method::Recover(basic::Recover { requeue: false }).into();
    let flow = channel::Method::Flow(channel::Flow { active: false }).into();
    for (method, text) in
        [(qos, "prefetch_size!=0 (5) (60.10)"), (recover, "requeue=false (60.110)"), (flow, "active=false (20.20)")]
    {
        assert_eq!(answer(Emulate::V4_3, &[], &method), format!("0 connection.close 540 NOT_IMPLEMENTED - {text}"));
    }
}

#[test]
fn an_unknown_exchange_type_closes_the_channel_and_up_to_3_10_the_connection() {
    let method = declare_exchange("x", "nope");
    let text = "1 channel.close 406 PRECONDITION_FAILED - unknown exchange type 'nope'";
    assert_eq!(answer(Emulate::V4_0, &[], &method), text);
    let text = "0 connection.close 503 COMMAND_INVALID - unknown exchange type 'nope' (40.10)";
    assert_eq!(answer(Emulate::V3_10, &[], &method), text);
}

#[test]
fn an_unknown_delivery_tag_is_406_and_a_consumer_tag_used_twice_530() {
    let text = "1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 9";
    assert_eq!(answer(Emulate::V4_3, &[], &ack(9)), text);
    let none = FieldTable::new();
    let text = "0 connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 't' (60.20)";
    assert_eq!(answer(Emulate::V4_3, &[declare("q", &none), consume("q", "t")], &consume("q", "t")), text);
}

#[test]
fn publishes_to_nowhere_in_particular() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.bytes(client, &message("missing", "k", "x", &Default::default(), false));
    assert_eq!(world.hear(client), ["1 channel.close 404 NOT_FOUND - no exchange 'missing' in vhost '/'"]);
    // Everything on a closing channel is read and forgotten.
    world.bytes(client, &message("missing", "k", "x", &Default::default(), false));
    assert!(world.hear(client).is_empty());
    world.send(client, 1, channel::CloseOk {});
    world.send(client, 1, channel::Open {});
    assert_eq!(world.hear(client), ["1 channel.open-ok"]);
    let mut properties = amqp_proto::method::Properties::new();
    properties.set_user_id("bob").unwrap();
    world.bytes(client, &message("", "k", "x", &properties, false));
    let text =
        "1 channel.close 406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'";
    assert_eq!(world.hear(client), [text]);
}
