//! Exchanges, queues and bindings.

use amqp_proto::conn::{self, Reply};
use amqp_proto::error::Error;
use amqp_proto::method::{exchange, queue};
use amqp_proto::wire::ShortStr;

use super::Channel;
use crate::call::{Call, Keep, done, mismatch};
use crate::options::{Binding, Exchange, ExchangeDelete, Queue, QueueDelete, QueuePurge};

/// A queue that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueDeclared {
    /// Its name: the broker's choice if none was asked for.
    pub name: String,
    /// How many messages were ready for delivery.
    pub message_count: u32,
    /// How many consumers it had.
    pub consumer_count: u32,
}

impl Channel {
    /// Declares an exchange: makes it, or checks that it is there and the same.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Exchange;
    ///
    /// channel.exchange_declare(Exchange::topic("events")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 406 if it is there and different, 404 if it was asked for passively and is not, 403 for
    /// names that begin with `amq.`; for an unknown type 406, or before RabbitMQ 4 a
    /// 503 that closes the connection.
    pub fn exchange_declare(&self, exchange: impl Into<Exchange>) -> Call<()> {
        let exchange = exchange.into();
        self.call(done, declare_exchange(&exchange))
    }

    /// Deletes an exchange and its bindings. One that does not exist is no error, at RabbitMQ.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 406 if it had to be unused and is not.
    pub fn exchange_delete(&self, exchange: impl Into<ExchangeDelete>) -> Call<()> {
        let ExchangeDelete { exchange, if_unused, nowait } = exchange.into();
        self.call(
            done,
            name("exchange", &exchange, "exchange.delete").map(|exchange| exchange::Delete {
                exchange,
                if_unused,
                nowait,
            }),
        )
    }

    /// Binds the exchange `destination` to the exchange `source`: what `source` routes by this binding goes on to
    /// `destination`.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if one of them is missing.
    pub fn exchange_bind(
        &self,
        destination: impl AsRef<str>,
        source: impl AsRef<str>,
        binding: impl Into<Binding>,
    ) -> Call<()> {
        let binding = binding.into();
        let (destination, source) = (destination.as_ref(), source.as_ref());
        let fields = || -> Result<_, Error> {
            Ok(exchange::Bind {
                destination: ShortStr::named("destination", destination)?,
                source: ShortStr::named("source", source)?,
                routing_key: ShortStr::named("routing key", &binding.routing_key)?,
                nowait: binding.nowait,
                arguments: binding.arguments.get()?,
            })
        };
        self.call(done, fields().map_err(|error| error.during("exchange.bind")))
    }

    /// Takes a binding between exchanges away. One that does not exist is no error, at RabbitMQ.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if one of the exchanges is missing.
    pub fn exchange_unbind(
        &self,
        destination: impl AsRef<str>,
        source: impl AsRef<str>,
        binding: impl Into<Binding>,
    ) -> Call<()> {
        let binding = binding.into();
        let (destination, source) = (destination.as_ref(), source.as_ref());
        let fields = || -> Result<_, Error> {
            Ok(exchange::Unbind {
                destination: ShortStr::named("destination", destination)?,
                source: ShortStr::named("source", source)?,
                routing_key: ShortStr::named("routing key", &binding.routing_key)?,
                nowait: binding.nowait,
                arguments: binding.arguments.get()?,
            })
        };
        self.call(done, fields().map_err(|error| error.during("exchange.unbind")))
    }

    /// Declares a queue: makes it, or checks that it is there and the same.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Queue;
    ///
    /// channel.queue_declare("hello").await?;
    /// channel.queue_declare(Queue::quorum("orders").dead_letter_exchange("dead").delivery_limit(5)).await?;
    /// let replies = channel.queue_declare(Queue::server_named()).await?;
    /// println!("{} with {} messages", replies.name, replies.message_count);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 406 if it is there and different, 405 if it is another connection's exclusive queue, 404 if
    /// it was asked for passively and is not there, 403 for names that begin with `amq.`.
    pub fn queue_declare(&self, queue: impl Into<Queue>) -> Call<QueueDeclared> {
        fn finish(reply: Reply, _: Keep) -> Result<QueueDeclared, Error> {
            match reply {
                Reply::QueueDeclared { queue: name, message_count, consumer_count } => {
                    Ok(QueueDeclared { name, message_count, consumer_count })
                }
                _ => mismatch(),
            }
        }
        let queue = queue.into();
        let method = declare_queue(&queue);
        if !queue.nowait {
            return self.call(finish, method);
        }
        // Nobody will say so, but this is its name.
        let asked = queue.name.clone();
        let id = self.id();
        let unanswered = |conn: &mut conn::Connection| conn.request(id, method?, None);
        Call::start_unanswered(Keep::Channel(self.clone()), finish, unanswered, || Reply::QueueDeclared {
            queue: asked,
            message_count: 0,
            consumer_count: 0,
        })
    }

