//! Consumers: the order of replies, turns, prefetch, and being told of one's end.

use amqp_broker::Emulate;
use amqp_proto::method::{basic, queue};
use amqp_proto::table;
use amqp_proto::wire::FieldTable;

use super::peer::{World, ack, cancel, consume, declare, get, passive, qos, short};

#[test]
fn replies_overtake_consume_ok_and_cancel_ok_and_deliveries_follow_them() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let none = FieldTable::new();
    world.declare(client, "q", &none);
    world.publish(client, "", "q", "1");
    world.pipeline(client, &[consume("q", "t"), declare("q", &none), declare("q", &none)]);
    assert_eq!(
        world.hear_briefly(client),
        [
            "1 queue.declare-ok q 0 1",
            "1 queue.declare-ok q 0 1",
            "1 basic.consume-ok t",
            "1 basic.deliver t 1 q",
            "  body 1",
        ]
    );
    world.pipeline(client, &[cancel("t"), declare("q", &none)]);
    assert_eq!(world.hear(client), ["1 queue.declare-ok q 0 0", "1 basic.cancel-ok t"]);
    assert_eq!(world.ask(client, cancel("unknown")), ["1 basic.cancel-ok unknown"]);
}

#[test]
fn consumers_get_their_turns_and_those_of_a_higher_priority_come_first() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &FieldTable::new());
    let high = table! { "x-priority" => 5 };
    let first = basic::Consume {
        queue: short("q"),
        consumer_tag: short("high"),
        arguments: high.as_ref(),
        ..Default::default()
    };
    world
        .pipeline(client, &[consume("q", "a"), consume("q", "b"), qos(1, false), basic::Method::Consume(first).into()]);
    world.hear(client);
    for body in ["1", "2", "3", "4"] {
        world.publish(client, "", "q", body);
    }
    let heard = world.hear_briefly(client);
    assert_eq!(heard[..2], ["1 basic.deliver high 1 q", "  body 1"]);
    assert_eq!(heard[2..4], ["1 basic.deliver a 2 q", "  body 2"]);
    assert_eq!(heard[4..6], ["1 basic.deliver b 3 q", "  body 3"]);
    assert_eq!(heard[6..], ["1 basic.deliver a 4 q", "  body 4"]);
    world.pipeline(client, &[ack(1)]);
    world.publish(client, "", "q", "5");
    assert_eq!(world.hear_briefly(client), ["1 basic.deliver high 5 q", "  body 5"]);
}

#[test]
fn a_prefetch_is_of_each_consumer_or_shared_where_the_version_shares() {
    for (version, out) in [(Emulate::V4_0, 2), (Emulate::V4_3, 4)] {
        let mut world = World::new(version);
        let client = world.client();
        for queue in ["a", "b"] {
            world.declare(client, queue, &FieldTable::new());
            for body in ["1", "2", "3"] {
                world.publish(client, "", queue, body);
            }
        }
        world.pipeline(client, &[qos(2, true), consume("a", "a"), consume("b", "b")]);
        let delivered = |heard: Vec<String>| heard.iter().filter(|line| line.contains("deliver")).count();
        assert_eq!(delivered(world.hear(client)), out);
        assert_eq!(delivered(world.ask(client, ack(1))), 1);
    }
}

#[test]
fn an_exclusive_consumer_stays_alone_and_a_single_active_one_is_followed_by_the_next() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    world.declare(client, "q", &FieldTable::new());
    let alone = basic::Consume { queue: short("q"), consumer_tag: short("t"), exclusive: true, ..Default::default() };
    assert_eq!(world.ask(client, basic::Method::Consume(alone)), ["1 basic.consume-ok t"]);
    let text = "1 channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use";
    assert_eq!(world.ask(other, consume("q", "u")), [text]);

    let (client, other) = (world.client(), world.client());
    world.declare(client, "single", &table! { "x-single-active-consumer" => true });
    world.ask(client, consume("single", "first"));
    world.ask(other, consume("single", "second"));
    world.publish(client, "", "single", "1");
    assert_eq!(world.hear_briefly(client), ["1 basic.deliver first 1 single", "  body 1"]);
    world.core.handle_eof(world.now, client.0);
    assert_eq!(world.hear_briefly(other), ["1 basic.deliver second 1 again single", "  body 1"]);
}

