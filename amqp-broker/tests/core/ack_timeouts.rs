//! Acks that do not come in time.

use std::time::Duration;

use amqp_broker::{Emulate, Limits};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{Client, World, ack, cancel, consume, declare, get, message, passive};

/// A queue with a message, and a second for an ack.
fn world(version: Emulate, arguments: &FieldTable) -> (World, Client) {
    let limits = Limits::of(version).with_consumer_timeout(Duration::from_secs(1));
    let mut world = World::with_limits(version, limits);
    let client = world.client();
    world.pipeline(client, &[declare("q", arguments)]);
    world.bytes(client, &message("", "q", "x", &Default::default(), false));
    world.hear(client);
    (world, client)
}

const TEXT: &str = "1 channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value \
                    used: 1000 ms. This timeout value can be configured, see consumers doc guide to learn more";

#[test]
fn p37_up_to_4_2_a_channel_closes_when_an_ack_is_overdue() {
    for version in [Emulate::V3_10, Emulate::V4_0] {
        for how in [consume("q", "c"), get("q")] {
            let (mut world, client) = world(version, &FieldTable::new());
            world.ask(client, how);
            world.sleep(Duration::from_micros(999_999));
            assert!(world.hear(client).is_empty());
            world.sleep(Duration::from_micros(1));
            assert_eq!(world.hear(client), [TEXT]);
            let other = world.client();
            assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 1 0"], "it is back");
        }
    }
}

#[test]
fn p37_each_delivery_has_its_own_time() {
    let (mut world, client) = world(Emulate::V4_0, &FieldTable::new());
    world.ask(client, consume("q", "c"));
    world.sleep(Duration::from_millis(600));
    world.bytes(client, &message("", "q", "y", &Default::default(), false));
    world.hear(client);
    assert!(world.ask(client, ack(1)).is_empty());
    world.sleep(Duration::from_millis(999));
    assert!(world.hear(client).is_empty());
    world.sleep(Duration::from_millis(1));
    assert_eq!(world.hear(client), [TEXT]);
}

#[test]
fn p37_since_4_3_a_quorum_queue_takes_back_what_is_overdue_and_cancels_the_consumer() {
    let (mut world, client) = world(Emulate::V4_3, &table! { "x-queue-type" => "quorum" });
    world.ask(client, consume("q", "c"));
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.hear(client), ["1 basic.cancel c"]);
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 1 1"], "it is not quite gone");
    let heard = world.ask(client, ack(1));
    assert_eq!(heard[0], "1 basic.deliver c 2 again q", "an ack that comes too late is no error, and revives it");
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.hear(client), ["1 basic.cancel c"]);
    assert_eq!(world.ask(client, cancel("c")), ["1 basic.cancel-ok c"]);
    assert!(world.ask(client, ack(2)).is_empty());
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 1 0"]);
}

#[test]
fn p37_since_4_3_a_channel_closes_where_there_is_no_consumer_to_cancel() {
    let (mut world, client) = world(Emulate::V4_3, &table! { "x-queue-type" => "quorum" });
    world.ask(client, get("q"));
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.hear(client), [TEXT.replace("1000 ms", "-1 ms")]);
    let other = world.client();
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 1 0"], "it is back");
    world.pipeline(other, &[consume("q", "c"), cancel("c")]);
    world.sleep(Duration::from_secs(1));
    assert_eq!(world.hear(other).last(), Some(&TEXT.replace("1000 ms", "-1 ms")));
}

#[test]
fn p37_since_4_3_another_consumer_is_the_single_active_one_meanwhile() {
    let arguments = table! { "x-queue-type" => "quorum", "x-single-active-consumer" => true };
    let (mut world, client) = world(Emulate::V4_3, &arguments);
    world.ask(client, consume("q", "first"));
    world.ask(client, consume("q", "second"));
    world.sleep(Duration::from_secs(1));
    let heard = world.hear(client);
    assert_eq!([&heard[0], &heard[1]], ["1 basic.cancel first", "1 basic.deliver second 2 again q"]);
}

#[test]
fn p37_since_4_3_other_queues_wait_for_ever() {
    let (mut world, client) = world(Emulate::V4_3, &FieldTable::new());
    world.ask(client, consume("q", "c"));
    world.sleep(Duration::from_secs(3600));
    assert!(world.hear(client).is_empty());
    assert!(world.ask(client, ack(1)).is_empty());
}

#[test]
fn p37_a_queue_may_have_its_own_time_for_acks() {
    let arguments = table! { "x-queue-type" => "quorum", "x-consumer-timeout" => 5000 };
    let (mut world, client) = world(Emulate::V4_3, &arguments);
    world.ask(client, consume("q", "c"));
    world.sleep(Duration::from_millis(4999));
    assert!(world.hear(client).is_empty());
    world.sleep(Duration::from_millis(1));
    assert_eq!(world.hear(client), ["1 basic.cancel c"]);
}
