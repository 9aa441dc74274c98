"""From the protocol header to open-ok, and what goes on on channel 0."""

import struct
import time

import pika
from pika import frame, spec

from client import publish


def handshake(stage):
    """handshake by PLAIN, one channel opened and closed, connection closed by the client.

    The server's properties are the largest table that a broker sends by itself.
    """
    client = stage.client().open(heartbeat=60)
    client.call(1, spec.Channel.Close(200, "Goodbye", 0, 0), spec.Channel.CloseOk)
    client.close()


def handshake_amqplain(stage):
    """handshake by AMQPLAIN with the response made by hand, and a virtual host with a name of two bytes per letter."""
    stage.node.ctl("add_vhost", "été")
    stage.node.ctl("set_permissions", "-p", "été", "guest", ".*", ".*", ".*")
    client = stage.client()
    client.start("AMQPLAIN", b"\x05LOGINS\x00\x00\x00\x05guest\x08PASSWORDS\x00\x00\x00\x05guest")
    client.tune(channel_max=1, frame_max=4096, heartbeat=0, virtual_host="été")
    client.expect(spec.Connection.OpenOk)
    client.close()


def handshake_secure(stage):
    """handshake by RABBIT-CR-DEMO, which has a round of secure and secure-ok."""
    client = stage.client()
    client.start("RABBIT-CR-DEMO", b"guest")
    client.expect(spec.Connection.Secure)
    client.send((0, spec.Connection.SecureOk("My password is guest")))
    client.tune()
    client.expect(spec.Connection.OpenOk)
    client.close()


def handshake_wrong_version(stage):
    """a client that asks for AMQP 1.0, which is not enabled: the server answers with the header that it wants."""
    client = stage.client()
    client.send(b"AMQP\x00\x01\x00\x00")
    client.socket.recv(8)
    client.hang_up()


def handshake_older_version(stage):
    """a client that asks for AMQP 0-8: the server offers it."""
    client = stage.client()
    client.send(b"AMQP\x01\x01\x08\x00")
    client.expect(spec.Connection.Start)
    client.hang_up()


def handshake_refused(stage):
    """a wrong password: 403, because the client says that it knows authentication_failure_close."""
    client = stage.client()
    client.start(response=b"\0guest\0wrong")
    client.await_close()


def handshake_no_such_virtual_host(stage):
    """a virtual host that does not exist: 530 in answer to open."""
    client = stage.client()
    client.start()
    client.tune(virtual_host="nowhere")
    client.await_close()


def heartbeats(stage):
    """heartbeats of an interval of 1 s, both ways, on a connection of pika's own that is otherwise idle."""
    url = f"amqp://127.0.0.1:{stage.recorder.port}/%2f?heartbeat=1"
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.process_data_events(time_limit=2.2)
    connection.close()


def heartbeats_between(stage):
    """heartbeats of the client before, between and after other frames, also in one write with them."""
    client = stage.client().open(heartbeat=1)
    beat = frame.Heartbeat().marshal()
    client.send(beat)
    client.send(beat, (1, spec.Queue.Declare(queue="", exclusive=True)), beat)
    client.expect(spec.Queue.DeclareOk)
    time.sleep(1.1)
    client.send(beat, beat)
    client.close()


def blocked_and_unblocked(stage):
    """a memory alarm: blocked once the client publishes, unblocked when the alarm is over."""
    client = stage.client().open()
    stage.node.ctl("set_vm_memory_high_watermark", "absolute", "1MB")
    try:
        client.send(publish(1, "", "nowhere", b"into the alarm"))
        client.expect(spec.Connection.Blocked)
    finally:
        stage.node.ctl("set_vm_memory_high_watermark", "0.4")
    client.expect(spec.Connection.Unblocked)
    client.close()


def update_secret(stage):
    """update-secret on a live connection, as for the renewal of a token. Encoded by hand."""
    client = stage.client().open()
    secret, reason = b"guest", b"renewal"
    arguments = struct.pack(">I", len(secret)) + secret + bytes([len(reason)]) + reason
    payload = struct.pack(">HH", 10, 70) + arguments
    client.send(b"\x01\x00\x00" + struct.pack(">I", len(payload)) + payload + b"\xce")
    client.expect(spec.Connection.UpdateSecretOk)
    client.close()


def channels(stage):
    """three channels, of which the last has the number 2047; flow; a channel's number used again after its close."""
    client = stage.client().open(channels=1)
    client.send((2, spec.Channel.Open()), (2047, spec.Channel.Open()))
    client.expect(spec.Channel.OpenOk)
    client.expect(spec.Channel.OpenOk)
    client.call(2, spec.Channel.Flow(active=True), spec.Channel.FlowOk)
    client.call(2, spec.Channel.Close(200, "again", 0, 0), spec.Channel.CloseOk)
    client.call(2, spec.Channel.Open(), spec.Channel.OpenOk)
    client.close()