#[test]
fn a_quorum_queue_takes_any_number_of_exclusive_consumers() {
    for emulate in [Emulate::V3_10, Emulate::V4_0, Emulate::V4_3] {
        let mut world = World::new(emulate);
        let client = world.client();
        for (name, single) in [("q", false), ("single", true)] {
            let arguments = table! { "x-queue-type" => "quorum", "x-single-active-consumer" => single };
            world.declare(client, name, &arguments);
            for tag in ["t", "u"].map(|tag| format!("{name}-{tag}")) {
                let (queue, consumer_tag) = (short(name), short(&tag));
                let exclusive = basic::Consume { queue, consumer_tag, exclusive: true, ..Default::default() };
                let answer = world.ask(client, basic::Method::Consume(exclusive));
                assert_eq!(answer, [format!("1 basic.consume-ok {tag}")]);
            }
        }
    }
}

#[test]
fn a_deleted_queue_tells_its_consumers_and_an_auto_delete_queue_goes_with_the_last() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    world.declare(client, "q", &FieldTable::new());
    world.ask(client, consume("q", "t"));
    let delete = queue::Method::Delete(queue::Delete { queue: short("q"), ..Default::default() });
    assert_eq!(world.ask(other, delete), ["1 queue.delete-ok 0"]);
    assert_eq!(world.hear(client), ["1 basic.cancel t"]);

    let brief = queue::Declare { queue: short("brief"), auto_delete: true, ..Default::default() };
    world.ask(client, queue::Method::Declare(brief));
    world.pipeline(client, &[consume("brief", "a"), consume("brief", "b"), cancel("a")]);
    world.hear(client);
    assert_eq!(world.ask(other, passive("brief")), ["1 queue.declare-ok brief 0 1"]);
    world.core.handle_eof(world.now, client.0);
    assert_eq!(world.ask(other, passive("brief")), ["1 channel.close 404 NOT_FOUND - no queue 'brief' in vhost '/'"]);
}

#[test]
fn a_client_that_does_not_read_is_not_fed_for_ever() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    world.declare(client, "q", &FieldTable::new());
    let greedy = basic::Consume { queue: short("q"), consumer_tag: short("t"), no_ack: true, ..Default::default() };
    world.ask(client, basic::Method::Consume(greedy));
    let body = "x".repeat(100_000);
    for _ in 0..100 {
        world.publish(other, "", "q", &body);
    }
    let waiting = world.ask(other, passive("q")).join("");
    assert_eq!(waiting, "1 queue.declare-ok q 89 1", "about a megabyte is on its way");
    let mut received = 0;
    for _ in 0..100 {
        received += world.hear(client).iter().filter(|line| line.contains("deliver")).count();
    }
    assert_eq!(received, 100, "what is read makes room");
}

#[test]
fn priorities_are_served_from_the_top_and_each_in_order() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "q", &table! { "x-max-priority" => 5 });
    for (priority, body) in [(Some(1), "1"), (Some(9), "9"), (None, "none"), (Some(5), "5"), (Some(0), "0")] {
        let mut properties = amqp_proto::method::Properties::new();
        if let Some(priority) = priority {
            properties.set_priority(priority);
        }
        world.bytes(client, &super::peer::message("", "q", body, &properties, false));
    }
    let bodies: Vec<_> =
        (0..5).map(|_| world.ask(client, get("q"))[2].trim_start_matches("  body ").to_owned()).collect();
    assert_eq!(bodies, ["9", "5", "1", "none", "0"]);
}

#[test]
fn an_answer_goes_straight_to_the_channel_that_asked() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    world.declare(client, "server", &FieldTable::new());
    let listen = |no_ack| {
        let queue = short("amq.rabbitmq.reply-to");
        basic::Method::Consume(basic::Consume { queue, consumer_tag: short("r"), no_ack, ..Default::default() })
    };
    assert_eq!(world.ask(client, listen(true)), ["1 basic.consume-ok r"]);
    let mut properties = amqp_proto::method::Properties::new();
    properties.set_reply_to("amq.rabbitmq.reply-to").unwrap();
    world.bytes(client, &super::peer::message("", "server", "ask", &properties, false));
    let heard = world.ask(client, get("server"));
    let reply_to = heard[1].split('"').nth(1).unwrap().to_owned();
    assert!(reply_to.starts_with("amq.rabbitmq.reply-to."), "{reply_to}");
    world.publish(client, "", &reply_to, "answer");
    assert_eq!(world.hear_briefly(client), [format!("1 basic.deliver r 2 {reply_to}"), "  body answer".to_owned()]);
    let text = "1 channel.close 406 PRECONDITION_FAILED - reply consumer cannot acknowledge";
    assert_eq!(world.ask(client, listen(false)), [text]);
}
