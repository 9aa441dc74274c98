//! Publisher confirms and returns.

use amqp_broker::Emulate;
use amqp_proto::method::Properties;
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{World, confirms, declare, message, take};

#[test]
fn a_return_comes_before_its_ack_unroutable_ones_are_acked_at_once_and_the_rest_together() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let none = FieldTable::new();
    world.pipeline(client, &[confirms(), declare("q", &none)]);
    assert_eq!(world.hear(client), ["1 confirm.select-ok", "1 queue.declare-ok q 0 0"]);
    let all = [("q", false), ("nowhere", false), ("nowhere", true), ("q", true)];
    let bytes = all.map(|(key, mandatory)| message("", key, "x", &Properties::new(), mandatory)).concat();
    world.bytes(client, &bytes);
    assert_eq!(
        world.hear(client),
        [
            "1 basic.ack 2",
            "1 basic.return 312 NO_ROUTE \"nowhere\"",
            "  header 1",
            "  body x",
            "1 basic.ack 3",
            "1 basic.ack 4 multiple",
        ]
    );
    world.publish(client, "", "q", "x");
    assert_eq!(world.hear(client), ["1 basic.ack 5"]);
}

#[test]
fn a_full_queue_that_rejects_nacks_and_one_that_does_not_drops_its_head() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let (rejecting, dropping) =
        (table! { "x-max-length" => 1, "x-overflow" => "reject-publish" }, table! { "x-max-length" => 1 });
    world.pipeline(client, &[confirms(), declare("r", &rejecting), declare("d", &dropping)]);
    world.hear(client);
    let three = |queue: &str| ["1", "2", "3"].map(|body| message("", queue, body, &Properties::new(), false)).concat();
    world.bytes(client, &three("r"));
    assert_eq!(world.hear(client), ["1 basic.ack 1", "1 basic.nack 3 multiple"]);
    world.bytes(client, &three("d"));
    assert_eq!(world.hear(client), ["1 basic.ack 6 multiple"]);
    assert_eq!(world.ask(client, take("r")).last().map(String::as_str), Some("  body 1"));
    assert_eq!(world.ask(client, take("d")).last().map(String::as_str), Some("  body 3"));
}

#[test]
fn confirms_and_transactions_exclude_each_other() {
    use amqp_proto::method::tx;
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.ask(client, confirms());
    let text = "1 channel.close 406 PRECONDITION_FAILED - cannot switch from confirm to tx mode";
    assert_eq!(world.ask(client, tx::Method::Select(tx::Select {})), [text]);
    let client = world.client();
    world.ask(client, tx::Method::Select(tx::Select {}));
    let text = "1 channel.close 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode";
    assert_eq!(world.ask(client, confirms()), [text]);
}
