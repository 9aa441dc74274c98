"""Publishes, their confirms and returns, transactions."""

from pika import spec

from client import publish
from .topology import ALL_TYPES, PIKA


def _declare(client, queue, channel=1, **options):
    client.call(channel, spec.Queue.Declare(queue=queue, exclusive=True, **options), spec.Queue.DeclareOk)


def confirms(stage):
    """confirms: single acks, nowait select, a pipelined batch acked in multiples, persistent messages."""
    client = stage.client().open(channels=2)
    client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send((2, spec.Confirm.Select(nowait=True)))
    _declare(client, "golden.confirms", durable=True)
    persistent = spec.BasicProperties(delivery_mode=2)
    for body in (b"first", b"second"):
        client.send(publish(1, "", "golden.confirms", body, persistent))
        client.expect(spec.Basic.Ack)
    client.send(publish(2, "", "golden.confirms", b"on another channel"))
    client.expect(spec.Basic.Ack)
    highest, multiple, sent = 2, False, 2
    while not multiple and sent < 1000:
        # Persistent ones are confirmed once they are on disk, and so in heaps.
        client.send(*(publish(1, "", "golden.confirms", b"x", persistent) for _ in range(20)))
        sent += 20
        while highest < sent:
            ack = client.expect(spec.Basic.Ack)
            highest, multiple = max(highest, ack.delivery_tag), multiple or ack.multiple
    if not multiple:
        raise RuntimeError("no multiple ack came")
    client.close()


