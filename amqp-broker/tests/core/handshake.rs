//! The beginning of connections, and their end.

use std::time::Duration;

use amqp_broker::Emulate;
use amqp_proto::method::{channel, connection};
use amqp_proto::table;
use amqp_proto::wire::LongStr;
use bytes::BytesMut;

use super::peer::{World, passive, short};

#[test]
fn another_protocol_is_answered_by_a_header_and_the_end() {
    for (header, version, answer) in [
        (b"AMQP\0\0\x09\x00", Emulate::V4_3, "AMQP [0, 0, 9, 1]"),
        (b"AMQP\0\x01\0\0", Emulate::V4_3, "AMQP [3, 1, 0, 0]"),
        (b"GET / HT", Emulate::V4_3, "AMQP [3, 1, 0, 0]"),
        (b"GET / HT", Emulate::V3_10, "AMQP [0, 0, 9, 1]"),
    ] {
        let mut world = World::new(version);
        let client = world.stranger();
        world.bytes(client, header);
        assert_eq!(world.hear(client), [answer]);
        assert!(world.core.is_over(client.0));
    }
}

fn log_in(world: &mut World, password: &str, told: bool) -> super::peer::Client {
    let client = world.stranger();
    world.bytes(client, b"AMQP\0\0\x09\x01");
    assert_eq!(world.hear(client), ["0 connection.start"]);
    let properties = table! { "capabilities" => table! { "authentication_failure_close" => told } };
    let response = format!("\0guest\0{password}");
    let start = connection::StartOk {
        client_properties: properties.as_ref(),
        mechanism: short("PLAIN"),
        response: LongStr(response.as_bytes()),
        locale: short("en_US"),
    };
    world.send(client, 0, start);
    client
}

#[test]
fn a_wrong_password_is_told_to_those_who_understand_and_the_socket_closes_after_three_seconds() {
    let mut world = World::new(Emulate::V4_3);
    let client = log_in(&mut world, "wrong", true);
    let text = "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                For details see the broker logfile. (0.0)";
    assert_eq!(world.hear(client), [text]);
    let other = log_in(&mut world, "wrong", false);
    assert!(world.hear(other).is_empty());
    world.sleep(Duration::from_millis(2900));
    assert!(!world.core.is_over(client.0) && !world.core.is_over(other.0));
    world.sleep(Duration::from_millis(200));
    assert!(world.core.is_over(client.0) && world.core.is_over(other.0));
}

#[test]
fn tuning_over_the_limits_is_not_answered_and_a_missing_virtual_host_is_530() {
    for (version, frame_max, channel_max, accepted) in [
        (Emulate::V4_3, 131_072, 2047, true),
        (Emulate::V4_3, 131_073, 2047, false),
        (Emulate::V4_3, 0, 2047, false),
        (Emulate::V4_3, 4096, 2047, false),
        (Emulate::V4_3, 8192, 10, true),
        (Emulate::V4_0, 4096, 2047, true),
        (Emulate::V4_0, 4095, 2047, false),
        (Emulate::V4_0, 131_072, 2048, false),
        (Emulate::V4_0, 131_072, 0, false),
    ] {
        let mut world = World::new(version);
        let client = log_in(&mut world, "guest", true);
        assert_eq!(world.hear(client), ["0 connection.tune"]);
        world.send(client, 0, connection::TuneOk { channel_max, frame_max, heartbeat: 0 });
        world.send(client, 0, connection::Open { virtual_host: short("nowhere") });
        let heard = world.hear(client);
        let refused = "0 connection.close 530 NOT_ALLOWED - vhost nowhere not found (10.40)";
        assert_eq!(heard, if accepted { vec![refused] } else { vec![] }, "{frame_max} {channel_max}");
    }
}

#[test]
fn a_client_that_says_nothing_is_dropped_after_ten_seconds() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.stranger();
    world.sleep(Duration::from_secs(11));
    assert!(world.core.is_over(client.0));
}

#[test]
fn heartbeats_go_out_every_half_interval_and_a_silent_client_is_dropped_after_two() {
    let mut world = World::new(Emulate::V4_3);
    let client = log_in(&mut world, "guest", true);
    world.send(client, 0, connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 4 });
    world.send(client, 0, connection::Open { virtual_host: short("/") });
    world.hear(client);
    world.sleep(Duration::from_millis(7900));
    assert_eq!(world.hear(client), ["heartbeat"; 3]);
    assert!(!world.core.is_over(client.0));
    world.sleep(Duration::from_millis(200));
    assert!(world.core.is_over(client.0));
}

#[test]
fn a_client_that_falls_silent_inside_a_frame_is_dropped_too() {
    let mut world = World::new(Emulate::V4_3);
    let client = log_in(&mut world, "guest", true);
    world.send(client, 0, connection::TuneOk { channel_max: 10, frame_max: 8192, heartbeat: 4 });
    world.send(client, 0, connection::Open { virtual_host: short("/") });
    let mut input = BytesMut::from(&[8, 0, 0][..]);
    for second in 1..=8 {
        assert!(!world.core.is_over(client.0), "after {second} s");
        // As whoever drives it does, whenever the session is woken.
        world.core.handle_input(world.now, client.0, &mut input);
        world.sleep(Duration::from_secs(1));
    }
    assert!(world.core.is_over(client.0));
}

#[test]
fn channels_are_opened_once_and_no_more_than_was_agreed_on() {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    let text = "0 connection.close 504 CHANNEL_ERROR - second 'channel.open' seen (20.10)";
    assert_eq!(world.ask(client, channel::Open {}), [text]);
    let client = world.client();
    world.send(client, 7, passive("x"));
    let text = "0 connection.close 504 CHANNEL_ERROR - expected 'channel.open' (50.10)";
    assert_eq!(world.hear(client), [text]);
    let client = log_in(&mut world, "guest", true);
    world.send(client, 0, connection::TuneOk { channel_max: 1, frame_max: 8192, heartbeat: 0 });
    world.send(client, 0, connection::Open { virtual_host: short("/") });
    world.send(client, 1, channel::Open {});
    world.hear(client);
    world.send(client, 2, channel::Open {});
    let text = "0 connection.close 530 NOT_ALLOWED - number of channels opened (1) has reached the negotiated channel_max (1) (0.0)";
    assert_eq!(world.hear(client), [text]);
}

#[test]
fn a_closed_connection_takes_its_exclusive_queues_along() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    let declare = amqp_proto::method::queue::Declare { queue: short("mine"), exclusive: true, ..Default::default() };
    assert_eq!(world.ask(client, amqp_proto::method::queue::Method::Declare(declare)), ["1 queue.declare-ok mine 0 0"]);
    let heard = world.ask(other, passive("mine"));
    assert!(
        heard[0].starts_with(
            "1 channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'."
        ),
        "{heard:?}"
    );
    world.core.handle_eof(world.now, client.0);
    world.send(other, 1, channel::CloseOk {});
    world.send(other, 1, channel::Open {});
    world.hear(other);
    assert_eq!(world.ask(other, passive("mine")), ["1 channel.close 404 NOT_FOUND - no queue 'mine' in vhost '/'"]);
}
