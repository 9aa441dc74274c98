//! Where messages go.

use amqp_broker::Emulate;
use amqp_proto::method::{Method, Properties, exchange};
use amqp_proto::table;
use amqp_proto::wire::{FieldTable, FieldValue};

use super::peer::{Client, World, bind, exchange as declare_exchange, message, passive, short};

fn world() -> (World, Client) {
    let mut world = World::new(Emulate::V4_3);
    let client = world.client();
    (world, client)
}

/// How many messages are in queues.
fn depths(world: &mut World, client: Client, queues: &[&str]) -> Vec<u32> {
    let depth = |world: &mut World, queue: &str| {
        let heard = world.ask(client, passive(queue)).join("");
        heard.split(' ').nth(3).and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("{heard}"))
    };
    queues.iter().map(|queue| depth(world, queue)).collect()
}

#[test]
fn a_message_goes_once_to_each_queue_however_many_bindings_lead_there() {
    let (mut world, client) = world();
    let none = FieldTable::new();
    world.declare(client, "a", &none);
    world.declare(client, "b", &none);
    for method in [
        bind("a", "amq.topic", "#", &none),
        bind("a", "amq.topic", "x.*", &none),
        bind("b", "amq.topic", "*.y", &none),
        bind("a", "amq.topic", "x.*", &none),
    ] {
        assert_eq!(world.ask(client, method), ["1 queue.bind-ok"]);
    }
    world.publish(client, "amq.topic", "x.y", "1");
    world.publish(client, "amq.topic", "z", "2");
    assert_eq!(depths(&mut world, client, &["a", "b"]), [2, 1]);
}

#[test]
fn exchanges_lead_to_exchanges_even_in_circles_and_to_their_alternate_if_to_nothing() {
    let (mut world, client) = world();
    let none = FieldTable::new();
    for name in ["direct", "bound", "rest"] {
        world.declare(client, name, &none);
    }
    let alternate = table! { "alternate-exchange" => "spare" };
    let main = exchange::Declare {
        exchange: short("main"),
        kind: short("direct"),
        arguments: alternate.as_ref(),
        ..exchange::Declare::default()
    };
    let chain = |destination: &'static str, source: &'static str| -> Method<'static> {
        let bind = exchange::Bind {
            destination: short(destination),
            source: short(source),
            routing_key: short("k"),
            ..exchange::Bind::default()
        };
        exchange::Method::Bind(bind).into()
    };
    let methods = [
        exchange::Method::Declare(main).into(),
        declare_exchange("second", "fanout"),
        declare_exchange("spare", "fanout"),
    ];
    world.pipeline(client, &methods);
    world.pipeline(client, &[chain("second", "main"), chain("main", "second")]);
    world.pipeline(
        client,
        &[bind("direct", "main", "k", &none), bind("bound", "second", "", &none), bind("rest", "spare", "", &none)],
    );
    world.hear(client);
    world.publish(client, "main", "k", "1");
    assert_eq!(depths(&mut world, client, &["direct", "bound", "rest"]), [1, 1, 0]);
    world.publish(client, "main", "other", "2");
    assert_eq!(depths(&mut world, client, &["direct", "bound", "rest"]), [1, 1, 1]);
}

#[test]
fn headers_decide_at_a_headers_exchange_and_cc_and_bcc_add_routing_keys() {
    let (mut world, client) = world();
    let none = FieldTable::new();
    for name in ["all", "any", "cc", "bcc"] {
        world.declare(client, name, &none);
    }
    let (all, any) = (table! { "a" => 1, "b" => 2 }, table! { "x-match" => "any", "a" => 1, "b" => 2 });
    world.pipeline(client, &[bind("all", "amq.headers", "", &all), bind("any", "amq.headers", "", &any)]);
    world.hear(client);
    let mut properties = Properties::new();
    properties.insert_header("a", 1).unwrap();
    world.bytes(client, &message("amq.headers", "", "x", &properties, false));
    assert_eq!(depths(&mut world, client, &["all", "any"]), [0, 1]);
    let keys = |key: &str| FieldValue::Array(vec![key.into()]);
    properties.insert_header("CC", keys("cc")).unwrap();
    properties.insert_header("BCC", keys("bcc")).unwrap();
    world.bytes(client, &message("", "all", "x", &properties, false));
    assert_eq!(depths(&mut world, client, &["all", "cc", "bcc"]), [1, 1, 1]);
    let heard = world.ask(client, super::peer::take("all"));
    assert_eq!(heard[1], r#"  header 1 { headers: {"CC": ["cc"], "a": 1i32} }"#, "sorted, and without BCC");
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding_however_that_goes() {
    let (mut world, client) = world();
    let none = FieldTable::new();
    world.declare(client, "q", &none);
    let declare = exchange::Declare {
        exchange: short("brief"),
        kind: short("fanout"),
        auto_delete: true,
        ..exchange::Declare::default()
    };
    world.pipeline(client, &[exchange::Method::Declare(declare).into(), bind("q", "brief", "", &none)]);
    world.hear(client);
    let delete = amqp_proto::method::queue::Delete { queue: short("q"), ..Default::default() };
    assert_eq!(world.ask(client, amqp_proto::method::queue::Method::Delete(delete)), ["1 queue.delete-ok 0"]);
    world.publish(client, "brief", "", "x");
    assert_eq!(world.hear(client), ["1 channel.close 404 NOT_FOUND - no exchange 'brief' in vhost '/'"]);
}
