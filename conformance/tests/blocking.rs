//! The suite on amqp-blocking.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a case fails by panicking")]
#![expect(clippy::needless_borrows_for_generic_args, reason = "borrowed bodies have cases of their own")]

use std::process::ExitCode;

#[path = "../suite/mod.rs"]
mod suite;

/// What the cases know of this adapter; see `suite/mod.rs`. A method waits when it is called, and the future that it
/// returns is ready.
mod facade {
    use std::fmt;
    use std::future::{IntoFuture, Ready, ready};
    use std::ops::Deref;
    use std::panic::resume_unwind;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, JoinHandle, Thread};
    use std::time::{Duration, Instant};

    pub(crate) use amqp_blocking::*;
    use bytes::{Buf, Bytes};
    use serde::Serialize;

    pub(crate) fn connect(options: impl IntoConnectOptions) -> Ready<Result<Connection, Error>> {
        ready(amqp_blocking::connect(options).map(Connection::wrap))
    }

    pub(crate) fn pool(options: impl IntoConnectOptions, size: usize) -> Result<Pool, Error> {
        Wrap::wrap(amqp_blocking::pool(options, size))
    }

    pub(crate) fn task_queue(options: impl IntoConnectOptions) -> Ready<Result<TaskQueue, Error>> {
        ready(Wrap::wrap(amqp_blocking::task_queue(options)))
    }

    pub(crate) fn pools(config: PoolsConfig) -> Result<PoolsSetup, Error> {
        Wrap::wrap(amqp_blocking::pools(config))
    }

    /// Options with one more hook.
    pub(crate) fn on_connect<F, Fut>(options: ConnectOptions, hook: F) -> ConnectOptions
    where
        F: Fn(Connection) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>>,
    {
        options.on_connect(amqp_blocking::hook(move |connection| block_on(hook(Connection(connection.clone())))))
    }

    /// Makes the same handles as amqp-blocking's, from the same list.
    macro_rules! handles {
        ($(
            $(#[$about:meta])*
            $handle:ident {
                $(
                    $(#[$doc:meta])*
                    [$($how:ident)*] fn $method:ident $(<$life:lifetime>)? ($($arguments:tt)*) -> $output:ty;
                )*
            }
        )*) => {$(
            $(#[$about])*
            pub(crate) struct $handle(amqp_blocking::$handle);

            impl Wrap<amqp_blocking::$handle> for $handle {
                fn wrap(handle: amqp_blocking::$handle) -> Self {
                    Self(handle)
                }
            }

            impl fmt::Debug for $handle {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            #[allow(dead_code, clippy::must_use_candidate, reason = "the suite need not call all of them")]
            impl $handle {
                $(forward! { [$($how)*] $method [$(<$life>)?] ($($arguments)*) $output })*
            }
        )*};
    }

    macro_rules! forward {
        ($how:tt $method:ident [$($life:tt)*] (&$self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
            pub(crate) fn $method $($life)* (&$self $(, $name: $type)*) -> output!($how $output) {
                answer!($how $self.0.$method($($name),*))
            }
        };
        ($how:tt $method:ident [] (&mut $self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
            pub(crate) fn $method(&mut $self $(, $name: $type)*) -> output!($how $output) {
                answer!($how $self.0.$method($($name),*))
            }
        };
        ($how:tt $method:ident [] ($self:ident $(, $name:ident: $type:ty)*) $output:ty) => {
            pub(crate) fn $method($self $(, $name: $type)*) -> output!($how $output) {
                answer!($how $self.0.$method($($name),*))
            }
        };
    }

    macro_rules! output {
        ([wait $($wrap:ident)?] $output:ty) => { Ready<$output> };
        ([$($wrap:ident)?] $output:ty) => { $output };
    }

    macro_rules! answer {
        ([] $call:expr) => {
            $call
        };
        ([wait] $call:expr) => {
            ready($call)
        };
        ([wrap] $call:expr) => {
            Wrap::wrap($call)
        };
        ([wait wrap] $call:expr) => {
            ready(Wrap::wrap($call))
        };
    }

    /// Makes one of these handles of amqp-blocking's.
    trait Wrap<T> {
        fn wrap(handle: T) -> Self;
    }

    impl<T, H: Wrap<T>> Wrap<Result<T, Error>> for Result<H, Error> {
        fn wrap(result: Result<T, Error>) -> Self {
            result.map(H::wrap)
        }
    }

    include!("../../amqp-blocking/src/methods.rs");
    include!("../../amqp-blocking/src/methods_json.rs");

    impl TaskQueue {
        pub(crate) fn work<H, F>(&self, queue: impl AsRef<str>, work: Work, mut handler: H) -> Ready<Result<u64, Error>>
        where
            H: FnMut(Task) -> F,
            F: Future<Output: IntoSettlement>,
        {
            ready(self.0.work(queue, work, |task| block_on(handler(task))))
        }
    }

    impl Connection {
        pub(crate) fn with_channel<T, E, F>(&self, function: F) -> Ready<Result<T, E>>
        where
            F: AsyncFnOnce(Channel) -> Result<T, E>,
            E: From<Error>,
        {
            ready(self.0.with_channel(|channel| block_on(function(Channel::wrap(channel)))))
        }
    }

    impl Channel {
        pub(crate) fn consume_with<H, F>(
            &self,
            consume: impl Into<Consume>,
            handling: Handling,
            handler: H,
        ) -> Ready<Result<Subscription, Error>>
        where
            H: Fn(Delivery) -> F + Send + Sync + 'static,
            F: Future<Output: IntoSettlement>,
        {
            ready(Wrap::wrap(self.0.consume_with(consume, handling, move |delivery| block_on(handler(delivery)))))
        }
    }

    impl Pool {
        pub(crate) fn listen<H, F>(
            &self,
            consume: impl Into<Consume>,
            handling: Handling,
            handler: H,
        ) -> Ready<Result<Listener, Error>>
        where
            H: Fn(Connection, Delivery) -> F + Send + Sync + 'static,
            F: Future<Output: IntoSettlement>,
        {
            let handler = move |connection, delivery| block_on(handler(Connection(connection), delivery));
            ready(Wrap::wrap(self.0.listen(consume, handling, handler)))
        }
    }

    impl Connection {
        pub(crate) fn consume_with_retry<H, F, E>(
            &self,
            retry: Retry,
            handling: Handling,
            handler: H,
        ) -> Ready<Result<Subscription, Error>>
        where
            H: Fn(Arc<Content>) -> F + Send + Sync + 'static,
            F: Future<Output = Result<(), E>>,
            E: fmt::Display + Send,
        {
            let handler = move |content| block_on(handler(content));
            ready(Wrap::wrap(self.0.consume_with_retry(retry, handling, handler)))
        }

        pub(crate) fn rpc_server<H, F, M, E>(
            &self,
            consume: impl Into<Consume>,
            handling: Handling,
            handler: H,
        ) -> Ready<Result<Subscription, Error>>
        where
            H: Fn(Delivery) -> F + Send + Sync + 'static,
            F: Future<Output = Result<M, E>>,
            M: Into<Message<'static>> + Send,
            E: Send,
        {
            ready(Wrap::wrap(self.0.rpc_server(consume, handling, move |request| block_on(handler(request)))))
        }
    }

    impl PoolsSetup {
        pub(crate) fn on_start<H, F>(self, pool: impl AsRef<str>, hook: H) -> Self
        where
            H: FnOnce(Connection) -> F + Send + 'static,
            F: Future<Output = Result<(), Error>>,
        {
            Self(self.0.on_start(pool, |connection| block_on(hook(Connection(connection)))))
        }
    }

    pub(crate) struct Pooled {
        connection: Connection,
        _inner: amqp_blocking::Pooled,
    }

    impl Wrap<amqp_blocking::Pooled> for Pooled {
        fn wrap(inner: amqp_blocking::Pooled) -> Self {
            Self { connection: Connection((*inner).clone()), _inner: inner }
        }
    }

    impl Deref for Pooled {
        type Target = Connection;

        fn deref(&self) -> &Connection {
            &self.connection
        }
    }

    impl fmt::Debug for Pooled {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.connection.fmt(f)
        }
    }

    impl Consumer {
        pub(crate) fn channel(&self) -> Channel {
            Channel::wrap(self.0.channel().clone())
        }

        pub(crate) fn next(&mut self) -> Ready<Option<Result<Delivery, Error>>> {
            ready(self.0.next())
        }
    }

    impl StreamedConsumer {
        pub(crate) fn next(&mut self) -> Ready<Option<Result<StreamedDelivery, Error>>> {
            ready(self.0.next().map(|delivery| delivery.map(StreamedDelivery)))
        }
    }

    impl StreamedDelivery {
        pub(crate) fn into_parts(self) -> (BodyStream, Acker) {
            let (body, acker) = self.0.into_parts();
            (BodyStream(body), acker)
        }
    }

    impl Returns {
        pub(crate) fn next(&mut self) -> Ready<Option<Returned>> {
            ready(self.0.next())
        }
    }

    impl Events {
        pub(crate) fn next(&mut self) -> Ready<Option<ConnectionEvent>> {
            ready(self.0.next())
        }
    }

    impl IntoFuture for Confirm {
        type Output = Result<(), Error>;
        type IntoFuture = Ready<Self::Output>;

        fn into_future(self) -> Self::IntoFuture {
            self.wait()
        }
    }

    impl IntoFuture for BatchConfirm {
        type Output = Result<(), Error>;
        type IntoFuture = Ready<Self::Output>;

        fn into_future(self) -> Self::IntoFuture {
            self.wait()
        }
    }

    /// Threads that a connection takes.
    pub(crate) const THREADS_PER_CONNECTION: usize = 1;

    /// Runs a case, whose futures are ready, unless it made one itself.
    pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
        struct Unpark(Thread);

        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }

        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }

    pub(crate) async fn sleep(duration: Duration) {
        thread::sleep(duration);
    }

    pub(crate) async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
        let start = Instant::now();
        let output = future.await;
        if start.elapsed() < duration { Ok(output) } else { Err(Elapsed) }
    }

    pub(crate) fn spawn<F>(future: F) -> Spawned<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        Spawned(Some(thread::spawn(|| block_on(future))))
    }

    /// A task on a thread of its own; awaiting it gives its result or goes on with its panic.
    pub(crate) struct Spawned<T>(Option<JoinHandle<T>>);

    impl<T> Future for Spawned<T> {
        type Output = T;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
            match self.0.take().expect("it is not polled again").join() {
                Ok(value) => Poll::Ready(value),
                Err(panic) => resume_unwind(panic),
            }
        }
    }
}

fn main() -> ExitCode {
    conformance::suite::run("amqp-blocking", facade::block_on, suite::cases())
}
