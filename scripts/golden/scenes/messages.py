"""Consuming and getting."""

import pika
from pika import spec

from client import Raw, publish
from .publishing import _declare


def get(stage):
    """get-empty, get with and without acks, message counts, an empty body, a binary one."""
    client = stage.client().open()
    _declare(client, "golden.get")
    client.call(1, spec.Basic.Get(queue="golden.get"), spec.Basic.GetEmpty)
    bodies = [b"one", b"", bytes(range(256))]
    client.send(*(publish(1, "", "golden.get", body) for body in bodies))
    for body in bodies[:2]:
        client.send((1, spec.Basic.Get(queue="golden.get")))
        method, received = client.expect_content(spec.Basic.GetOk)
        assert received == body
        client.send((1, spec.Basic.Ack(method.delivery_tag)))
    client.send((1, spec.Basic.Get(queue="golden.get", no_ack=True)))
    client.expect_content(spec.Basic.GetOk)
    client.call(1, spec.Basic.Get(queue="golden.get", no_ack=True), spec.Basic.GetEmpty)
    client.close()


def consume(stage):
    """qos, consume with every flag and a tag by the server, ack single and multiple, nack, reject, cancel."""
    client = stage.client().open(channels=2)
    client.call(1, spec.Basic.Qos(prefetch_count=10), spec.Basic.QosOk)
    client.call(2, spec.Basic.Qos(prefetch_count=65535, global_qos=True), spec.Basic.QosOk)
    _declare(client, "golden.consume")
    tag = client.call(1, spec.Basic.Consume(queue="golden.consume"), spec.Basic.ConsumeOk).consumer_tag
    arguments = {"x-priority": 5}
    other = spec.Basic.Consume(
        queue="golden.consume", consumer_tag="nowait", no_local=True, nowait=True, arguments=arguments
    )
    client.send((2, other))
    client.call(2, spec.Basic.Cancel(consumer_tag="nowait"), spec.Basic.CancelOk)

    client.send(*(publish(1, "", "golden.consume", b"%d" % number) for number in range(6)))
    tags = [client.expect_content(spec.Basic.Deliver)[0].delivery_tag for _ in range(6)]
    client.send((1, spec.Basic.Ack(tags[0])), (1, spec.Basic.Ack(tags[2], multiple=True)))
    client.send((1, spec.Basic.Nack(tags[3], requeue=False)), (1, spec.Basic.Reject(tags[4], requeue=True)))
    redelivered = client.expect_content(spec.Basic.Deliver)[0]
    client.send((1, spec.Basic.Nack(redelivered.delivery_tag, multiple=True, requeue=False)))
    client.call(1, spec.Basic.Cancel(consumer_tag=tag), spec.Basic.CancelOk)
    exclusive = spec.Basic.Consume(queue="golden.consume", consumer_tag="exclusive", exclusive=True, no_ack=True)
    client.call(1, exclusive, spec.Basic.ConsumeOk)
    client.send((1, spec.Basic.Cancel(consumer_tag="exclusive", nowait=True)))
    # An unknown tag is answered as well.
    client.call(1, spec.Basic.Cancel(consumer_tag="never was"), spec.Basic.CancelOk)
    client.close()


def recover(stage):
    """recover with requeue, and recover-async, which nothing answers but the redelivery."""
    client = stage.client().open()
    _declare(client, "golden.recover")
    client.call(1, spec.Basic.Consume(queue="golden.recover", consumer_tag="recover"), spec.Basic.ConsumeOk)
    client.send(publish(1, "", "golden.recover", b"again and again"))
    client.expect_content(spec.Basic.Deliver)
    client.call(1, spec.Basic.Recover(requeue=True), spec.Basic.RecoverOk)
    client.expect_content(spec.Basic.Deliver)
    client.send((1, spec.Basic.RecoverAsync(requeue=True)))
    client.expect_content(spec.Basic.Deliver)
    client.close()


def cancelled_by_the_server(stage):
    """basic.cancel from the server, because the queue was deleted: by the consumer's channel, and by another."""
    client = stage.client().open(channels=2)
    for channel in (1, 2):
        name = f"golden.cancel.{channel}"
        client.call(channel, spec.Queue.Declare(queue=name), spec.Queue.DeclareOk)
        consume = spec.Basic.Consume(queue=name, consumer_tag=f"cancelled {channel}")
        client.call(channel, consume, spec.Basic.ConsumeOk)
    for name in ("golden.cancel.1", "golden.cancel.2"):
        client.send((1, spec.Queue.Delete(queue=name)))
        awaited = {spec.Queue.DeleteOk.INDEX, spec.Basic.Cancel.INDEX}
        while awaited:
            awaited.discard(int.from_bytes(client.next_frame()[2][:4], "big"))
    client.close()


