"""Records the golden traces: bytes between RabbitMQ and a client that is not ours.

    python3 scripts/golden [SCENE ...]

needs RabbitMQ's server (`apt install rabbitmq-server`; RABBITMQ_SBIN names another directory of its scripts) and pika
(`pip install pika`). It starts a private node on free loopback ports with everything in a temporary directory, plays
the scenes (all, or those named), writes each as `amqp-proto/tests/golden/SCENE.trace`, and ends the node. No node that
runs already is touched.

A trace is text: comments that begin with `#`, then one line per chunk in the order in which the proxy between the two
saw them, `C: hex` from the client and `S: hex` from the server. Generated names (queues, consumers) and the
interleaving differ from one recording to the next; `amqp-proto/tests/golden.rs` depends on neither. The seed corpora for
fuzzing are cut out of the traces: after a recording they are written anew by

    AMQP_WRITE_CORPUS=1 cargo test -p amqp-proto --test golden seed

    node.py     the private RabbitMQ node
    recorder.py the recording proxy and the file format
    stage.py    what a scene has at hand
    client.py   a client on pika's codec, one frame at a time, so that nowait forms and hand-made bytes can be sent
    scenes/     what is played: handshakes, topology, messages, closes
"""

import pathlib
import signal
import sys
import tempfile

from node import Node
from scenes import SCENES
from stage import Stage

TARGET = pathlib.Path(__file__).parents[2] / "amqp-proto" / "tests" / "golden"


def main():
    names = sys.argv[1:] or list(SCENES)
    unknown = [name for name in names if name not in SCENES]
    if unknown:
        sys.exit(f"no such scene: {', '.join(unknown)}; there are {', '.join(SCENES)}")
    # So that the node ends with its `with` then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    TARGET.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="golden-") as directory, Node(directory) as node:
        for name in names:
            play = SCENES[name]
            print(name, flush=True)
            with Stage(node) as stage:
                play(stage)
            stage.recorder.write(TARGET / f"{name}.trace", node.version, play.__doc__)


if __name__ == "__main__":
    main()
