"""What a scene has at hand."""

from client import Client
from recorder import Recorder


class Stage:
    def __init__(self, node):
        self.node = node
        self.recorder = Recorder(node.port)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.recorder.finish()

    def client(self):
        """The client whose bytes are written down; one to a scene."""
        return Client(self.recorder.port)

    def extra(self, **options):
        """Another client, open, whose bytes are not."""
        return Client(self.node.port).open(**options)
