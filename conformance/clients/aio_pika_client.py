"""aio-pika talks to the broker whose URI is the first argument: what it is told is what RabbitMQ tells."""

import asyncio
import sys

import aio_pika
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed, DeliveryError, QueueEmpty

QUEUE = "aio.queue"


async def topology(channel):
    exchange = await channel.declare_exchange("aio.events", aio_pika.ExchangeType.HEADERS, durable=True)
    dead = await channel.declare_queue("aio.dead", durable=True)
    queue = await channel.declare_queue(
        QUEUE, durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "aio.dead"}
    )
    await queue.bind(exchange, arguments={"x-match": "all", "kind": "order"})
    return exchange, queue, dead


async def publish_and_confirm(exchange):
    for number in range(10):
        message = aio_pika.Message(
            f"{number}".encode(), headers={"kind": "order", "number": number}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
        )
        confirmed = await exchange.publish(message, routing_key="")
        assert type(confirmed).__name__ == "Ack", confirmed
    try:
        await exchange.publish(aio_pika.Message(b"lost", headers={"kind": "other"}), routing_key="key", mandatory=True)
    except DeliveryError as error:
        assert (error.message.delivery.reply_code, error.message.body) == (312, b"lost"), error
    else:
        raise AssertionError("an unroutable message was not returned")


async def get(queue):
    message = await queue.get()
    assert (message.body, message.redelivered, message.message_count) == (b"0", False, 9), message
    assert message.headers == {"kind": "order", "number": 0}, message.headers
    await message.reject(requeue=False)


async def dead_letter(dead):
    # RabbitMQ takes its time to bury it.
    async with dead.iterator(timeout=10) as messages:
        message = await anext(messages)
    [death] = message.headers["x-death"]
    assert (death["queue"], death["reason"], death["count"], death["exchange"]) == (QUEUE, "rejected", 1, "aio.events"), death
    assert message.headers["x-first-death-queue"] == QUEUE, message.headers
    await message.ack()
    try:
        await dead.get()
    except QueueEmpty:
        return
    raise AssertionError("a message came twice")


async def consume(channel, queue):
    await channel.set_qos(prefetch_count=3)
    seen = []
    async with queue.iterator(timeout=10) as messages:
        async for message in messages:
            async with message.process():
                seen.append(message.body)
            if len(seen) == 9:
                break
    assert seen == [f"{number}".encode() for number in range(1, 10)], seen


async def direct_reply(connection):
    channel = await connection.channel()
    answer = asyncio.get_running_loop().create_future()
    pseudo = await channel.get_queue("amq.rabbitmq.reply-to", ensure=False)
    await pseudo.consume(answer.set_result, no_ack=True)
    server = await channel.declare_queue("aio.rpc", exclusive=True)

    async def serve(message):
        reply = aio_pika.Message(message.body.upper(), correlation_id=message.correlation_id)
        await channel.default_exchange.publish(reply, routing_key=message.reply_to)

    await server.consume(serve, no_ack=True)
    question = aio_pika.Message(b"hello", correlation_id="7", reply_to="amq.rabbitmq.reply-to")
    await channel.default_exchange.publish(question, routing_key="aio.rpc")
    message = await asyncio.wait_for(answer, 10)
    assert (message.body, message.correlation_id) == (b"HELLO", "7"), message
    await channel.close()


async def errors(connection):
    for kind, name, action in [
        (ChannelNotFoundEntity, "NOT_FOUND - no queue 'aio.missing' in vhost '/'", lambda c: c.declare_queue("aio.missing", passive=True)),
        (
            ChannelPreconditionFailed,
            "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'aio.events' in vhost '/': "
            "received 'fanout' but current is 'headers'",
            lambda c: c.declare_exchange("aio.events", aio_pika.ExchangeType.FANOUT, durable=True),
        ),
    ]:
        channel = await connection.channel()
        try:
            await action(channel)
        except kind as error:
            assert name in str(error), error
        else:
            raise AssertionError(f"{name} was not said")


async def main(uri):
    connection = await aio_pika.connect(uri)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        exchange, queue, dead = await topology(channel)
        await publish_and_confirm(exchange)
        await get(queue)
        await dead_letter(dead)
        await consume(channel, queue)
        await direct_reply(connection)
        await errors(connection)
        for used in queue, dead:
            await used.delete()
        await exchange.delete()


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 60))
