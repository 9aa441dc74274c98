//! Queues of tasks: JSON objects that are put in and taken out by name.
//!
//! | file | job |
//! |---|---|
//! | this | the handle |
//! | `name` | which names queues may have |
//! | `session` | a connection, its channels, and what was declared on it |
//! | `task` | a task that was taken out, and the message that stands for one |
//! | `work`, `rate` | a worker, and how fast it may be |

mod name;
mod rate;
mod session;
mod task;
mod work;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amqp_proto::error::{Error, ErrorKind};
use serde::Serialize;

use self::session::{Session, is_missing};
pub use self::task::Task;
pub use self::work::Work;
use super::pool::Pool;
use crate::connect::ConnectOptions;
use crate::driver::Runtime;
use crate::options::{Get, Queue};

/// Durable queues of tasks, by name. A task is an object in JSON; what is taken out is leased until it is settled.
///
/// The first task that is submitted to a name declares a durable direct exchange, a durable queue and a binding, all of that
/// name; messages are persistent and of content type `application/json`, so any other client can take part. A name begins with
/// a lowercase letter, goes on with lowercase letters, digits and single underscores, ends with a letter or digit, and has 2 to
/// 255 bytes; others are [`ErrorKind::TaskQueueName`], before anything is sent.
///
/// It has a connection of its own, and makes a new one when that is lost: by the next call. Clones share it.
///
/// ```no_run
/// # async fn task_queue(_: &str) -> Result<amqp_api::TaskQueue, amqp_api::Error> { unimplemented!("the adapter has it") }
/// # async fn example() -> Result<(), amqp_api::Error> {
/// use amqp_api::{Task, Work};
///
/// let tasks = task_queue("amqp://localhost").await?;
/// tasks.submit("mail", &serde_json::json!({ "to": "alice" })).await?;
/// assert_eq!(tasks.poll("mail").await?, 1);
///
/// // One by one,
/// if let Some(task) = tasks.get("mail").await? {
///     println!("{:?}", task.payload()?);
///     task.done()?;
/// }
/// // or by a worker.
/// let count = tasks
///     .work("mail", Work::default().stop_when_empty(), async |task: Task| {
///         println!("{:?}", task.payload());
///     })
///     .await?;
/// tasks.close().await
/// # }
/// ```
#[derive(Clone)]
pub struct TaskQueue {
    inner: Arc<Inner>,
    no_ack: bool,
}

struct Inner {
    runtime: Arc<dyn Runtime>,
    /// Of one connection: whoever checks it out may put another session into its place.
    pool: Pool,
    session: Mutex<Option<Arc<Session>>>,
}

impl Inner {
    fn present(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_session(&self) -> Option<Arc<Session>> {
        self.present().as_ref().filter(|session| session.is_open()).cloned()
    }

    /// The present connection, or a new one.
    async fn session(&self) -> Result<Arc<Session>, Error> {
        if let Some(session) = self.open_session() {
            return Ok(session);
        }
        let connection = self.pool.get().await?;
        // Whoever had it before may have been here for the same.
        if let Some(session) = self.open_session() {
            return Ok(session);
        }
        let session = Arc::new(Session::open(connection.clone()).await?);
        let old = self.present().replace(Arc::clone(&session));
        drop(old);
        Ok(session)
    }
}

impl TaskQueue {
    pub(crate) async fn connect(runtime: Arc<dyn Runtime>, options: ConnectOptions) -> Result<Self, Error> {
        let pool = Pool::new(Arc::clone(&runtime), options, 1)?;
        let inner = Inner { runtime, pool, session: Mutex::default() };
        let connected = inner.session().await;
        connected.map_err(|error| Error::new(ErrorKind::TaskQueueConnect(error)))?;
        Ok(Self { inner: Arc::new(inner), no_ack: false })
    }

    /// A handle whose tasks are settled when they are taken out: faster, and a task is lost if whoever has it fails.
    #[must_use]
    pub fn no_ack(mut self) -> Self {
        self.no_ack = true;
        self
    }

    /// Puts a task into a queue, and waits until the broker has taken responsibility for it. The payload is what is an object
    /// in JSON: a map, a struct; nothing, as `()` or `None`, is an empty one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TaskQueueName`]; [`ErrorKind::TaskPayload`] for what is no object, [`ErrorKind::Codec`] for what cannot be
    /// written; those of a publish. After [`ErrorKind::Unknown`] the task may be in the queue or not.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it may have put the task into the queue or not.
    pub async fn submit(&self, queue: impl AsRef<str>, payload: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let (name, message) = (name::check(queue.as_ref())?, task::message(payload)?);
        self.inner.session().await?.submit(name, message).await
    }

    /// Takes the next task out of a queue; `None` if there is none, or no such queue.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TaskQueueName`]; those of any [`Call`](crate::Call), and of making a connection.
    ///
    /// # Cancel safety
    ///
    /// Dropped before it has returned, it has taken nothing. With [`no_ack`](Self::no_ack) the task may be lost.
    pub async fn get(&self, queue: impl AsRef<str>) -> Result<Option<Task>, Error> {
        let name = name::check(queue.as_ref())?;
        let session = self.inner.session().await?;
        let channel = session.channel().await?;
        let get = if self.no_ack { Get::new(name).no_ack() } else { Get::new(name) };
        match channel.get(get).await {
            Ok(Some(delivery)) if !self.no_ack => Ok(Some(Task::leased(delivery, channel, session))),
            Ok(delivery) => {
                session.spare(channel);
                Ok(delivery.map(Task::settled))
            }
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many tasks there are in a queue to be taken out: leased ones do not count. 0 if there is no such queue, and there is
    /// none afterwards.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    ///
    /// # Cancel safety
    ///
    /// Dropping it changes nothing.
    pub async fn poll(&self, queue: impl AsRef<str>) -> Result<u32, Error> {
        let name = name::check(queue.as_ref())?;
        let session = self.inner.session().await?;
        let channel = session.channel().await?;
        match channel.queue_declare(Queue::new(name).passive()).await {
            Ok(declared) => {
                session.spare(channel);
                Ok(declared.message_count)
            }
            Err(error) if is_missing(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Closes its connection, for all its handles. Tasks that are leased go back, and workers end.
    ///
    /// # Errors
    ///
    /// If the connection could not be closed in order.
    ///
    /// # Cancel safety
    ///
    /// The close has been asked for when it has been polled; dropping it does not stop that.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.pool.close().await
    }
}

impl fmt::Debug for TaskQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskQueue").field("no_ack", &self.no_ack).finish_non_exhaustive()
    }
}
