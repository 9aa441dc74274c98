//! The walk of what makes connections by itself: pools, listeners and task queues.
//!
//! Whatever is dropped, afterwards the pool has its place back and gives a connection that works, the task queue works, no
//! message is held, and when all is closed no task, consumer or connection is left.

#[cfg(feature = "json")]
use amqp_api::driver::task_queue;
use amqp_api::driver::{pool, pools};
use amqp_api::{Config, Connection, Delivery, Handling, Listener, Pool, Pooled, Pools, PoolsConfig};
#[cfg(feature = "json")]
use amqp_api::{Task, TaskQueue, Work};

use super::{MINUTE, Walked, walked};
use crate::peer::Peer;
use crate::tools::both;
use crate::wire::{Manners, WireHandle};
use crate::world::{Host, Step, Stepped, World};

/// More than are ever dialled.
const WIRES: usize = 8;

/// A pool of one connection, and a task queue.
struct Scene {
    world: World,
    wires: Vec<WireHandle>,
    pool: Pool,
    /// Of one pool.
    pools: Pools,
    #[cfg(feature = "json")]
    tasks: TaskQueue,
}

/// A method that waits, and how to walk it.
struct Walk {
    /// `Type::method`.
    method: &'static str,
    start: for<'s> fn(&'s mut Scene) -> Walked<'s>,
    /// The pool's connection is out when it is started, and comes back when nothing else can happen.
    is_out: bool,
    /// What it is called on is closed afterwards, if it was polled.
    closes: bool,
}

fn walk(method: &'static str, start: for<'s> fn(&'s mut Scene) -> Walked<'s>) -> Walk {
    Walk { method, start, is_out: false, closes: false }
}

impl Walk {
    fn while_out(mut self) -> Self {
        self.is_out = true;
        self
    }

    fn closes(mut self) -> Self {
        self.closes = true;
        self
    }
}

fn walks() -> Vec<Walk> {
    #[cfg_attr(not(feature = "json"), expect(unused_mut, reason = "there are no task queues"))]
    let mut walks = vec![
        walk("Pool::get", |scene| walked(scene.pool.get())),
        walk("Pool::get", |scene| walked(scene.pool.get())).while_out(),
        walk("Pool::get_timeout", |scene| walked(scene.pool.get_timeout(MINUTE))),
        walk("Pool::get_timeout", |scene| walked(scene.pool.get_timeout(MINUTE))).while_out(),
        walk("Pool::try_get", |scene| walked(scene.pool.try_get())),
        walk("Pool::close", |scene| {
            drop(scene.check_out());
            walked(scene.pool.close())
        })
        .closes(),
        walk("Pool::listen", |scene| walked(scene.listen())),
        walk("Pool::listen", |scene| walked(scene.listen())).while_out(),
        walk("Listener::stop", |scene| walked(async { scene.listen().await?.stop().await })),
        walk("Listener::finished", |scene| {
            walked(async {
                let listener = scene.listen().await?;
                listener.request_stop();
                listener.finished().await
            })
        }),
        walk("Pools::close", |scene| walked(scene.pools.close())).closes(),
        walk("PoolsSetup::start", |scene| {
            let setup = pools(scene.world.runtime(), config()).unwrap();
            let hook = async |connection: Connection| connection.channel().await?.queue_declare("q").await.map(drop);
            walked(setup.on_start("one", hook).start())
        }),
    ];
    #[cfg(feature = "json")]
    walks.extend([
        walk("TaskQueue::submit", |scene| walked(scene.tasks.submit("walked", &()))),
        walk("TaskQueue::get", |scene| walked(scene.tasks.get("walked"))),
        walk("TaskQueue::poll", |scene| walked(scene.tasks.poll("walked"))),
        walk("TaskQueue::work", |scene| walked(scene.tasks.work("walked", two(), async |_: Task| ()))),
        walk("TaskQueue::work", |scene| {
            walked(scene.tasks.work("walked", two().stop_when_empty(), async |_: Task| ()))
        }),
        walk("TaskQueue::close", |scene| walked(scene.tasks.close())).closes(),
    ]);
    walks
}

/// The methods that are walked here.
pub(super) fn methods() -> Vec<&'static str> {
    walks().iter().map(|walk| walk.method).collect()
}

#[cfg(feature = "json")]
fn two() -> Work {
    Work::default().max_tasks(2)
}

fn config() -> PoolsConfig {
    PoolsConfig::default().pool("one", "amqp://broker", 1).unwrap()
}

