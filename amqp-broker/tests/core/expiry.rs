//! Messages and queues whose time is over.

use std::time::Duration;

use amqp_broker::Emulate;
use amqp_proto::table;

use super::peer::{World, cancel, consume, get, passive};

#[test]
fn messages_expire_at_the_head_of_their_queue() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &table! { "x-message-ttl" => 100 });
    world.publish(client, "", "q", "1");
    world.sleep(Duration::from_millis(60));
    world.publish(client, "", "q", "2");
    world.sleep(Duration::from_millis(60));
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 1 0"]);
    // What somebody has does not expire, and does when it comes back.
    assert_eq!(world.ask(client, get("q"))[2], "  body 2");
    world.sleep(Duration::from_secs(1));
    world.send(client, 1, super::peer::nack(1, false, true));
    assert_eq!(world.ask(client, get("q")), ["1 basic.get-empty"]);
}

#[test]
fn a_queue_that_nobody_uses_goes_and_use_is_a_consumer_a_get_or_a_declaration() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &table! { "x-expires" => 100 });
    for _ in 0..3 {
        world.sleep(Duration::from_millis(90));
        assert_eq!(world.ask(client, get("q")), ["1 basic.get-empty"]);
    }
    world.sleep(Duration::from_millis(90));
    world.ask(client, consume("q", "t"));
    world.sleep(Duration::from_secs(10));
    world.ask(client, cancel("t"));
    world.sleep(Duration::from_millis(99));
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 0 0"]);
    world.sleep(Duration::from_millis(101));
    assert_eq!(world.ask(client, passive("q")), ["1 channel.close 404 NOT_FOUND - no queue 'q' in vhost '/'"]);
}

#[test]
fn a_time_to_live_of_nothing_is_enough_for_a_consumer_that_is_there() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &table! { "x-message-ttl" => 0 });
    world.publish(client, "", "q", "lost");
    assert_eq!(world.ask(client, get("q")), ["1 basic.get-empty"]);
    world.ask(client, consume("q", "t"));
    world.publish(client, "", "q", "found");
    assert_eq!(world.hear_briefly(client), ["1 basic.deliver t 1 q", "  body found"]);
}
