//! What is told of the dead.

use std::time::Duration;

use amqp_broker::Emulate;
use amqp_proto::method::Properties;
use amqp_proto::table;
use amqp_proto::wire::{FieldTable, FieldValue};

use super::peer::{Client, World, bind, confirms, exchange, get, message, passive, purge, reject, take};

fn world(version: Emulate) -> (World, Client) {
    let mut world = World::new(version);
    let client = world.client();
    world.declare(client, "dead", &FieldTable::new());
    let arguments = table! { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "dead" };
    world.declare(client, "q", &arguments);
    (world, client)
}

#[test]
fn c9_a_rejected_message_tells_where_it_died_why_and_when() {
    let (mut world, client) = world(Emulate::V4_3);
    let mut properties = Properties::new();
    properties.set_expiration("60000").unwrap();
    properties.insert_header("k", 1).unwrap();
    world.bytes(client, &message("", "q", "m", &properties, false));
    world.ask(client, get("q"));
    world.send(client, 1, reject(1, false));
    let heard = world.ask(client, take("dead"));
    assert_eq!(heard[0], "1 basic.get-ok 2 again dead left 0", "4.3 calls it redelivered");
    let death = r#"{"original-expiration": "60000", "count": 1i64, "reason": "rejected", "queue": "q", "#.to_owned()
        + r#""time": Timestamp(1000000), "exchange": "", "routing-keys": ["q"]}"#;
    let headers = format!(
        r#"{{"k": 1i32, "x-death": [{death}], "x-first-death-exchange": "", "x-first-death-queue": "q", "x-first-death-reason": "rejected", "x-last-death-exchange": "", "x-last-death-queue": "q", "x-last-death-reason": "rejected"}}"#
    );
    assert_eq!(heard[1], format!("  header 1 {{ headers: {headers} }}"), "and has no expiration any more");
}

