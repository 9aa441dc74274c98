//! An executor in virtual time, of the fuzzed driver and of the tests in `tests/fake`: tasks in an order that somebody else
//! decides, and a clock that jumps to the next deadline.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

type BoxFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Clone)]
pub(crate) struct Executor(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    runnable: Mutex<VecDeque<Arc<Task>>>,
}

struct State {
    now: Instant,
    timers: Vec<(Instant, u64, Waker)>,
    next_timer: u64,
    tasks: Vec<Arc<Task>>,
}

struct Task {
    future: Mutex<Option<BoxFuture>>,
    queued: AtomicBool,
    executor: Weak<Inner>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        if let Some(executor) = self.executor.upgrade()
            && !self.queued.swap(true, Ordering::SeqCst)
        {
            executor.runnable.lock().unwrap().push_back(self);
        }
    }
}

/// Whether a future that is no task is to be polled.
pub(crate) struct Flag(AtomicBool);

impl Flag {
    /// A future that was not polled yet is to be polled.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Polls the future if the flag is set, which is unset then. `None`: it was not.
    pub(crate) fn poll<F: Future + ?Sized>(self: &Arc<Self>, future: Pin<&mut F>) -> Option<Poll<F::Output>> {
        if !self.0.swap(false, Ordering::SeqCst) {
            return None;
        }
        let waker = Waker::from(Arc::clone(self));
        Some(future.poll(&mut Context::from_waker(&waker)))
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Executor {
    pub(crate) fn new(now: Instant) -> Self {
        let state = State { now, timers: Vec::new(), next_timer: 0, tasks: Vec::new() };
        Self(Arc::new(Inner { state: Mutex::new(state), runnable: Mutex::default() }))
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.state.lock().unwrap().now
    }

    pub(crate) fn sleep_until(&self, deadline: Instant) -> Sleep {
        let mut state = self.0.state.lock().unwrap();
        state.next_timer += 1;
        Sleep { executor: self.clone(), deadline, key: state.next_timer }
    }

    pub(crate) fn spawn(&self, task: BoxFuture) {
        let task = Arc::new(Task {
            future: Mutex::new(Some(task)),
            queued: AtomicBool::new(false),
            executor: Arc::downgrade(&self.0),
        });
        self.0.state.lock().unwrap().tasks.push(Arc::clone(&task));
        task.wake();
    }

    /// Polls one of the tasks that were woken; `pick` says which. `false`: there was none.
    pub(crate) fn run_one(&self, pick: usize) -> bool {
        let task = {
            let mut runnable = self.0.runnable.lock().unwrap();
            if runnable.is_empty() {
                return false;
            }
            let at = pick % runnable.len();
            runnable.remove(at).unwrap()
        };
        task.queued.store(false, Ordering::SeqCst);
        let mut slot = task.future.lock().unwrap();
        if let Some(future) = &mut *slot {
            let waker = Waker::from(Arc::clone(&task));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                *slot = None;
            }
        }
        true
    }

    /// Moves the clock to the next deadline. `false`: nobody waits for one.
    pub(crate) fn jump(&self) -> bool {
        let due: Vec<_> = {
            let mut state = self.0.state.lock().unwrap();
            let Some(next) = state.timers.iter().map(|(at, ..)| *at).min() else { return false };
            state.now = state.now.max(next);
            let now = state.now;
            let (due, later) = std::mem::take(&mut state.timers).into_iter().partition(|(at, ..)| *at <= now);
            state.timers = later;
            due
        };
        due.into_iter().for_each(|(_, _, waker)| waker.wake());
        true
    }

    /// Drops every task, as a runtime does that is shut down.
    pub(crate) fn drop_tasks(&self) {
        let tasks = std::mem::take(&mut self.0.state.lock().unwrap().tasks);
        for task in tasks {
            let future = task.future.lock().unwrap().take();
            drop(future);
        }
    }

    /// How many tasks have not ended.
    pub(crate) fn task_count(&self) -> usize {
        let tasks = self.0.state.lock().unwrap().tasks.clone();
        tasks.iter().filter(|task| task.future.lock().unwrap().is_some()).count()
    }
}

/// A future that is done at its time.
pub(crate) struct Sleep {
    executor: Executor,
    deadline: Instant,
    key: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.executor.0.state.lock().unwrap();
        if state.now >= self.deadline {
            return Poll::Ready(());
        }
        let key = self.key;
        state.timers.retain(|(_, other, _)| *other != key);
        state.timers.push((self.deadline, key, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let key = self.key;
        self.executor.0.state.lock().unwrap().timers.retain(|(_, other, _)| *other != key);
    }
}