    /// Binds a queue to an exchange: by a routing key, or by a [`Binding`] with arguments.
    ///
    /// ```no_run
    /// # async fn example(channel: amqp_api::Channel) -> Result<(), amqp_api::Error> {
    /// # use amqp_api::Binding;
    ///
    /// channel.queue_bind("orders", "events", "order.*").await?;
    /// channel.queue_bind("pdfs", "files", Binding::default().argument("format", "pdf")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if the queue or the exchange is missing.
    pub fn queue_bind(
        &self,
        queue: impl AsRef<str>,
        exchange: impl AsRef<str>,
        binding: impl Into<Binding>,
    ) -> Call<()> {
        let binding = binding.into();
        let (queue, exchange) = (queue.as_ref(), exchange.as_ref());
        let fields = || -> Result<_, Error> {
            Ok(queue::Bind {
                queue: ShortStr::named("queue", queue)?,
                exchange: ShortStr::named("exchange", exchange)?,
                routing_key: ShortStr::named("routing key", &binding.routing_key)?,
                nowait: binding.nowait,
                arguments: binding.arguments.get()?,
            })
        };
        self.call(done, fields().map_err(|error| error.during("queue.bind")))
    }

    /// Takes a queue's binding away. One that does not exist is no error, at RabbitMQ.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if the queue or the exchange is missing.
    pub fn queue_unbind(
        &self,
        queue: impl AsRef<str>,
        exchange: impl AsRef<str>,
        binding: impl Into<Binding>,
    ) -> Call<()> {
        let binding = binding.into();
        let (queue, exchange) = (queue.as_ref(), exchange.as_ref());
        let fields = || -> Result<_, Error> {
            Ok(queue::Unbind {
                queue: ShortStr::named("queue", queue)?,
                exchange: ShortStr::named("exchange", exchange)?,
                routing_key: ShortStr::named("routing key", &binding.routing_key)?,
                arguments: binding.arguments.get()?,
            })
        };
        self.call(done, fields().map_err(|error| error.during("queue.unbind")))
    }

    /// Empties a queue of what is ready for delivery and says how many messages that were.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 404 if it is missing.
    pub fn queue_purge(&self, queue: impl Into<QueuePurge>) -> Call<u32> {
        let QueuePurge { queue, nowait } = queue.into();
        self.call(message_count, name("queue", &queue, "queue.purge").map(|queue| queue::Purge { queue, nowait }))
    }

    /// Deletes a queue, its messages and its bindings, and says how many messages that were. One that does not exist is
    /// no error, at RabbitMQ.
    ///
    /// # Errors
    ///
    /// Those of any [`Call`]; 406 if it had to be unused or empty and is not.
    pub fn queue_delete(&self, queue: impl Into<QueueDelete>) -> Call<u32> {
        let QueueDelete { queue, if_unused, if_empty, nowait } = queue.into();
        let method =
            name("queue", &queue, "queue.delete").map(|queue| queue::Delete { queue, if_unused, if_empty, nowait });
        self.call(message_count, method)
    }
}

fn declare_exchange(exchange: &Exchange) -> Result<exchange::Declare<'_>, Error> {
    let fields = || -> Result<_, Error> {
        Ok(exchange::Declare {
            exchange: ShortStr::named("exchange", &exchange.name)?,
            kind: ShortStr::named("exchange type", &exchange.kind)?,
            passive: exchange.passive,
            durable: exchange.durable,
            auto_delete: exchange.auto_delete,
            internal: exchange.internal,
            nowait: exchange.nowait,
            arguments: exchange.arguments.get()?,
        })
    };
    fields().map_err(|error| error.during("exchange.declare"))
}

fn declare_queue(queue: &Queue) -> Result<queue::Declare<'_>, Error> {
    let fields = || -> Result<_, Error> {
        Ok(queue::Declare {
            queue: ShortStr::named("queue", &queue.name)?,
            passive: queue.passive,
            durable: queue.durable,
            exclusive: queue.exclusive,
            auto_delete: queue.auto_delete,
            nowait: queue.nowait,
            arguments: queue.arguments.get()?,
        })
    };
    fields().map_err(|error| error.during("queue.declare"))
}

fn name<'a>(field: &'static str, name: &'a str, operation: &'static str) -> Result<ShortStr<'a>, Error> {
    ShortStr::named(field, name).map_err(|error| Error::from(error).during(operation))
}

/// A count, or 0 where there was no reply.
#[expect(clippy::needless_pass_by_value, reason = "what finishes a call takes all of its reply")]
fn message_count(reply: Reply, _: Keep) -> Result<u32, Error> {
    match reply {
        Reply::MessageCount(count) => Ok(count),
        Reply::Done => Ok(0),
        _ => mismatch(),
    }
}