#[test]
fn an_expired_message_goes_to_its_dead_letter_queue_and_a_second_death_is_counted() {
    let (mut world, client) = world(Emulate::V4_0);
    let back = table! { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "q" };
    world.declare(client, "loop", &back);
    let mut properties = Properties::new();
    properties.set_expiration("10").unwrap();
    world.bytes(client, &message("", "q", "m", &properties, false));
    world.sleep(Duration::from_millis(9));
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 0 0"]);
    world.sleep(Duration::from_millis(2));
    let heard = world.ask(client, take("dead"));
    assert!(heard[1].contains(r#""reason": "expired", "queue": "q""#), "{heard:?}");

    world.publish(client, "", "loop", "m");
    for (tag, queue) in [(2, "loop"), (3, "q")] {
        world.ask(client, get(queue));
        world.send(client, 1, reject(tag, false));
    }
    let heard = world.ask(client, take("dead"));
    assert!(heard[1].contains(r#""x-first-death-queue": "loop""#) && heard[1].contains(r#""x-last-death-queue": "q""#));
}

#[test]
fn a_message_that_goes_round_by_itself_is_dropped() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let ring = |next: &str| table! { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => next, "x-message-ttl" => 10 };
    world.declare(client, "a", &ring("b"));
    world.declare(client, "b", &ring("a"));
    world.publish(client, "", "a", "m");
    world.sleep(Duration::from_millis(15));
    assert_eq!(world.ask(client, passive("b")), ["1 queue.declare-ok b 1 0"]);
    world.sleep(Duration::from_secs(1));
    for queue in ["a", "b"] {
        assert_eq!(world.ask(client, passive(queue)), [format!("1 queue.declare-ok {queue} 0 0")]);
    }
}

#[test]
fn what_does_not_fit_is_dead_lettered_for_its_length() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "dead", &FieldTable::new());
    let arguments =
        table! { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "dead", "x-max-length-bytes" => 5 };
    world.declare(client, "q", &arguments);
    world.publish(client, "", "q", "123");
    world.publish(client, "", "q", "456");
    let heard = world.ask(client, take("dead"));
    assert!(heard[1].contains(r#""reason": "maxlen""#) && heard[2] == "  body 123", "{heard:?}");
}

const STRATEGY: &str = "at-least-once";
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

/// A quorum queue whose dead letters go to the exchange `x`, at least once, and a publisher with confirms.
fn insisting(version: Emulate, max_length: i64) -> (World, Client) {
    let mut world = World::new(version);
    let client = world.client();
    let arguments = table! {
        "x-queue-type" => "quorum",
        "x-overflow" => "reject-publish",
        "x-max-length" => max_length,
        "x-dead-letter-exchange" => "x",
        "x-dead-letter-strategy" => STRATEGY,
    };
    world.declare(client, "q", &arguments);
    world.ask(client, confirms());
    (world, client)
}

fn die(world: &mut World, client: Client, tag: u64, body: &str) {
    world.publish(client, "", "q", body);
    world.hear(client);
    world.ask(client, get("q"));
    assert!(world.ask(client, reject(tag, false)).is_empty());
}

#[test]
fn a_queue_that_insists_keeps_its_dead_until_there_is_a_way_for_them() {
    let (mut world, client) = insisting(Emulate::V4_0, 10);
    // There is no exchange, no queue, and at last both.
    for (tag, body) in [(1, "one"), (2, "two")] {
        die(&mut world, client, tag, body);
    }
    world.ask(client, exchange("x", "fanout"));
    world.sleep(HALF_AN_HOUR);
    world.declare(client, "dead", &FieldTable::new());
    world.ask(client, bind("dead", "x", "", &FieldTable::new()));
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 0 0"], "it is tried again later");
    world.sleep(Duration::from_secs(180));
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 2 0"]);
    let heard = world.ask(client, take("dead"));
    assert!(heard[1].contains(r#""x-death": [{"count": 1i64, "reason": "rejected", "queue": "q""#), "{heard:?}");
    assert_eq!(heard[2], "  body one");
    world.sleep(HALF_AN_HOUR);
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 1 0"], "each comes once");
}

#[test]
fn a_queue_that_insists_sends_again_only_what_was_refused_and_only_there() {
    let (mut world, client) = insisting(Emulate::V4_3, 10);
    world.ask(client, exchange("x", "fanout"));
    world.declare(client, "any", &FieldTable::new());
    world.declare(client, "full", &table! { "x-max-length" => 0, "x-overflow" => "reject-publish" });
    for queue in ["any", "full"] {
        world.ask(client, bind(queue, "x", "", &FieldTable::new()));
    }
    die(&mut world, client, 1, "m");
    assert_eq!(world.ask(client, passive("any")), ["1 queue.declare-ok any 1 0"]);
    world.sleep(HALF_AN_HOUR);
    assert_eq!(world.ask(client, passive("any")), ["1 queue.declare-ok any 1 0"]);
    let unbind = |queue| {
        let arguments = amqp_proto::wire::TableRef::default();
        let (queue, exchange, routing_key) =
            (super::peer::short(queue), super::peer::short("x"), super::peer::short(""));
        amqp_proto::method::queue::Method::Unbind(amqp_proto::method::queue::Unbind {
            queue,
            exchange,
            routing_key,
            arguments,
        })
    };
    // Whoever is left to get it has it.
    world.ask(client, unbind("full"));
    world.sleep(Duration::from_secs(180));
    assert_eq!(world.ask(client, purge("q")), ["1 queue.purge-ok 0"]);
    assert_eq!(world.ask(client, passive("any")), ["1 queue.declare-ok any 1 0"]);
}

#[test]
fn the_undelivered_dead_count_as_long_as_they_wait() {
    for (version, purged) in [(Emulate::V3_10, 0), (Emulate::V4_0, 0), (Emulate::V4_3, 1)] {
        let (mut world, client) = insisting(version, 1);
        die(&mut world, client, 1, "one");
        assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 0 0"], "none can be got");
        world.publish(client, "", "q", "two");
        assert_eq!(world.hear(client), ["1 basic.nack 2"], "{version:?}");
        assert_eq!(world.ask(client, purge("q")), [format!("1 queue.purge-ok {purged}")], "{version:?}");
        world.publish(client, "", "q", "three");
        let answer = if purged == 1 { "1 basic.ack 3" } else { "1 basic.nack 3" };
        assert_eq!(world.hear(client), [answer], "{version:?}");
    }
}

#[test]
fn without_room_for_its_dead_a_queue_does_not_insist() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let arguments = table! {
        "x-queue-type" => "quorum",
        "x-dead-letter-exchange" => "x",
        "x-dead-letter-strategy" => STRATEGY,
    };
    world.declare(client, "q", &arguments);
    world.ask(client, confirms());
    die(&mut world, client, 1, "m");
    world.ask(client, exchange("x", "fanout"));
    world.declare(client, "dead", &FieldTable::new());
    world.ask(client, bind("dead", "x", "", &FieldTable::new()));
    world.sleep(HALF_AN_HOUR);
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 0 0"]);
}

#[test]
fn no_more_than_32_of_the_undelivered_dead_stand_in_the_way() {
    let (mut world, client) = insisting(Emulate::V4_3, 1000);
    world.ask(client, exchange("x", "direct"));
    for tag in 1..=32 {
        die(&mut world, client, tag, "m");
    }
    world.declare(client, "dead", &FieldTable::new());
    world.ask(client, bind("dead", "x", "q", &FieldTable::new()));
    die(&mut world, client, 33, "m");
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 0 0"], "it waits for its turn");
    world.sleep(Duration::from_secs(180));
    assert_eq!(world.ask(client, passive("dead")), ["1 queue.declare-ok dead 33 0"]);
}

#[test]
fn c9_further_routing_keys_stay_unless_3_10_replaces_them() {
    for (version, routing_key, has_cc) in [
        (Emulate::V3_10, None, true),
        (Emulate::V3_10, Some("to"), false),
        (Emulate::V4_0, None, true),
        (Emulate::V4_0, Some("to"), true),
    ] {
        let mut world = World::new(version);
        let client = world.client();
        for queue in ["to", "copy"] {
            world.declare(client, queue, &FieldTable::new());
        }
        let mut arguments = table! { "x-dead-letter-exchange" => "" };
        if let Some(key) = routing_key {
            arguments.insert("x-dead-letter-routing-key", key).unwrap();
        }
        world.declare(client, "q", &arguments);
        let mut properties = Properties::new();
        properties.insert_header("CC", vec![FieldValue::from("copy")]).unwrap();
        world.bytes(client, &message("", "q", "m", &properties, false));
        world.ask(client, purge("copy"));
        world.ask(client, get("q"));
        world.send(client, 1, reject(1, false));
        // Without another key it goes where it was sent: to the copy's queue, and not where it died.
        let queue = routing_key.unwrap_or("copy");
        let heard = world.ask(client, take(queue));
        assert_eq!(heard[1].contains(r#""CC": ["copy"]"#), has_cc, "{version:?}: {heard:?}");
    }
}
