//! Quorum queues, as far as a client sees that they are.

use amqp_broker::Emulate;
use amqp_proto::method::{Method, Properties, channel, queue};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{Client, World, cancel, consume, get, message, nack, passive, qos, reject, short, take};

fn world(version: Emulate) -> (World, Client) {
    let mut world = World::new(version);
    let client = world.client();
    world.declare(client, "dead", &FieldTable::new());
    let arguments = table! {
        "x-queue-type" => "quorum",
        "x-delivery-limit" => 2,
        "x-dead-letter-exchange" => "",
        "x-dead-letter-routing-key" => "dead",
    };
    world.declare(client, "q", &arguments);
    world.publish(client, "", "q", "m");
    (world, client)
}

#[test]
fn returns_are_counted_told_and_limited() {
    let (mut world, client) = world(Emulate::V4_0);
    let headers = [
        "  header 1",
        r#"  header 1 { headers: {"x-delivery-count": 1i64} }"#,
        r#"  header 1 { headers: {"x-delivery-count": 2i64} }"#,
    ];
    for (tag, header) in (1..).zip(headers) {
        assert_eq!(world.ask(client, get("q"))[1], header);
        world.send(client, 1, nack(tag, false, true));
    }
    assert_eq!(world.ask(client, get("q")), ["1 basic.get-empty"]);
    let heard = world.ask(client, take("dead"));
    assert!(heard[1].contains(r#""reason": "delivery_limit""#), "{heard:?}");
}

#[test]
fn since_4_3_a_nack_is_no_failure_and_a_reject_is_one() {
    let (mut world, client) = world(Emulate::V4_3);
    for tag in 1..=5 {
        world.ask(client, get("q"));
        world.send(client, 1, nack(tag, false, true));
    }
    let heard = world.ask(client, get("q"));
    assert_eq!(heard[1], r#"  header 1 { headers: {"x-acquired-count": 5i64} }"#);
    world.send(client, 1, reject(6, true));
    assert!(world.ask(client, get("q"))[1].contains(r#""x-delivery-count": 1i64"#));
    world.pipeline(client, &[reject(7, true), get("q"), reject(8, true)]);
    world.hear(client);
    assert_eq!(world.ask(client, take("dead")).last().map(String::as_str), Some("  body m"));
}

#[test]
fn what_they_cannot_do_is_540_and_what_they_cannot_be_is_406() {
    let (mut world, client) = world(Emulate::V4_0);
    world.send(client, 1, qos(5, true));
    world.hear(client);
    let text = "0 connection.close 540 NOT_IMPLEMENTED - queue 'q' in vhost '/' does not support global qos (60.20)";
    assert_eq!(world.ask(client, consume("q", "t")), [text]);
    let client = world.client();
    let delete = queue::Method::Delete(queue::Delete { queue: short("q"), if_unused: true, ..Default::default() });
    let text = "0 connection.close 540 NOT_IMPLEMENTED - cannot delete queue 'q' in vhost '/'. queue.delete operations \
                with if-unused flag set are not supported by quorum queues (50.40)";
    assert_eq!(world.ask(client, delete), [text]);
    let client = world.client();
    let arguments = table! { "x-queue-type" => "quorum" };
    let transient = queue::Declare { queue: short("t"), arguments: arguments.as_ref(), ..Default::default() };
    let text = "1 channel.close 406 PRECONDITION_FAILED - invalid property 'non-durable' for queue 't' in vhost '/'";
    assert_eq!(world.ask(client, queue::Method::Declare(transient)), [text]);
}

#[test]
fn who_asks_is_told_of_a_count_of_none_by_3_10_but_consumers_are_not() {
    let (mut world, client) = world(Emulate::V3_10);
    assert_eq!(world.ask(client, get("q"))[1], r#"  header 1 { headers: {"x-delivery-count": 0i64} }"#);
    world.publish(client, "", "q", "m");
    assert_eq!(world.ask(client, consume("q", "t"))[2], "  header 1");
}

#[test]
fn what_differs_in_a_second_declaration_is_told_in_an_order_of_the_type() {
    for (version, received) in [(Emulate::V3_10, "none"), (Emulate::V4_3, "'classic'")] {
        let (mut world, client) = world(version);
        let arguments = table! { "x-message-ttl" => 5 };
        let declare =
            queue::Declare { queue: short("q"), durable: true, arguments: arguments.as_ref(), ..Default::default() };
        let heard = world.ask(client, queue::Method::Declare(declare));
        // The time to live would be the first of a classic queue's.
        assert!(heard[0].contains("inequivalent arg 'x-dead-letter-exchange'"), "{heard:?}");
        let arguments =
            table! { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "dead", "x-message-ttl" => 5 };
        let declare =
            queue::Declare { queue: short("q"), durable: true, arguments: arguments.as_ref(), ..Default::default() };
        let client = world.client();
        let heard = world.ask(client, queue::Method::Declare(declare));
        let text = format!("inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received {received}");
        assert!(heard[0].contains(&text), "{heard:?}");
    }
}

#[test]
fn with_a_single_active_consumer_nobody_gets() {
    for (version, kind) in [(Emulate::V4_0, "quorum"), (Emulate::V4_3, r#"<<"quorum">>"#)] {
        let (mut world, client) = world(version);
        world.declare(client, "single", &table! { "x-queue-type" => "quorum", "x-single-active-consumer" => true });
        let heard = world.ask(client, get("single"));
        assert!(heard[0].contains(&format!("not supported by {kind} queues with single active consumer")), "{heard:?}");
    }
}

#[test]
fn properties_count_for_the_limit_of_bytes_since_4_3() {
    // A body of 9 bytes, 2 of property flags and 16 of a header.
    for (version, limit, fit) in [(Emulate::V4_0, 9, 1), (Emulate::V4_3, 26, 0), (Emulate::V4_3, 27, 1)] {
        let mut world = World::new(version);
        let client = world.client();
        world.declare(client, "q", &table! { "x-queue-type" => "quorum", "x-max-length-bytes" => limit });
        let mut properties = Properties::new();
        properties.set_headers(table! { "k" => "value" }).unwrap();
        world.bytes(client, &message("", "q", "nine byte", &properties, false));
        assert_eq!(world.ask(client, passive("q")), [format!("1 queue.declare-ok q {fit} 0")], "{version:?}");
    }
}

#[test]
fn what_its_death_adds_to_a_message_counts_for_no_limit() {
    for (limit, fit) in [(10, 0), (11, 1)] {
        let mut world = World::new(Emulate::V4_3);
        let client = world.client();
        world.declare(client, "to", &table! { "x-queue-type" => "quorum", "x-max-length-bytes" => limit });
        let arguments =
            table! { "x-message-ttl" => 0, "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "to" };
        world.declare(client, "q", &arguments);
        world.publish(client, "", "q", "nine byte");
        assert_eq!(world.ask(client, passive("to")), [format!("1 queue.declare-ok to {fit} 0")]);
    }
}

#[test]
fn headers_keep_their_order_on_3_10_until_one_is_added() {
    let (mut world, client) = world(Emulate::V3_10);
    world.declare(client, "other", &table! { "x-queue-type" => "quorum" });
    world.declare(client, "classic", &FieldTable::new());
    let mut properties = Properties::new();
    properties.set_headers(table! { "z" => 1, "y" => 2 }).unwrap();
    let added = r#""x-delivery-count": 0i64, "y": 2i32, "z": 1i32"#;
    for (queue, headers) in [("classic", r#""z": 1i32, "y": 2i32"#), ("other", added)] {
        world.bytes(client, &message("", queue, "m", &properties, false));
        assert_eq!(world.ask(client, get(queue))[1], format!("  header 1 {{ headers: {{{headers}}} }}"));
    }
}

/// Publishes messages of these priorities, and says in which order they come out.
fn order(version: Emulate, priorities: &[Option<u8>]) -> Vec<String> {
    let mut world = World::new(version);
    let client = world.client();
    world.declare(client, "q", &table! { "x-queue-type" => "quorum" });
    for priority in priorities {
        let mut properties = Properties::new();
        if let Some(priority) = priority {
            properties.set_priority(*priority);
        }
        let body = priority.map_or("-".to_owned(), |priority| priority.to_string());
        world.bytes(client, &message("", "q", &body, &properties, false));
    }
    let bodies = priorities.iter().map(|_| world.ask(client, take("q")).pop().unwrap());
    bodies.map(|line| line.replace("  body ", "")).collect()
}

#[test]
fn f14_priorities_mean_something_else_in_each_version() {
    let priorities = [None, Some(1), Some(4), Some(5), Some(0), Some(9), Some(31), Some(40), Some(3), None];
    // As measured at RabbitMQ.
    assert_eq!(order(Emulate::V3_10, &priorities), ["-", "1", "4", "5", "0", "9", "31", "40", "3", "-"]);
    assert_eq!(order(Emulate::V4_0, &priorities), ["5", "9", "-", "31", "40", "1", "4", "0", "3", "-"]);
    assert_eq!(order(Emulate::V4_3, &priorities), ["31", "40", "9", "5", "-", "4", "-", "3", "1", "0"]);
}

#[test]
fn without_a_delivery_limit_what_is_put_back_goes_last_before_4_3() {
    for (version, limit, next) in [
        (Emulate::V3_10, None, "n"),
        (Emulate::V3_10, Some(5), "m"),
        (Emulate::V4_0, None, "m"),
        (Emulate::V4_0, Some(-1), "n"),
        (Emulate::V4_3, Some(-1), "m"),
    ] {
        let mut world = World::new(version);
        let client = world.client();
        let mut arguments = table! { "x-queue-type" => "quorum" };
        if let Some(limit) = limit {
            arguments.insert("x-delivery-limit", limit).unwrap();
        }
        world.declare(client, "q", &arguments);
        world.publish(client, "", "q", "m");
        world.publish(client, "", "q", "n");
        world.ask(client, get("q"));
        world.send(client, 1, nack(1, false, true));
        let body = world.ask(client, take("q")).pop().unwrap();
        assert_eq!(body, format!("  body {next}"), "{version:?}, {limit:?}");
        // What comes back because its channel has gone is first.
        let other = world.client();
        world.publish(client, "", "q", "o");
        world.ask(other, get("q"));
        let got = world.ask(client, passive("q"));
        assert_eq!(got, ["1 queue.declare-ok q 1 1"]);
        world.send(other, 1, Method::from(channel::Close::default()));
        world.hear(other);
        assert_ne!(world.ask(client, take("q")).pop().unwrap(), "  body o");
    }
}

#[test]
fn on_3_10_nothing_comes_back_within_a_negative_delivery_limit() {
    let mut world = World::new(Emulate::V3_10);
    let client = world.client();
    world.declare(client, "q", &table! { "x-queue-type" => "quorum", "x-delivery-limit" => -1 });
    world.publish(client, "", "q", "m");
    world.ask(client, get("q"));
    world.send(client, 1, nack(1, false, true));
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 0 0"]);
}

#[test]
fn gets_and_cancelled_consumers_count_as_consumers_until_they_have_settled() {
    let (mut world, client) = world(Emulate::V4_0);
    world.publish(client, "", "q", "n");
    let count = |world: &mut World| world.ask(client, passive("q")).pop().unwrap();
    world.ask(client, get("q"));
    assert_eq!(count(&mut world), "1 queue.declare-ok q 1 1");
    world.send(client, 1, nack(1, false, true));
    assert_eq!(count(&mut world), "1 queue.declare-ok q 2 0");

    world.pipeline(client, &[qos(1, false), consume("q", "c"), cancel("c")]);
    world.hear(client);
    assert_eq!(count(&mut world), "1 queue.declare-ok q 1 1");
    let again = world.ask(client, consume("q", "c"));
    assert_eq!(again, ["1 basic.consume-ok c"], "what it held before counts for its prefetch");
    assert_eq!(count(&mut world), "1 queue.declare-ok q 1 1");
    assert_eq!(world.ask(client, nack(2, false, false))[0], "1 basic.deliver c 3 q");
}

#[test]
fn of_consumers_of_which_one_is_active_it_alone_is_counted() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &table! { "x-queue-type" => "quorum", "x-single-active-consumer" => true });
    world.pipeline(client, &[consume("q", "a"), consume("q", "b")]);
    world.hear(client);
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 0 1"]);
}
