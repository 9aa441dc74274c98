//! A task queue: what it does not send.

use amqp_api::driver::task_queue;
use amqp_api::{Config, ErrorKind, Heartbeat, Task, Work};

use crate::peer::Peer;
use crate::wire::Manners;
use crate::world::{Host, World};

#[test]
fn r4_f48_not_one_byte_is_sent_for_a_bad_name() {
    let world = World::new(4);
    let wire = world.wire(Peer { heartbeat: 0, ..Peer::default() }, Manners::Good);
    world.host("broker", Host::Answers(wire.clone()));
    let config = Config::new("broker").heartbeat(Heartbeat::Disabled);
    let tasks = world.block_on(task_queue(world.runtime(), config)).unwrap();
    world.settle();
    let seen = || wire.lock().peer.seen.clone();
    let before = seen();
    for name in ["BADNAME", "", "a__b", "f"] {
        let errors = [
            world.block_on(tasks.submit(name, &())).unwrap_err(),
            world.block_on(tasks.get(name)).unwrap_err(),
            world.block_on(tasks.poll(name)).unwrap_err(),
            world.block_on(tasks.work(name, Work::default(), async |_: Task| ())).unwrap_err(),
        ];
        for error in errors {
            assert!(matches!(error.kind(), ErrorKind::TaskQueueName(bad) if bad == name), "{error}");
        }
    }
    world.settle();
    assert_eq!(seen(), before);
    // A good one is asked for.
    assert!(world.block_on(tasks.get("good")).unwrap().is_some());
    world.settle();
    assert!(seen().len() > before.len());
}
