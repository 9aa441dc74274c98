"""Exchanges, queues and bindings."""

import datetime
import decimal
import struct

from pika import spec

from client import Raw

ARRAY = ["one", 2, True, None, {"three": 3}, [4, [5]]]

# What pika encodes by itself: S x t I l D T F A V.
PIKA = {
    "S": "long string",
    "S-empty": "",
    "S-utf8": "žluťoučký kůň",
    "x": b"\x00\xff bytes",
    "t": True,
    "t-false": False,
    "I": -2147483648,
    "l": -9223372036854775808,
    "D": decimal.Decimal("3.14"),
    "T": datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
    "F": {"nested": {"deeper": {"deepest": "here"}}, "empty": {}},
    "A": ARRAY,
    "A-empty": [],
    "V": None,
}

# What it cannot, by hand.
BY_HAND = {
    "b": Raw(struct.pack(">cb", b"b", -128)),
    "B": Raw(struct.pack(">cB", b"B", 255)),
    "s": Raw(struct.pack(">ch", b"s", -32768)),
    "u": Raw(struct.pack(">cH", b"u", 65535)),
    "i": Raw(struct.pack(">cI", b"i", 4294967295)),
    "L": Raw(struct.pack(">cq", b"L", 9223372036854775807)),
    "f": Raw(struct.pack(">cf", b"f", 1.5)),
    "d": Raw(struct.pack(">cd", b"d", -0.1)),
    "D-large": Raw(struct.pack(">cBI", b"D", 255, 4294967295)),
    "T-large": Raw(struct.pack(">cQ", b"T", 2**64 - 1)),
    "S-not-utf8": Raw(b"S\x00\x00\x00\x02\xff\xfe"),
    "A-by-hand": [Raw(struct.pack(">cH", b"u", 7)), Raw(struct.pack(">cd", b"d", 2.5)), Raw(struct.pack(">cf", b"f", 0.25))],
}

ALL_TYPES = {**PIKA, **BY_HAND}


def exchanges(stage):
    """exchanges of every type and flag declared, passively declared, bound to each other, unbound and deleted."""
    client = stage.client().open()
    declare, declare_ok = spec.Exchange.Declare, spec.Exchange.DeclareOk
    for kind in ("direct", "fanout", "topic", "headers"):
        client.call(1, declare(exchange=f"golden.{kind}", type=kind), declare_ok)
    alternate = {"alternate-exchange": "golden.fanout"}
    client.call(1, declare(exchange="golden.durable", type="direct", durable=True, arguments=alternate), declare_ok)
    client.call(1, declare(exchange="golden.internal", type="topic", internal=True), declare_ok)
    client.call(1, declare(exchange="golden.auto", type="fanout", auto_delete=True), declare_ok)
    client.call(1, declare(exchange="golden.direct", type="direct", passive=True), declare_ok)
    client.send((1, declare(exchange="golden.nowait", type="direct", nowait=True)))

    bind = {"destination": "golden.internal", "source": "golden.topic", "routing_key": "a.*.#"}
    nowait = {"destination": "golden.fanout", "source": "golden.direct", "routing_key": "key", "nowait": True}
    client.call(1, spec.Exchange.Bind(**bind), spec.Exchange.BindOk)
    client.call(1, spec.Exchange.Bind(**bind, arguments=ALL_TYPES), spec.Exchange.BindOk)
    client.send((1, spec.Exchange.Bind(**nowait)))
    client.call(1, spec.Exchange.Unbind(**bind), spec.Exchange.UnbindOk)
    client.call(1, spec.Exchange.Unbind(**bind, arguments=ALL_TYPES), spec.Exchange.UnbindOk)
    client.send((1, spec.Exchange.Unbind(**nowait)))

    client.call(1, spec.Exchange.Delete(exchange="golden.direct", if_unused=True), spec.Exchange.DeleteOk)
    client.send((1, spec.Exchange.Delete(exchange="golden.nowait", nowait=True)))
    for name in ("fanout", "topic", "headers", "durable", "internal", "auto"):
        client.call(1, spec.Exchange.Delete(exchange=f"golden.{name}"), spec.Exchange.DeleteOk)
    client.close()


