"""Closes, by either side and for many reasons."""

import struct

from pika import frame, spec

from client import Raw, publish


def channel_errors(stage):
    """channels that the server closes: 404, 406, 403, 405; each answered and opened again."""
    other = stage.extra()
    other.call(1, spec.Queue.Declare(queue="golden.locked", exclusive=True), spec.Queue.DeclareOk)
    other.call(1, spec.Queue.Declare(queue="golden.taken", auto_delete=True), spec.Queue.DeclareOk)
    exclusive = spec.Basic.Consume(queue="golden.taken", consumer_tag="mine", exclusive=True)
    other.call(1, exclusive, spec.Basic.ConsumeOk)
    client = stage.client().open(channels=0)
    wrong = [
        spec.Queue.Declare(queue="golden.missing", passive=True),
        spec.Exchange.Declare(exchange="golden.missing", type="direct", passive=True),
        spec.Queue.Declare(queue="golden.taken", durable=True),
        spec.Exchange.Declare(exchange="amq.topic", type="direct", durable=True),
        spec.Exchange.Delete(exchange="amq.topic"),
        spec.Queue.Declare(queue="golden.locked"),
        spec.Basic.Consume(queue="golden.taken", consumer_tag="too late"),
        spec.Basic.Ack(delivery_tag=99),
        publish(1, "golden.missing", "key", b"to no exchange"),
    ]
    for method in wrong:
        client.call(1, spec.Channel.Open(), spec.Channel.OpenOk)
        client.send(method if isinstance(method, bytes) else (1, method))
        client.await_channel_close(1)
    client.close()
    other.close()


def connection_error_not_allowed(stage):
    """530: a consumer tag used twice on a channel."""
    client = stage.client().open()
    client.call(1, spec.Queue.Declare(queue="", exclusive=True), spec.Queue.DeclareOk)
    client.call(1, spec.Basic.Consume(consumer_tag="twice"), spec.Basic.ConsumeOk)
    client.send((1, spec.Basic.Consume(consumer_tag="twice")))
    client.await_close()


def connection_error_not_implemented(stage):
    """540: a publish with `immediate`, whose bit only AMQP 0-8 brokers know; its content comes behind it."""
    client = stage.client().open()
    immediate = frame.Method(1, spec.Basic.Publish(routing_key="golden.nowhere", immediate=True))
    client.send(immediate.marshal(), frame.Header(1, 3, spec.BasicProperties()).marshal(), frame.Body(1, b"now").marshal())
    client.await_close()


def connection_error_flow(stage):
    """540: flow(active=false) from the client."""
    client = stage.client().open()
    client.send((1, spec.Channel.Flow(active=False)))
    client.await_close()


def connection_error_unopened_channel(stage):
    """504: a method on a channel that is not open."""
    client = stage.client().open()
    client.send((7, spec.Queue.Declare(queue="golden.unopened")))
    client.await_close()


def connection_error_unexpected_frame(stage):
    """505: a content header that no method announced."""
    client = stage.client().open()
    client.send(frame.Header(1, 3, spec.BasicProperties()).marshal())
    client.await_close()


def connection_error_opened_twice(stage):
    """504: a channel opened twice."""
    client = stage.client().open()
    client.send((1, spec.Channel.Open()))
    client.await_close()


def connection_error_cancel_ok(stage):
    """503: cancel-ok in answer to the server's basic.cancel, which RabbitMQ does not know."""
    client = stage.client().open()
    client.call(1, spec.Queue.Declare(queue="golden.cancel"), spec.Queue.DeclareOk)
    client.call(1, spec.Basic.Consume(queue="golden.cancel", consumer_tag="cancelled"), spec.Basic.ConsumeOk)
    client.call(1, spec.Queue.Delete(queue="golden.cancel"), spec.Basic.Cancel)
    client.send((1, spec.Basic.CancelOk("cancelled")))
    client.await_close()


def not_a_number(stage):
    """a NaN in a table, which Erlang cannot represent: RabbitMQ closes the socket without a word."""
    client = stage.client().open()
    arguments = {"nan": Raw(struct.pack(">cI", b"f", 0x7FC00000))}
    client.send((1, spec.Queue.Declare(queue="golden.nan", arguments=arguments)))
    client.hang_up()


# In the scenes that follow one of the client's frames is wrong on purpose.


def malformed_frame_end(stage):
    """501: a frame of the client ends with CD in place of CE."""
    client = stage.client().open()
    client.send(frame.Method(1, spec.Channel.Flow(active=True)).marshal()[:-1] + b"\xcd")
    client.await_close()


def malformed_frame_type(stage):
    """501: a frame of the client is of type 5."""
    client = stage.client().open()
    client.send(_frame(5, 1, b"\0" * 8))
    client.await_close()


def malformed_arguments(stage):
    """501: a queue.declare whose name is cut off."""
    client = stage.client().open()
    client.send(_frame(1, 1, struct.pack(">HH", 50, 10) + b"\0\0\x05ab"))
    client.await_close()


def malformed_table(stage):
    """a queue.declare with a field of the unknown type z: RabbitMQ closes the socket without a word."""
    client = stage.client().open()
    client.send((1, spec.Queue.Declare(queue="golden.z", arguments={"unknown": Raw(b"z\x00")})))
    client.hang_up()


def malformed_method(stage):
    """the method 50.99, which does not exist: RabbitMQ closes the socket without a word."""
    client = stage.client().open()
    client.send(_frame(1, 1, struct.pack(">HH", 50, 99)))
    client.hang_up()


def _frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def connection_forced(stage):
    """320: connections closed by the operator, with words of more than one byte per letter."""
    client = stage.client().open()
    stage.node.ctl("close_all_connections", "údržba")
    client.await_close()


def closed_by_both(stage):
    """close and channel.close of the client in one write with a channel error of its own making.

    The server's channel.close crosses the client's.
    """
    client = stage.client().open(channels=2)
    client.send(
        (2, spec.Queue.Declare(queue="golden.missing", passive=True)),
        (2, spec.Channel.Close(200, "Goodbye", 0, 0)),
        (1, spec.Channel.Close(200, "Goodbye", 0, 0)),
    )
    client.await_channel_close(2)
    client.close()
