//! A worker: takes tasks out of a queue and has them handled, one after the other.

use std::future::Future;
use std::time::Duration;

use amqp_proto::error::{Error, ErrorKind};

use super::rate::Rate;
use super::session::is_missing;
use super::{Task, TaskQueue, name};
use crate::above::backoff::Backoff;
use crate::above::caught::caught;
use crate::channel::Channel;
use crate::consumer::Consumer;
use crate::options::{Consume, Handling, OnError};
use crate::subscription::{IntoSettlement, Settlement};

/// How a worker works: without end, one task after the other, unless it says otherwise.
///
/// ```
/// use std::time::Duration;
///
/// # use amqp_api::{OnError, Work};
///
/// let work = Work::default().stop_when_empty().rate(10, Duration::from_secs(1)).on_error(OnError::RequeueOnce);
/// ```
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Work {
    stop_when_empty: bool,
    max_tasks: Option<u64>,
    rate: Option<Rate>,
    handling: Handling,
}

impl Work {
    /// It ends when the queue is empty, or does not exist. Tasks that others have leased are not waited for.
    pub fn stop_when_empty(mut self) -> Self {
        self.stop_when_empty = true;
        self
    }

    /// It ends after so many tasks.
    pub fn max_tasks(mut self, tasks: u64) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// It begins at most `max_calls` tasks, and at least one, in any stretch of time of the length of `period`. Default: as
    /// many as there are.
    pub fn rate(mut self, max_calls: u32, period: Duration) -> Self {
        self.rate = Some(Rate::new(max_calls, period));
        self
    }

    /// What becomes of a task whose handler returned an error. Default: [`OnError::Reject`].
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.handling = self.handling.on_error(on_error);
        self
    }

    /// What becomes of a task whose handler panicked. Default: [`OnError::Reject`].
    pub fn on_panic(mut self, on_panic: OnError) -> Self {
        self.handling = self.handling.on_panic(on_panic);
        self
    }
}

impl TaskQueue {
    /// Works on a queue: takes out a task, has it handled, settles it by what the handler returned, and takes out the next;
    /// tells how many it has handled when it ends. For more at a time, start several.
    ///
    /// What a handler returns is an [`IntoSettlement`]: the task is done for `()` and `Ok`; for an `Err`
    /// [`Work::on_error`] decides, and the worker goes on, as it does when the handler panics. The handler may settle the task
    /// itself. A task that is put back is handled again, and counts again.
    ///
    /// It ends when [`Work`] says so, or the task queue is [closed](Self::close). A connection that is lost is replaced: after
    /// a pause that grows from 0.1 s to 10 s, for as long as it takes. The task that was being handled is in the queue again
    /// then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TaskQueueName`]; what trying again would not help against, [wrong credentials](ErrorKind::AuthenticationFailed)
    /// for example.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it drops the handler that is running, and its task goes back to the queue.
    pub async fn work<H, F>(&self, queue: impl AsRef<str>, work: Work, handler: H) -> Result<u64, Error>
    where
        H: FnMut(Task) -> F,
        F: Future<Output: IntoSettlement>,
    {
        let name = name::check(queue.as_ref())?;
        let mut worker = Worker { tasks: self, name, work, source: None, backoff: Backoff::default() };
        worker.run(handler).await
    }
}

struct Worker<'w> {
    tasks: &'w TaskQueue,
    name: &'w str,
    work: Work,
    /// Where tasks come from while it waits for them.
    source: Option<Consumer>,
    backoff: Backoff,
}

impl Worker<'_> {
    async fn run<H, F>(&mut self, mut handler: H) -> Result<u64, Error>
    where
        H: FnMut(Task) -> F,
        F: Future<Output: IntoSettlement>,
    {
        let mut count = 0;
        while self.work.max_tasks.is_none_or(|max| count < max) {
            self.keep_to_rate().await;
            match self.next().await {
                Ok(Some(task)) => {
                    self.backoff = Backoff::default();
                    count += 1;
                    self.handle(task, &mut handler).await;
                }
                Ok(None) => break,
                Err(error) => {
                    self.source = None;
                    if matches!(error.kind(), ErrorKind::PoolClosed) || self.tasks.inner.pool.is_closed() {
                        break;
                    }
                    if !may_pass(&error) {
                        return Err(error);
                    }
                    self.backoff.pause(&*self.tasks.inner.runtime).await;
                }
            }
        }
        Ok(count)
    }

    async fn keep_to_rate(&mut self) {
        let runtime = &self.tasks.inner.runtime;
        let Some(rate) = &mut self.work.rate else { return };
        if let Some(then) = rate.wait(runtime.now()) {
            runtime.sleep_until(then).await;
        }
    }

    /// The next task; `None` if it is to end.
    async fn next(&mut self) -> Result<Option<Task>, Error> {
        if self.work.stop_when_empty {
            return self.tasks.get(self.name).await;
        }
        if self.source.is_none() {
            self.source = Some(self.consume().await?);
        }
        let Some(source) = &mut self.source else { return Ok(None) };
        let delivery = match source.next().await {
            Some(delivery) => delivery?,
            None => return Err(Error::new(ErrorKind::ConnectionNotOpen)),
        };
        Ok(Some(Task::settled(delivery)))
    }

    async fn consume(&self) -> Result<Consumer, Error> {
        let session = self.tasks.inner.session().await?;
        session.declare(self.name).await?;
        let channel: Channel = session.channel().await?;
        let consume = Consume::new(self.name).prefetch(1);
        let consume = if self.tasks.no_ack { consume.no_ack() } else { consume };
        let consumer = channel.consume(consume).await;
        if consumer.as_ref().is_err_and(is_missing) {
            session.forget(self.name);
        }
        consumer
    }

    async fn handle<H, F>(&mut self, task: Task, handler: &mut H)
    where
        H: FnMut(Task) -> F,
        F: Future<Output: IntoSettlement>,
    {
        if let Some(rate) = &mut self.work.rate {
            rate.begin(self.tasks.inner.runtime.now());
        }
        let redelivered = task.redelivered();
        let (task, acker) = task.lend();
        // The handler is called in here, so that its panics too are caught.
        let outcome = caught(async { handler(task).await.into_settlement() }).await;
        // It fails where the handler has settled it, and where the broker has put it back with the channel.
        let _ = match self.work.handling.settlement(outcome, redelivered) {
            Settlement::Ack => acker.ack(),
            Settlement::Requeue => acker.nack(true),
            Settlement::Reject | Settlement::Failed => acker.nack(false),
        };
    }
}

/// Whether it may be otherwise next time.
fn may_pass(error: &Error) -> bool {
    let is_over = matches!(error.kind(), ErrorKind::ConnectionNotOpen | ErrorKind::ChannelNotOpen);
    is_over || is_missing(error) || error.is_retryable() || matches!(error.kind(), ErrorKind::ConnectionClosed(_))
}
