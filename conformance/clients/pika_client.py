"""pika talks to the broker whose URI is the first argument: what it is told is what RabbitMQ tells."""

import sys

import pika
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, NackError, UnroutableError

QUEUE = "pika.queue"
EXCHANGE = "pika.events"


def topology(channel):
    channel.exchange_declare(EXCHANGE, exchange_type="topic", durable=True)
    declared = channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 3})
    assert (declared.method.queue, declared.method.message_count) == (QUEUE, 0), declared
    channel.queue_bind(QUEUE, EXCHANGE, "order.*")
    # Twice the same is the same.
    channel.queue_declare(QUEUE, durable=True, arguments={"x-max-priority": 3})
    channel.exchange_declare("pika.below", exchange_type="fanout", auto_delete=True)
    channel.exchange_bind("pika.below", EXCHANGE, "#")
    channel.exchange_unbind("pika.below", EXCHANGE, "#")
    named = channel.queue_declare("", exclusive=True).method.queue
    assert named.startswith("amq.gen-"), named


def publish_and_confirm(channel):
    channel.confirm_delivery()
    properties = pika.BasicProperties(
        content_type="text/plain", delivery_mode=2, priority=2, message_id="1", headers={"n": 1, "deep": {"list": [1, "two", None]}}
    )
    channel.basic_publish(EXCHANGE, "order.created", b"first", properties, mandatory=True)
    channel.basic_publish(EXCHANGE, "order.paid", b"x" * 300_000, mandatory=True)
    try:
        channel.basic_publish(EXCHANGE, "nowhere", b"lost", mandatory=True)
    except UnroutableError as error:
        [returned] = error.messages
        assert (returned.method.reply_code, returned.method.reply_text) == (312, "NO_ROUTE"), returned
        assert returned.body == b"lost", returned
    else:
        raise AssertionError("an unroutable message was not returned")


def get(channel):
    method, properties, body = channel.basic_get(QUEUE)
    assert (method.routing_key, method.exchange, method.redelivered, method.message_count) == ("order.created", EXCHANGE, False, 1)
    assert body == b"first", body
    assert properties.headers == {"n": 1, "deep": {"list": [1, "two", None]}}, properties
    assert (properties.content_type, properties.delivery_mode, properties.message_id) == ("text/plain", 2, "1")
    channel.basic_nack(method.delivery_tag, requeue=True)
    method, _, body = channel.basic_get(QUEUE)
    assert (method.redelivered, body) == (True, b"first"), method
    channel.basic_ack(method.delivery_tag)


def consume(channel):
    channel.basic_qos(prefetch_count=1)
    for number in range(5):
        channel.basic_publish("", QUEUE, str(number).encode())
    seen = []
    for method, _, body in channel.consume(QUEUE, inactivity_timeout=10):
        assert method is not None, "nothing came"
        seen.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(seen) == 6:
            break
    assert channel.cancel() == 0
    # The one without a priority came before those, as they have none either.
    assert seen == [b"x" * 300_000, b"0", b"1", b"2", b"3", b"4"], [body[:9] for body in seen]
    assert channel.queue_declare(QUEUE, passive=True).method.message_count == 0


def rejected_publishes(channel):
    channel.queue_declare("pika.full", exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.basic_publish("", "pika.full", b"one")
    try:
        channel.basic_publish("", "pika.full", b"two")
    except NackError:
        return
    raise AssertionError("a publish to a full queue was not refused")


def transactions(connection):
    channel = connection.channel()
    channel.tx_select()
    channel.basic_publish("", QUEUE, b"undone")
    channel.tx_rollback()
    channel.basic_publish("", QUEUE, b"done")
    channel.tx_commit()
    method, _, body = channel.basic_get(QUEUE, auto_ack=True)
    assert (body, method.message_count) == (b"done", 0), body
    channel.close()


def told_of_a_deleted_queue(connection):
    channel = connection.channel()
    cancelled = []
    channel.add_on_cancel_callback(lambda frame: cancelled.append(frame.method.consumer_tag))
    channel.queue_declare("pika.gone", auto_delete=True)
    tag = channel.basic_consume("pika.gone", lambda *_: None)
    connection.channel().queue_delete("pika.gone")
    while not cancelled:
        connection.process_data_events(time_limit=10)
    assert cancelled == [tag], cancelled
    channel.close()


def refused(connection, code, text, action):
    try:
        action(connection.channel())
    except ChannelClosedByBroker as error:
        assert (error.reply_code, error.reply_text) == (code, text), error
    else:
        raise AssertionError(f"{text} was not said")


def errors(connection):
    refused(connection, 404, "NOT_FOUND - no queue 'pika.missing' in vhost '/'", lambda channel: channel.queue_declare("pika.missing", passive=True))
    refused(
        connection,
        406,
        f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{QUEUE}' in vhost '/': received 'false' but current is 'true'",
        lambda channel: channel.queue_declare(QUEUE, durable=False, arguments={"x-max-priority": 3}),
    )
    refused(
        connection,
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        lambda channel: channel.exchange_declare("amq.mine"),
    )
    def ack_nothing(channel):
        channel.basic_ack(99)
        channel.queue_declare(QUEUE, passive=True)

    refused(connection, 406, "PRECONDITION_FAILED - unknown delivery tag 99", ack_nothing)


def hard_error(parameters):
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    try:
        channel.basic_qos(prefetch_size=1)
    except ConnectionClosedByBroker as error:
        assert (error.reply_code, error.reply_text) == (540, "NOT_IMPLEMENTED - prefetch_size!=0 (1)"), error
    else:
        raise AssertionError("a prefetch size was taken")


def wrong_password(parameters):
    parameters.credentials = pika.PlainCredentials("guest", "wrong")
    try:
        pika.BlockingConnection(parameters)
    except pika.exceptions.ProbableAuthenticationError as error:
        assert "ACCESS_REFUSED" in str(error), error
    else:
        raise AssertionError("a wrong password was taken")


def main(uri):
    connection = pika.BlockingConnection(pika.URLParameters(uri))
    channel = connection.channel()
    topology(channel)
    publish_and_confirm(channel)
    get(channel)
    consume(channel)
    rejected_publishes(channel)
    transactions(connection)
    told_of_a_deleted_queue(connection)
    errors(connection)
    channel.queue_delete(QUEUE)
    channel.exchange_delete(EXCHANGE)
    connection.close()
    hard_error(pika.URLParameters(uri))
    wrong_password(pika.URLParameters(uri))


main(sys.argv[1])