def confirms_nacked(stage):
    """nacks: a queue of one message that rejects what is published beyond it, one by one and as a batch."""
    client = stage.client().open()
    _declare(client, "golden.full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    client.send(publish(1, "", "golden.full", b"fits"))
    client.expect(spec.Basic.Ack)
    client.send(publish(1, "", "golden.full", b"one too many"))
    client.expect(spec.Basic.Nack)
    client.send(*(publish(1, "", "golden.full", b"more") for _ in range(10)))
    highest = 2
    while highest < 12:
        highest = max(highest, client.expect(spec.Basic.Nack).delivery_tag)
    client.close()


def returned(stage):
    """mandatory publishes that no queue is bound for: return with the content, then the ack; also without confirms."""
    client = stage.client().open(channels=2)
    client.send(publish(2, "amq.direct", "no such key", b"come back", mandatory=True))
    client.expect_content(spec.Basic.Return)
    client.call(1, spec.Confirm.Select(), spec.Confirm.SelectOk)
    properties = spec.BasicProperties(content_type="text/plain", headers=ALL_TYPES, message_id="returned-1")
    client.send(publish(1, "", "golden.nowhere", b"come back too", properties, mandatory=True))
    client.expect_content(spec.Basic.Return)
    client.expect(spec.Basic.Ack)
    client.send(publish(1, "", "golden.nowhere", b"", mandatory=True))
    client.expect_content(spec.Basic.Return)
    client.expect(spec.Basic.Ack)
    client.close()


def transactions(stage):
    """tx: select, commit, rollback."""
    client = stage.client().open()
    _declare(client, "golden.tx")
    client.call(1, spec.Tx.Select(), spec.Tx.SelectOk)
    client.send(publish(1, "", "golden.tx", b"committed"))
    client.call(1, spec.Tx.Commit(), spec.Tx.CommitOk)
    client.send(publish(1, "", "golden.tx", b"rolled back"))
    client.call(1, spec.Tx.Rollback(), spec.Tx.RollbackOk)
    client.call(1, spec.Queue.Purge(queue="golden.tx"), spec.Queue.PurgeOk)
    client.close()


def all_properties(stage):
    """publish with all 14 properties and headers of every type, got, delivered and returned as they were."""
    client = stage.client().open()
    _declare(client, "golden.properties")
    properties = spec.BasicProperties(
        content_type="application/octet-stream",
        content_encoding="gzip",
        headers=ALL_TYPES,
        delivery_mode=2,
        priority=9,
        correlation_id="correlation 1",
        reply_to="golden.replies",
        expiration="60000",
        message_id="message 1",
        timestamp=1709209800,
        type="golden.type",
        user_id="guest",
        app_id="golden",
        cluster_id="cluster 1",
    )
    client.send(publish(1, "", "golden.properties", b"all of them", properties))
    client.send((1, spec.Basic.Get(queue="golden.properties")))
    get, _ = client.expect_content(spec.Basic.GetOk)
    client.send((1, spec.Basic.Nack(get.delivery_tag, requeue=True)))
    client.send((1, spec.Basic.Consume(queue="golden.properties", consumer_tag="golden")))
    client.expect_content(spec.Basic.Deliver)
    client.close()


def one_property_each(stage):
    """publishes with one property each, with none, and with empty ones: every flag alone."""
    client = stage.client().open()
    _declare(client, "golden.one")
    each = {
        "content_type": "text/plain",
        "content_encoding": "identity",
        "headers": {"only": "this"},
        "delivery_mode": 1,
        "priority": 0,
        "correlation_id": "c",
        "reply_to": "r",
        "expiration": "60000",
        "message_id": "m",
        "timestamp": 0,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
        "cluster_id": "i",
    }
    every = [{}, *({name: value} for name, value in each.items()), {"headers": {}}, {"correlation_id": ""}]
    client.send(*(publish(1, "", "golden.one", b"", spec.BasicProperties(**one)) for one in every))
    client.send((1, spec.Basic.Consume(queue="golden.one", consumer_tag="one", no_ack=True)))
    for _ in every:
        client.expect_content(spec.Basic.Deliver)
    client.close()


def dead_letters(stage):
    """messages dead-lettered twice: RabbitMQ encodes their headers anew and adds x-death, an array of tables.

    Its tables come back with the types in its own encoding: L as l, for example.
    """
    client = stage.client().open()
    _declare(client, "golden.dead")
    letter = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "golden.dead"}
    _declare(client, "golden.rejecting", arguments=letter)
    onward = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "golden.rejecting", "x-message-ttl": 1}
    _declare(client, "golden.expiring", arguments=onward)
    client.call(1, spec.Basic.Consume(queue="golden.rejecting", consumer_tag="rejecting"), spec.Basic.ConsumeOk)
    client.call(1, spec.Basic.Consume(queue="golden.dead", consumer_tag="dead", no_ack=True), spec.Basic.ConsumeOk)
    for headers in (ALL_TYPES, PIKA, None):
        properties = spec.BasicProperties(headers=headers, expiration="1000", content_type="text/plain")
        client.send(publish(1, "", "golden.expiring", b"twice", properties))
        deliver, _ = client.expect_content(spec.Basic.Deliver)
        client.send((1, spec.Basic.Reject(deliver.delivery_tag, requeue=False)))
        client.expect_content(spec.Basic.Deliver)
    client.close()


def carbon_copies(stage):
    """CC and BCC headers: the copies' headers come without BCC."""
    client = stage.client().open()
    for queue in ("golden.to", "golden.cc", "golden.bcc"):
        _declare(client, queue)
        client.call(1, spec.Basic.Consume(queue=queue, no_ack=True), spec.Basic.ConsumeOk)
    headers = {"CC": ["golden.cc"], "BCC": ["golden.bcc"], "other": 1}
    client.send(publish(1, "", "golden.to", b"to three", spec.BasicProperties(headers=headers)))
    for _ in range(3):
        client.expect_content(spec.Basic.Deliver)
    client.close()


def bodies_of_several_frames(stage):
    """a frame_max of 4096: bodies of exactly one frame, of one byte more, and of three frames, on two channels."""
    frame_max = 4096
    client = stage.client().open(channels=2, frame_max=frame_max)
    _declare(client, "golden.large")
    client.call(2, spec.Basic.Consume(queue="golden.large", consumer_tag="large", no_ack=True), spec.Basic.ConsumeOk)
    for size in (frame_max - 8, frame_max - 7, 2 * frame_max + 1000):
        body = bytes(index % 251 for index in range(size))
        client.send(publish(1, "", "golden.large", body, frame_max=frame_max))
        _, received = client.expect_content(spec.Basic.Deliver)
        assert received == body
    client.close()
