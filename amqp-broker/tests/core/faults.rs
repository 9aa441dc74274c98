//! Rules that make faults.

use std::time::Duration;

use amqp_broker::{Alarm, Emulate, On, Reaction, Rule, Seen};
use amqp_proto::method::Properties;
use amqp_proto::wire::FieldTable;

use super::peer::{World, confirms, declare, message, passive};

fn world(rules: impl IntoIterator<Item = Rule>) -> (World, super::peer::Client) {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let none = FieldTable::new();
    world.pipeline(client, &[confirms(), declare("q", &none)]);
    world.hear(client);
    rules.into_iter().for_each(|rule| world.core.add_rule(rule));
    (world, client)
}

fn publish(world: &mut World, client: super::peer::Client, count: usize) -> Vec<String> {
    let one = message("", "q", "x", &Default::default(), false);
    world.bytes(client, &one.repeat(count));
    world.hear(client)
}

#[test]
fn f55_a_confirm_can_be_withheld_and_the_others_are_never_multiple_over_it() {
    let (mut world, client) = world([Rule::new(On::Publish, Reaction::NoConfirm).after(1).times(1)]);
    assert_eq!(publish(&mut world, client, 4), ["1 basic.ack 1 multiple", "1 basic.ack 3", "1 basic.ack 4"]);
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 4 0"], "the message was taken");
}

#[test]
fn f55_a_confirm_can_be_late_and_come_after_younger_ones() {
    let late = Reaction::ConfirmAfter(Duration::from_millis(100));
    let (mut world, client) = world([Rule::new(On::Publish, late).times(1)]);
    assert_eq!(publish(&mut world, client, 2), ["1 basic.ack 2"]);
    world.sleep(Duration::from_millis(99));
    assert!(world.hear(client).is_empty());
    world.sleep(Duration::from_millis(1));
    assert_eq!(world.hear(client), ["1 basic.ack 1"]);
}

#[test]
fn f55_nacks_closes_cuts_and_silence() {
    let only = |key: &'static str, reaction| Rule::new(On::Publish, reaction).when(move |seen| seen.routing_key == key);
    let text = "INTERNAL_ERROR - by chance".to_owned();
    let (mut world, client) = world([
        only("q", Reaction::Nack).times(1),
        Rule::new(On::Method("queue.declare"), Reaction::CloseChannel(541, text.clone())).times(1),
        Rule::new(On::Method("basic.qos"), Reaction::CloseConnection(541, text)),
        Rule::new(On::Method("basic.get"), Reaction::Ignore),
    ]);
    assert_eq!(publish(&mut world, client, 1), ["1 basic.nack 1"]);
    assert_eq!(publish(&mut world, client, 1), ["1 basic.ack 2"]);
    assert!(world.ask(client, super::peer::get("q")).is_empty());
    assert_eq!(world.ask(client, passive("q")), ["1 channel.close 541 INTERNAL_ERROR - by chance"]);
    let other = world.client();
    let heard = world.ask(other, super::peer::qos(1, false));
    assert_eq!(heard, ["0 connection.close 541 INTERNAL_ERROR - by chance (60.10)"]);
    let cut = world.client();
    world.core.add_rule(Rule::new(On::Anything, Reaction::Cut));
    world.ask(cut, passive("q"));
    assert!(world.core.is_cut(cut.0) && world.core.is_over(cut.0));
}

#[test]
fn f55_a_stalled_connection_neither_reads_nor_writes() {
    let (mut world, client) = world([Rule::new(On::Method("queue.declare"), Reaction::Stall).times(1)]);
    world.send(client, 1, passive("q"));
    assert!(world.core.is_stalled(client.0) && !world.core.wants_read(client.0));
    assert!(world.hear(client).is_empty());
}

#[test]
fn f55_a_publish_can_be_refused_and_goes_nowhere() {
    let (mut world, client) = world([Rule::new(On::Publish, Reaction::Reject).times(1)]);
    assert_eq!(publish(&mut world, client, 2), ["1 basic.ack 2", "1 basic.nack 1"]);
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 1 0"]);
}

#[test]
fn f55_confirms_come_in_any_order_but_all_of_them_in_time() {
    let within = Duration::from_millis(100);
    let (mut world, client) = world([Rule::new(On::Publish, Reaction::ConfirmWithin(within))]);
    publish(&mut world, client, 30);
    let mut heard = Vec::new();
    while heard.len() < 30 && world.core.poll_timeout().is_some() {
        world.sleep(Duration::from_millis(1));
        heard.extend(world.hear(client));
    }
    let singles: Vec<u64> = heard
        .iter()
        .filter(|line| !line.ends_with("multiple"))
        .map(|line| line.strip_prefix("1 basic.ack ").unwrap().parse().unwrap())
        .collect();
    assert!(singles.len() > 5, "{heard:?}");
    assert!(!singles.is_sorted(), "they are in order: {singles:?}");
    assert!(heard.iter().any(|line| line.starts_with("1 basic.ack 30")), "{heard:?}");
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 30 0"]);
}

