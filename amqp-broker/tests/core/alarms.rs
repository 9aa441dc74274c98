//! A broker that is low on something.

use amqp_broker::{Alarm, Broker, Emulate};
use amqp_proto::wire::FieldTable;

use super::peer::{World, passive};

#[test]
fn only_those_who_publish_are_blocked_and_what_they_sent_is_done_later() {
    let mut world = World::new(Emulate::V4_3);
    let (publisher, other) = (world.client(), world.client());
    world.declare(publisher, "q", &FieldTable::new());
    world.core.set_alarm(world.now, Alarm::Memory, true);
    assert!(world.hear(publisher).is_empty(), "a broker notices publishers by what they publish");
    let mut bytes = bytes::BytesMut::from(&super::peer::message("", "q", "x", &Default::default(), false)[..]);
    world.core.handle_input(world.now, publisher.0, &mut bytes);
    assert_eq!(world.hear(publisher), ["0 connection.blocked low on memory"]);
    assert!(!world.core.wants_read(publisher.0) && world.core.wants_read(other.0));
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 0 0"], "its body stands before the door");
    world.core.set_alarm(world.now, Alarm::Memory, false);
    assert_eq!(world.hear(publisher), ["0 connection.unblocked"]);
    world.core.handle_input(world.now, publisher.0, &mut bytes);
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 1 0"]);
}

#[test]
fn an_alarm_of_a_running_broker_shows_in_its_connections() {
    let broker = Broker::start().unwrap();
    broker.set_alarm(Alarm::Disk, true);
    assert!(broker.connections().is_empty());
    broker.set_alarm(Alarm::Disk, false);
}
