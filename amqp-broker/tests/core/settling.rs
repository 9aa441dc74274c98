//! Acks, nacks, rejects, and what comes back.

use amqp_broker::Emulate;
use amqp_proto::method::basic;
use amqp_proto::wire::FieldTable;

use super::peer::{Client, World, ack, consume, get, nack, passive, qos, take};

fn filled(bodies: &[&str]) -> (World, Client) {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &FieldTable::new());
    for body in bodies {
        world.publish(client, "", "q", body);
    }
    (world, client)
}

fn body(heard: &[String]) -> &str {
    heard.last().map_or("", |line| line.trim_start_matches("  body "))
}

#[test]
fn what_is_put_back_comes_again_from_its_old_place() {
    let (mut world, client) = filled(&["1", "2", "3", "4"]);
    for _ in 0..3 {
        world.ask(client, get("q"));
    }
    // 2 first, then 1 and 3: they come in their old order.
    world.pipeline(client, &[nack(2, false, true), nack(0, true, true)]);
    for (expected, again) in [("1", true), ("2", true), ("3", true), ("4", false)] {
        let heard = world.ask(client, take("q"));
        assert_eq!(body(&heard), expected);
        assert_eq!(heard[0].contains("again"), again);
    }
}

#[test]
fn the_end_of_a_channel_puts_everything_back_and_a_settled_tag_is_gone() {
    let (mut world, client) = filled(&["1", "2", "3"]);
    world.pipeline(client, &[qos(2, false), consume("q", "t")]);
    world.hear(client);
    world.pipeline(client, &[ack(1)]);
    assert_eq!(body(&world.hear(client)), "3");
    assert_eq!(world.ask(client, ack(1)), ["1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1"]);
    let other = world.client();
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 2 0"]);
    assert_eq!(body(&world.ask(other, take("q"))), "2");
}

#[test]
fn recover_puts_back_and_makes_old_tags_unknown() {
    let (mut world, client) = filled(&["1"]);
    world.ask(client, get("q"));
    assert_eq!(world.ask(client, basic::Method::Recover(basic::Recover { requeue: true })), ["1 basic.recover-ok"]);
    assert_eq!(world.ask(client, get("q"))[0], "1 basic.get-ok 2 again q left 0");
    assert_eq!(world.ask(client, ack(1)), ["1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1"]);
}

#[test]
fn multiple_settles_all_at_and_below_and_zero_is_all_there_is() {
    let (mut world, client) = filled(&["1", "2", "3"]);
    for _ in 0..3 {
        world.ask(client, get("q"));
    }
    world.send(client, 1, basic::Method::Ack(basic::Ack { delivery_tag: 2, multiple: true }));
    world.send(client, 1, basic::Method::Ack(basic::Ack { delivery_tag: 0, multiple: true }));
    assert!(world.hear(client).is_empty());
    assert_eq!(world.ask(client, ack(3)), ["1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 3"]);
}

#[test]
fn purge_takes_what_waits_and_leaves_what_somebody_has() {
    let (mut world, client) = filled(&["1", "2", "3"]);
    world.ask(client, get("q"));
    let purge = amqp_proto::method::queue::Purge { queue: super::peer::short("q"), nowait: false };
    assert_eq!(world.ask(client, amqp_proto::method::queue::Method::Purge(purge)), ["1 queue.purge-ok 2"]);
    world.send(client, 1, nack(1, false, true));
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 1 0"]);
}