#[test]
fn f55_a_rule_looks_at_the_message_itself() {
    let poison = |seen: &Seen<'_>| seen.body == b"poison" || seen.properties.message_id.is_some_and(|id| id == "7");
    let (mut world, client) = world([Rule::new(On::Publish, Reaction::Reject).when(poison)]);
    let mut seventh = Properties::new();
    seventh.set_message_id("7").unwrap();
    let none = Properties::new();
    let all = [("fine", &none), ("poison", &none), ("fine", &seventh), ("fine", &none)];
    let bytes: Vec<_> = all.iter().flat_map(|(body, properties)| message("", "q", body, properties, false)).collect();
    world.bytes(client, &bytes);
    assert_eq!(world.hear(client), ["1 basic.ack 1 multiple", "1 basic.ack 4", "1 basic.nack 3 multiple"]);
    assert_eq!(world.ask(client, passive("q")), ["1 queue.declare-ok q 2 0"]);
}

#[test]
fn f55_an_answer_can_be_late_and_nothing_overtakes_it() {
    let late = Reaction::Delay(Duration::from_secs(5));
    let (mut world, client) = world([Rule::new(On::Method("queue.declare"), late).times(1)]);
    assert!(world.ask(client, passive("q")).is_empty());
    assert!(world.ask(client, super::peer::qos(1, false)).is_empty());
    world.sleep(Duration::from_micros(4_999_999));
    assert!(world.hear(client).is_empty());
    world.sleep(Duration::from_micros(1));
    assert_eq!(world.core.poll_woken(), Some(client.0), "the driver is told");
    assert_eq!(world.hear(client), ["1 queue.declare-ok q 0 0", "1 basic.qos-ok"]);
}

#[test]
fn f55_consumers_are_cancelled_and_publishers_blocked_by_what_a_client_does() {
    let (mut world, client) = world([
        Rule::new(On::Method("basic.qos"), Reaction::CancelConsumers("q".to_owned())),
        Rule::new(On::Method("tx.select"), Reaction::RaiseAlarm(Alarm::Disk)),
    ]);
    world.ask(client, super::peer::consume("q", "c"));
    let heard = world.ask(client, super::peer::qos(1, false));
    assert_eq!(heard, ["1 basic.qos-ok", "1 basic.cancel c"]);
    let other = world.client();
    let select = amqp_proto::method::tx::Method::Select(amqp_proto::method::tx::Select {});
    world.ask(other, amqp_proto::method::Method::from(select));
    let heard = publish(&mut world, client, 1);
    assert!(heard.contains(&"0 connection.blocked low on disk".to_owned()), "{heard:?}");
    assert!(!world.core.wants_read(client.0));
}

#[test]
fn f55_an_alarm_begins_and_ends_by_what_clients_do() {
    let (mut world, client) = world([
        Rule::new(On::Publish, Reaction::RaiseAlarm(Alarm::Memory)).after(1).times(1),
        Rule::new(On::Method("queue.declare"), Reaction::EndAlarm(Alarm::Memory)).when(|seen| seen.queue == "q"),
    ]);
    let other = world.client();
    assert_eq!(publish(&mut world, client, 1), ["1 basic.ack 1"]);
    let heard = publish(&mut world, client, 1);
    assert!(heard.contains(&"0 connection.blocked low on memory".to_owned()), "{heard:?}");
    assert!(!world.core.wants_read(client.0));
    world.ask(other, super::peer::get("other"));
    assert!(!world.core.wants_read(client.0), "this is about another queue");
    let other = world.client();
    assert_eq!(world.ask(other, passive("q"))[0], "1 queue.declare-ok q 2 0", "it is answered as well");
    assert_eq!(world.hear(client), ["0 connection.unblocked"]);
    assert!(world.core.wants_read(client.0));
    assert_eq!(publish(&mut world, client, 1), ["1 basic.ack 3"]);
}

#[test]
fn f55_a_connection_stalls_and_goes_on_by_what_clients_do() {
    let (mut world, client) = world([
        Rule::new(On::Publish, Reaction::Stall).when(|seen| seen.body == b"stone").times(1),
        Rule::new(On::Method("basic.get"), Reaction::Resume("tester".to_owned())),
    ]);
    world.bytes(client, &message("", "q", "stone", &Default::default(), false));
    assert!(world.core.is_stalled(client.0) && !world.core.wants_read(client.0));
    let other = world.client();
    assert_eq!(world.ask(other, super::peer::get("q")), ["1 basic.get-empty"], "it is answered as well");
    assert!(!world.core.is_stalled(client.0) && world.core.wants_read(client.0));
    assert_eq!(publish(&mut world, client, 1), ["1 basic.ack 2"], "the stone was lost, but it was counted");
}