impl Scene {
    fn new(seed: u64) -> Self {
        let world = World::new(seed);
        // Each consumer gets two messages.
        let peer = || Peer { greeting: 2, ..Peer::default() };
        let wires: Vec<_> = (0..WIRES).map(|_| world.wire(peer(), Manners::Good)).collect();
        world.host("broker", Host::each(wires.iter().cloned().map(Host::Answers)));
        let runtime = world.runtime();
        Self {
            pool: pool(runtime.clone(), Config::new("broker"), 1).unwrap(),
            pools: world.block_on(pools(runtime.clone(), config()).unwrap().start()).unwrap(),
            #[cfg(feature = "json")]
            tasks: world.block_on(task_queue(runtime, Config::new("broker"))).unwrap(),
            world,
            wires,
        }
    }

    fn check_out(&self) -> Pooled {
        self.world.block_on(self.pool.get()).unwrap()
    }

    async fn listen(&self) -> Result<Listener, amqp_api::Error> {
        self.pool.listen("q", Handling::default(), async |_: Connection, _: Delivery| ()).await
    }

    /// Everything works, and nothing is left of what was dropped.
    fn check(self, closes: bool, context: &str) {
        self.world.settle();
        if !closes {
            self.check_pool(context);
            #[cfg(feature = "json")]
            self.check_tasks(context);
        }
        self.world.settle();
        for wire in &self.wires {
            let peer = &wire.lock().peer;
            assert!(peer.consumers.is_empty(), "{:?}, {context}", peer.consumers);
            assert!(peer.unsettled.is_empty(), "{:?}, {context}", peer.unsettled);
        }
        assert!(self.world.block_on(self.pool.close()).is_ok(), "{context}");
        assert!(self.world.block_on(self.pools.close()).is_ok(), "{context}");
        #[cfg(feature = "json")]
        assert!(self.world.block_on(self.tasks.close()).is_ok(), "{context}");
        // A connection that was given up in its handshake waits for its peer, but not for ever.
        self.world.sleep(MINUTE);
        let dialled = self.world.dialled().len();
        assert!(dialled < WIRES, "{dialled}, {context}");
        // A dial that was given up at once has not said a word.
        let is_gone = |wire: &WireHandle| {
            let wire = wire.lock();
            wire.dropped || wire.peer.deframer.is_none()
        };
        assert!(self.wires.iter().all(is_gone), "{context}");
        assert_eq!(self.world.task_count(), 0, "{context}");
    }

    fn check_pool(&self, context: &str) {
        assert_eq!((self.pool.available(), self.pool.waiting()), (1, 0), "{context}");
        let connection = self.check_out();
        self.world.block_on(async {
            let channel = connection.channel().await.unwrap();
            let (one, two) = both(channel.queue_declare("q101"), channel.queue_declare("q102")).await;
            assert_eq!((one.unwrap().message_count, two.unwrap().message_count), (101, 102), "{context}");
            channel.close().await.unwrap();
        });
    }

    #[cfg(feature = "json")]
    fn check_tasks(&self, context: &str) {
        self.world.block_on(async {
            let (one, two) = both(Box::pin(self.tasks.poll("q_101")), Box::pin(self.tasks.poll("q_102"))).await;
            assert_eq!((one.unwrap(), two.unwrap()), (101, 102), "{context}");
            assert!(self.tasks.submit("walked", &()).await.is_ok(), "{context}");
            assert!(self.tasks.get("walked").await.unwrap().unwrap().done().is_ok(), "{context}");
        });
    }
}

#[test]
fn p12_f46_f47_f48_a_future_above_the_channel_may_be_dropped_wherever_it_waits() {
    for seed in 0..4 {
        for walk in walks() {
            let mut steps = 0;
            while !drop_after(&walk, steps, seed) {
                steps += 1;
                assert!(steps < 10_000, "{} does not end (seed {seed})", walk.method);
            }
        }
    }
}

/// Drops the future after so many steps of the world and looks at what is left. `true` if the future ended before.
fn drop_after(walk: &Walk, steps: usize, seed: u64) -> bool {
    let mut scene = Scene::new(seed);
    let world = scene.world.clone();
    let mut out = walk.is_out.then(|| scene.check_out());
    let mut is_done = false;
    let mut future = Stepped::new((walk.start)(&mut scene));
    for _ in 0..steps {
        match world.step(&mut future) {
            Step::Done(is_fine) => {
                assert!(is_fine, "{} (seed {seed})", walk.method);
                is_done = true;
                break;
            }
            Step::Moved => {}
            Step::Still => assert!(out.take().is_some(), "{} waits for nothing (seed {seed})", walk.method),
        }
    }
    drop((future, out));
    scene.check(walk.closes, &format!("{} dropped after {steps} steps (seed {seed})", walk.method));
    is_done
}
