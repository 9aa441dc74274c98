//! Streams: reading does not take away.

use amqp_broker::Emulate;
use amqp_proto::method::{Method, Properties, basic};
use amqp_proto::table;
use amqp_proto::wire::{FieldTable, FieldValue};

use super::peer::{Client, World, ack, consume, declare, get, message, nack, passive, qos, short};

fn world(version: Emulate) -> (World, Client) {
    let mut world = World::new(version);
    let client = world.client();
    world.declare(client, "s", &table! { "x-queue-type" => "stream" });
    (world, client)
}

fn read<'a>(tag: &'a str, arguments: &'a FieldTable) -> Method<'a> {
    basic::Method::Consume(basic::Consume {
        queue: short("s"),
        consumer_tag: short(tag),
        arguments: arguments.as_ref(),
        ..basic::Consume::default()
    })
    .into()
}

fn bodies(heard: &[String]) -> Vec<&str> {
    heard.iter().filter_map(|line| line.strip_prefix("  body ")).collect()
}

#[test]
fn everybody_reads_everything_from_where_one_wants_within_the_prefetch() {
    let (mut world, client) = world(Emulate::V4_3);
    for body in ["0", "1", "2", "3"] {
        world.publish(client, "", "s", body);
    }
    let (first, second, last) = (
        table! { "x-stream-offset" => "first" },
        table! { "x-stream-offset" => 1 },
        table! { "x-stream-offset" => "last" },
    );
    world.pipeline(client, &[qos(2, false), read("first", &first)]);
    let heard = world.hear(client);
    assert_eq!(bodies(&heard), ["0", "1"]);
    assert_eq!(heard[3], r#"  header 1 { headers: {"x-stream-offset": 0i64}, delivery_mode: 1 }"#);
    assert_eq!(bodies(&world.ask(client, ack(1))), ["2"]);
    assert_eq!(bodies(&world.ask(client, nack(2, false, true))), ["3"]);
    assert_eq!(bodies(&world.ask(client, read("second", &second))), ["1", "2"]);
    assert_eq!(bodies(&world.ask(client, read("last", &last))), ["3"]);
    assert_eq!(bodies(&world.ask(client, consume("s", "next"))), [""; 0]);
    world.publish(client, "", "s", "4");
    assert_eq!(bodies(&world.hear(client)), ["4", "4"], "to last and next");
    assert_eq!(world.ask(client, passive("s")), ["1 queue.declare-ok s 0 0"], "it counts neither");
}

#[test]
fn a_filter_lets_chunks_pass_that_have_what_is_wanted() {
    let (mut world, client) = world(Emulate::V4_3);
    for (filter, body) in [("a", "0"), ("b", "1"), ("a", "2")] {
        let mut properties = Properties::new();
        properties.insert_header("x-stream-filter-value", filter).unwrap();
        world.bytes(client, &message("", "s", body, &properties, false));
    }
    world.publish(client, "", "s", "plain");
    let filtered = table! { "x-stream-offset" => "first", "x-stream-filter" => "a" };
    let unfiltered =
        table! { "x-stream-offset" => "first", "x-stream-filter" => "b", "x-stream-match-unfiltered" => true };
    world.send(client, 1, qos(10, false));
    assert_eq!(bodies(&world.ask(client, read("a", &filtered))), ["0", "2"]);
    assert_eq!(bodies(&world.ask(client, read("b", &unfiltered))), ["1", "plain"]);
}

#[test]
fn what_streams_do_not_do() {
    let none = FieldTable::new();
    let bad = table! { "x-stream-offset" => "bad" };
    for (version, before, method, text) in [
        (
            Emulate::V4_3,
            None,
            get("s"),
            "0 connection.close 540 NOT_IMPLEMENTED - basic.get not supported by stream queues queue 's' in vhost '/' (60.70)",
        ),
        (
            Emulate::V4_3,
            None,
            read("t", &none),
            "1 channel.close 406 PRECONDITION_FAILED - consumer prefetch count is not set for stream queue 's' in vhost '/'",
        ),
        (
            Emulate::V3_10,
            None,
            read("t", &none),
            "1 channel.close 406 PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 's' in vhost '/''",
        ),
        (
            Emulate::V4_3,
            Some(qos(1, false)),
            read("t", &bad),
            r#"1 channel.close 406 PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,{longstr,<<"bad">>}}"#,
        ),
        (Emulate::V4_0, Some(qos(1, false)), read("t", &bad), "0 connection.close 541 INTERNAL_ERROR (0.0)"),
    ] {
        let (mut world, client) = world(version);
        if let Some(before) = before {
            world.ask(client, before);
        }
        assert_eq!(world.ask(client, method), [text]);
    }
}

/// What the stream `s` has for one who reads from here.
fn read_from(world: &mut World, offset: FieldValue) -> Vec<String> {
    let client = world.client();
    world.ask(client, qos(100, false));
    let heard = world.ask(client, read("", &table! { "x-stream-offset" => offset }));
    bodies(&heard).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_stream_gives_up_whole_segments_that_are_too_much_but_never_the_last() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    // A segment takes two messages and a little; the stream keeps two segments and a little.
    let arguments = table! {
        "x-queue-type" => "stream",
        "x-stream-max-segment-size-bytes" => 2000,
        "x-max-length-bytes" => 5000,
    };
    world.declare(client, "s", &arguments);
    let body = |letter: &str| letter.repeat(1000);
    for letter in ["a", "b", "c", "d"] {
        world.publish(client, "", "s", &body(letter));
    }
    assert_eq!(read_from(&mut world, "first".into()).len(), 4);
    world.publish(client, "", "s", &body("e"));
    let kept = [body("c"), body("d"), body("e")];
    assert_eq!(read_from(&mut world, "first".into()), kept);
    assert_eq!(read_from(&mut world, 0.into()), kept, "what is gone is passed over");
    assert_eq!(read_from(&mut world, 3.into()), kept[1..], "offsets stay what they are");
    assert_eq!(read_from(&mut world, "last".into()), kept[2..]);
    let huge = body("f").repeat(10);
    world.publish(client, "", "s", &huge);
    world.publish(client, "", "s", &body("g"));
    assert_eq!(read_from(&mut world, "first".into()), [body("g")], "the one before is larger than all there may be");
}

#[test]
fn a_reader_that_is_late_goes_on_with_what_is_left() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let arguments =
        table! { "x-queue-type" => "stream", "x-stream-max-segment-size-bytes" => 0, "x-max-length-bytes" => 0 };
    world.declare(client, "s", &arguments);
    world.publish(client, "", "s", "0");
    world.pipeline(client, &[qos(1, false), read("t", &table! { "x-stream-offset" => "first" })]);
    assert_eq!(bodies(&world.hear(client)), ["0"]);
    for body in ["1", "2", "3"] {
        world.publish(client, "", "s", body);
    }
    let heard = world.ask(client, ack(1));
    assert_eq!(bodies(&heard), ["3"]);
    assert!(heard[1].contains(r#""x-stream-offset": 3i64"#), "{heard:?}");
}

#[test]
fn a_stream_gives_up_segments_that_are_too_old_when_it_begins_another() {
    let mut world = World::new(Emulate::V3_10);
    let client = world.client();
    let arguments =
        table! { "x-queue-type" => "stream", "x-max-age" => "1m", "x-stream-max-segment-size-bytes" => 250 };
    world.declare(client, "s", &arguments);
    let minute = std::time::Duration::from_secs(60);
    for body in ["0", "1", "2", "3", "4", "5"] {
        world.publish(client, "", "s", body);
        world.sleep(minute / 2);
    }
    // Two of them are a segment. The first was too old when the third began.
    assert_eq!(read_from(&mut world, "first".into()), ["2", "3", "4", "5"]);
    world.sleep(10 * minute);
    assert_eq!(read_from(&mut world, "first".into()), ["2", "3", "4", "5"], "age alone ends nothing");
    for body in ["6", "7", "8"] {
        world.publish(client, "", "s", body);
    }
    assert_eq!(read_from(&mut world, "first".into()), ["6", "7", "8"]);
}

#[test]
fn an_offset_that_is_not_there_yet_is_waited_for() {
    let (mut world, client) = world(Emulate::V4_3);
    world.send(client, 1, qos(5, false));
    let offset = table! { "x-stream-offset" => 1 };
    assert_eq!(bodies(&world.ask(client, read("c", &offset))), [""; 0]);
    world.publish(client, "", "s", "0");
    world.publish(client, "", "s", "1");
    assert_eq!(bodies(&world.hear(client)), ["1"]);
}

#[test]
fn headers_that_are_arrays_or_tables_are_not_kept_but_for_the_brokers_own() {
    let first = table! { "x-stream-offset" => "first" };
    for (version, kept) in [(Emulate::V3_10, ""), (Emulate::V4_0, r#""CC": ["k"], "#)] {
        let (mut world, client) = world(version);
        let mut properties = Properties::new();
        let array = || vec![FieldValue::from("k")];
        properties.set_headers(table! { "CC" => array(), "a" => array(), "t" => table! {}, "z" => 1 }).unwrap();
        world.bytes(client, &message("", "s", "m", &properties, false));
        world.send(client, 1, qos(5, false));
        let heard = world.ask(client, read("c", &first));
        assert!(heard[3].contains(&format!(r#"headers: {{{kept}"x-stream-offset": 0i64, "z": 1i32}}"#)), "{heard:?}");
    }
}

#[test]
fn on_3_10_a_recover_with_messages_of_a_stream_fails_and_no_dead_letter_comes_to_one() {
    let first = table! { "x-stream-offset" => "first" };
    let (mut world, client) = world(Emulate::V3_10);
    world.declare(
        client,
        "q",
        &table! { "x-message-ttl" => 0, "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => "s" },
    );
    world.publish(client, "", "q", "dead");
    world.publish(client, "", "s", "direct");
    world.send(client, 1, qos(5, false));
    assert_eq!(bodies(&world.ask(client, read("c", &first))), ["direct"]);
    world.declare(client, "other", &FieldTable::new());
    world.publish(client, "", "other", "kept");
    world.ask(client, get("other"));
    let heard = world.ask(client, basic::Method::Recover(basic::Recover { requeue: true }));
    assert_eq!(heard, ["0 connection.close 541 INTERNAL_ERROR (0.0)"]);
    let other = world.client();
    assert_eq!(world.ask(other, passive("other")), ["1 queue.declare-ok other 1 0"], "it is back in its queue");
}

#[test]
fn ages_are_told_in_milliseconds_since_4_3() {
    for (version, told) in
        [(Emulate::V4_0, "'2h' but current is '1h'"), (Emulate::V4_3, "'7200000' but current is '3600000'")]
    {
        let mut world = World::new(version);
        let client = world.client();
        world.declare(client, "s", &table! { "x-queue-type" => "stream", "x-max-age" => "1h" });
        let other = table! { "x-queue-type" => "stream", "x-max-age" => "2h" };
        let heard = world.ask(client, declare("s", &other));
        assert!(heard[0].contains(told), "{heard:?}");
    }
}
