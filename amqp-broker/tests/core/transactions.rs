//! Class tx.

use amqp_broker::Emulate;
use amqp_proto::method::{Properties, tx};
use amqp_proto::wire::FieldTable;

use super::peer::{World, ack, get, message, passive};

#[test]
fn publishes_and_acks_happen_at_the_commit_or_never() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    let (commit, rollback) = (tx::Method::Commit(tx::Commit {}), tx::Method::Rollback(tx::Rollback {}));
    world.declare(client, "q", &FieldTable::new());
    assert_eq!(world.ask(client, tx::Method::Select(tx::Select {})), ["1 tx.select-ok"]);
    world.publish(client, "", "q", "1");
    world.bytes(client, &message("", "nowhere", "2", &Properties::new(), true));
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 0 0"]);
    let returned = ["1 basic.return 312 NO_ROUTE \"nowhere\"", "  header 1", "  body 2", "1 tx.commit-ok"];
    assert_eq!(world.ask(client, commit), returned);
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 1 0"]);
    world.ask(client, get("q"));
    // An ack that is taken back can be said again.
    world.send(client, 1, ack(1));
    assert_eq!(world.ask(client, rollback), ["1 tx.rollback-ok"]);
    world.send(client, 1, ack(1));
    assert_eq!(world.ask(client, commit), ["1 tx.commit-ok"]);
    assert_eq!(world.ask(client, ack(1)), ["1 channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1"]);
    assert_eq!(world.ask(other, commit), ["1 channel.close 406 PRECONDITION_FAILED - channel is not transactional"]);
}

#[test]
fn acks_that_were_not_committed_go_back_with_the_channel() {
    let mut world = World::new(Emulate::V4_3);
    let (client, other) = (world.client(), world.client());
    world.declare(client, "q", &FieldTable::new());
    world.publish(client, "", "q", "1");
    world.ask(client, tx::Method::Select(tx::Select {}));
    world.ask(client, get("q"));
    world.send(client, 1, ack(1));
    world.core.handle_eof(world.now, client.0);
    assert_eq!(world.ask(other, passive("q")), ["1 queue.declare-ok q 1 0"]);
}
