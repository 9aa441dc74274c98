"""A client on pika's codec, which is not ours: it sends and awaits one frame at a time, so that a scene decides on
every byte. `Raw` brings hand-made table values in where pika cannot encode a type."""

import socket
import struct

import pika.data
from pika import frame, spec

CAPABILITIES = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "authentication_failure_close": True,
    "per_consumer_qos": True,
}
PROPERTIES = {"product": "pika's codec", "version": pika.__version__, "capabilities": CAPABILITIES}


class Raw(bytes):
    """A table value with its tag, as it goes over the wire."""


def _encode_value(pieces, value, encode=pika.data.encode_value):
    if isinstance(value, Raw):
        pieces.append(bytes(value))
        return len(value)
    return encode(pieces, value)


pika.data.encode_value = _encode_value


class Closed(Exception):
    """The server has closed the socket."""


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.settimeout(30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def send(self, *parts):
        """In one write. A part is bytes, or a channel and a method."""
        encoded = (part if isinstance(part, bytes) else frame.Method(*part).marshal() for part in parts)
        self.socket.sendall(b"".join(encoded))

    def next_frame(self):
        """Type, channel and payload of the next frame."""
        while True:
            if len(self.buffer) >= 7:
                kind, channel, size = struct.unpack(">BHI", self.buffer[:7])
                if len(self.buffer) >= size + 8:
                    payload, self.buffer = self.buffer[7 : size + 7], self.buffer[size + 8 :]
                    return kind, channel, payload
            chunk = self.socket.recv(65536)
            if not chunk:
                raise Closed
            self.buffer += chunk

    def expect(self, expected):
        """The next method of this class; what comes before it is skipped."""
        while True:
            kind, _, payload = self.next_frame()
            if kind == spec.FRAME_METHOD and struct.unpack(">I", payload[:4])[0] == expected.INDEX:
                return expected().decode(payload, 4)

    def expect_content(self, expected):
        """The next content that this method announces: the method and the body."""
        method = self.expect(expected)
        _, _, header = self.next_frame()
        size = struct.unpack(">Q", header[4:12])[0]
        body = b""
        while len(body) < size:
            body += self.next_frame()[2]
        return method, body

    def call(self, channel, method, expected):
        self.send((channel, method))
        return self.expect(expected)

    def start(self, mechanism="PLAIN", response=b"\0guest\0guest"):
        self.send(frame.ProtocolHeader().marshal())
        self.expect(spec.Connection.Start)
        self.send((0, spec.Connection.StartOk(PROPERTIES, mechanism, response, "en_US")))

    def tune(self, channel_max=2047, frame_max=131072, heartbeat=0, virtual_host="/"):
        self.expect(spec.Connection.Tune)
        tune_ok = spec.Connection.TuneOk(channel_max, frame_max, heartbeat)
        self.send((0, tune_ok), (0, spec.Connection.Open(virtual_host)))

    def open(self, channels=1, **tuning):
        self.start()
        self.tune(**tuning)
        self.expect(spec.Connection.OpenOk)
        for channel in range(1, channels + 1):
            self.call(channel, spec.Channel.Open(), spec.Channel.OpenOk)
        return self

    def close(self):
        self.call(0, spec.Connection.Close(200, "Goodbye", 0, 0), spec.Connection.CloseOk)
        self.hang_up()

    def await_close(self):
        """The server's `connection.close`, answered."""
        reason = self.expect(spec.Connection.Close)
        self.send((0, spec.Connection.CloseOk()))
        self.hang_up()
        return reason

    def await_channel_close(self, channel):
        reason = self.expect(spec.Channel.Close)
        self.send((channel, spec.Channel.CloseOk()))
        return reason

    def hang_up(self):
        """Reads to the end, so that no reset cuts off what the server still says: it waits for us to close first."""
        try:
            self.socket.shutdown(socket.SHUT_WR)
            while True:
                self.next_frame()
        except (Closed, OSError):
            self.socket.close()


def content(channel, method, body=b"", properties=None, frame_max=131072):
    """The frames of a publish."""
    parts = [frame.Method(channel, method).marshal()]
    parts.append(frame.Header(channel, len(body), properties or spec.BasicProperties()).marshal())
    for start in range(0, len(body), frame_max - 8):
        parts.append(frame.Body(channel, body[start : start + frame_max - 8]).marshal())
    return b"".join(parts)


def publish(channel, exchange, routing_key, body=b"", properties=None, mandatory=False, frame_max=131072):
    method = spec.Basic.Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory)
    return content(channel, method, body, properties, frame_max)
