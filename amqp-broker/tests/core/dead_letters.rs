//! What is told of the dead.

use std::time::Duration;

use amqp_broker::Emulate;
use amqp_proto::method::Properties;
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{Client, World, get, message, passive, reject, take};

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