def quorum_redelivery(stage):
    """a quorum queue's redelivery, to whose headers RabbitMQ adds x-delivery-count; the first delivery is encoded anew."""
    client = stage.client().open()
    quorum = spec.Queue.Declare(queue="golden.quorum", durable=True, arguments={"x-queue-type": "quorum"})
    client.call(1, quorum, spec.Queue.DeclareOk)
    client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    headers = {"kept": Raw(b"L\x00\x00\x00\x00\x00\x00\x00\x07"), "twice": "one"}
    client.send(publish(1, "", "golden.quorum", b"twice", spec.BasicProperties(headers=headers)))
    client.expect(spec.Basic.Ack)
    client.call(1, spec.Basic.Qos(prefetch_count=1), spec.Basic.QosOk)
    client.send((1, spec.Basic.Consume(queue="golden.quorum", consumer_tag="quorum")))
    first, _ = client.expect_content(spec.Basic.Deliver)
    client.send((1, spec.Basic.Nack(first.delivery_tag, requeue=True)))
    second, _ = client.expect_content(spec.Basic.Deliver)
    client.send((1, spec.Basic.Ack(second.delivery_tag)))
    client.call(1, spec.Queue.Delete(queue="golden.quorum"), spec.Queue.DeleteOk)
    client.close()


def stream(stage):
    """a stream queue read from its first message: RabbitMQ adds x-stream-offset to the headers."""
    client = stage.client().open()
    stream = spec.Queue.Declare(queue="golden.stream", durable=True, arguments={"x-queue-type": "stream"})
    client.call(1, stream, spec.Queue.DeclareOk)
    client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send(*(publish(1, "", "golden.stream", b"%d" % number) for number in range(3)))
    confirmed = 0
    while confirmed < 3:
        confirmed = max(confirmed, client.expect(spec.Basic.Ack).delivery_tag)
    client.call(1, spec.Basic.Qos(prefetch_count=10), spec.Basic.QosOk)
    first = spec.Basic.Consume(queue="golden.stream", consumer_tag="stream", arguments={"x-stream-offset": "first"})
    client.send((1, first))
    for _ in range(3):
        delivery, _ = client.expect_content(spec.Basic.Deliver)
        client.send((1, spec.Basic.Ack(delivery.delivery_tag)))
    client.call(1, spec.Basic.Cancel("stream"), spec.Basic.CancelOk)
    client.call(1, spec.Queue.Delete(queue="golden.stream"), spec.Queue.DeleteOk)
    client.close()


def direct_reply_to(stage):
    """a call over amq.rabbitmq.reply-to: the request comes with a generated reply_to, the reply by it."""
    client = stage.client().open()
    consume = spec.Basic.Consume(queue="amq.rabbitmq.reply-to", consumer_tag="replies", no_ack=True)
    client.call(1, consume, spec.Basic.ConsumeOk)
    _declare(client, "golden.rpc")
    request = spec.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="call 1")
    client.send(publish(1, "", "golden.rpc", b"question", request))
    client.send((1, spec.Basic.Get(queue="golden.rpc", no_ack=True)))
    client.expect(spec.Basic.GetOk)
    _, _, header = client.next_frame()
    received = spec.BasicProperties().decode(header[12:])
    client.next_frame()
    answer = spec.BasicProperties(correlation_id=received.correlation_id)
    client.send(publish(1, "", received.reply_to, b"answer", answer))
    client.expect_content(spec.Basic.Deliver)
    client.close()


def pika_session(stage):
    """a session of pika's own connection: declare, bind, publish confirmed, consume, ack, close."""
    parameters = pika.ConnectionParameters("127.0.0.1", stage.recorder.port)
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.exchange_declare("golden.session", "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, "golden.session", "session.#")
    for number in range(3):
        properties = pika.BasicProperties(headers={"number": number}, delivery_mode=2)
        channel.basic_publish("golden.session", f"session.{number}", b"%d" % number, properties, mandatory=True)
    channel.basic_qos(prefetch_count=2)
    for method, _, _ in channel.consume(queue):
        channel.basic_ack(method.delivery_tag)
        if method.delivery_tag == 3:
            break
    channel.cancel()
    channel.close()
    connection.close()
