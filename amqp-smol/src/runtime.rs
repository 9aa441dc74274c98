//! async-io's clock and sockets, and somebody's tasks.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use amqp_api::driver::{BoxFuture, Io, Runtime, tcp_socket};
use amqp_api::{Address, TcpOptions};
use async_io::Timer;

use crate::io::Stream;
use crate::spawner::Spawner;
use crate::tcp;

/// async-io's reactor, which needs no runtime around it, and a spawner.
pub(crate) struct AsyncIo(pub(crate) Spawner);

impl Runtime for AsyncIo {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<()> {
        Box::pin(async move {
            Timer::at(deadline).await;
        })
    }

    fn spawn(&self, task: BoxFuture<()>) {
        self.0.spawn(task);
    }

    fn resolve(&self, address: &Address) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let Address { host, port } = address.clone();
        Box::pin(async_net::resolve((host, port)))
    }

    fn connect(&self, address: SocketAddr, options: &TcpOptions) -> BoxFuture<io::Result<Box<dyn Io>>> {
        let socket = tcp_socket(address, options);
        Box::pin(async move {
            let stream = tcp::connect(socket?, address).await?;
            let io: Box<dyn Io> = Box::new(Stream::tcp(stream));
            Ok(io)
        })
    }
}