def queues(stage):
    """queues with every flag, with arguments and with a name by the server; bound, unbound, purged and deleted."""
    client = stage.client().open()
    declare, declare_ok = spec.Queue.Declare, spec.Queue.DeclareOk
    client.call(1, declare(queue="golden.durable", durable=True), declare_ok)
    client.call(1, declare(queue="golden.durable", passive=True), declare_ok)
    client.call(1, declare(queue="golden.auto", auto_delete=True), declare_ok)
    client.send((1, declare(queue="golden.nowait", nowait=True)))
    server_named = client.call(1, declare(queue="", exclusive=True), declare_ok).queue
    arguments = {
        "x-message-ttl": 60000,
        "x-expires": 1800000,
        "x-max-length": 1000,
        "x-max-length-bytes": 1 << 40,
        "x-max-priority": 5,
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "amq.direct",
        "x-dead-letter-routing-key": "dead",
        "x-single-active-consumer": True,
        "x-queue-mode": "lazy",
    }
    client.call(1, declare(queue="golden.arguments", arguments=arguments), declare_ok)
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 5}
    client.call(1, declare(queue="golden.quorum", durable=True, arguments=quorum), declare_ok)

    arguments = {"x-match": "all", "n": 1, "s": "t"}
    bind = {"queue": "golden.durable", "exchange": "amq.headers", "routing_key": "", "arguments": arguments}
    client.call(1, spec.Queue.Bind(**bind), spec.Queue.BindOk)
    client.call(1, spec.Queue.Bind(queue=server_named, exchange="amq.topic", routing_key="a.*.#"), spec.Queue.BindOk)
    # An empty queue name is the last one declared on the channel.
    client.call(1, spec.Queue.Bind(queue="", exchange="amq.fanout", routing_key=""), spec.Queue.BindOk)
    client.send((1, spec.Queue.Bind(queue="golden.durable", exchange="amq.direct", routing_key="key", nowait=True)))
    client.call(1, spec.Queue.Unbind(**bind), spec.Queue.UnbindOk)

    client.call(1, spec.Queue.Purge(queue="golden.durable"), spec.Queue.PurgeOk)
    client.send((1, spec.Queue.Purge(queue="golden.durable", nowait=True)))
    client.call(1, spec.Queue.Delete(queue="golden.durable", if_unused=True, if_empty=True), spec.Queue.DeleteOk)
    client.send((1, spec.Queue.Delete(queue="golden.nowait", nowait=True)))
    for name in ("golden.auto", "golden.arguments", "golden.quorum", server_named):
        client.call(1, spec.Queue.Delete(queue=name), spec.Queue.DeleteOk)
    client.close()


def table_of_all_types(stage):
    """a queue and a binding with arguments of every type that RabbitMQ takes.

    The tags S x t I l D T F A V are encoded by pika, b B s u i L f d by hand; also the ends of their ranges, a string
    that is no UTF-8, nesting, and a name of 255 bytes.
    """
    client = stage.client().open()
    declare = spec.Queue.Declare(queue="q" * 255, exclusive=True, arguments=ALL_TYPES)
    client.call(1, declare, spec.Queue.DeclareOk)
    bind = {"queue": "q" * 255, "exchange": "amq.headers", "routing_key": "", "arguments": {"x-match": "any", **ALL_TYPES}}
    client.call(1, spec.Queue.Bind(**bind), spec.Queue.BindOk)
    client.close()


def access_request(stage):
    """access.request of AMQP 0-8, which RabbitMQ still answers."""
    client = stage.client().open()
    client.call(1, spec.Access.Request(realm="/data", passive=True, read=True, write=True), spec.Access.RequestOk)
    client.send((1, spec.Access.Request(realm="/data", exclusive=True, active=True)))
    client.expect(spec.Access.RequestOk)
    client.close()


def pipelined(stage):
    """consume and two declares in one write: RabbitMQ answers declare-ok, declare-ok, consume-ok."""
    client = stage.client().open()
    client.call(1, spec.Queue.Declare(queue="golden.pipelined", exclusive=True), spec.Queue.DeclareOk)
    client.send(
        (1, spec.Basic.Consume(queue="golden.pipelined", consumer_tag="pipelined")),
        (1, spec.Queue.Declare(queue="golden.pipelined.1", exclusive=True)),
        (1, spec.Queue.Declare(queue="golden.pipelined.2", exclusive=True)),
    )
    seen = {spec.Basic.ConsumeOk.INDEX: 1, spec.Queue.DeclareOk.INDEX: 2}
    while any(seen.values()):
        _, _, payload = client.next_frame()
        seen[int.from_bytes(payload[:4], "big")] -= 1
    client.close()
