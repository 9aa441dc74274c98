"""A TCP proxy that writes down what passes, for one connection."""

import socket
import textwrap
import threading


class Recorder:
    """Listens on `port`; the first client to connect is recorded."""

    def __init__(self, server_port):
        self.server_port = server_port
        self.chunks = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        client, _ = self.listener.accept()
        server = socket.create_connection(("127.0.0.1", self.server_port))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        upward = threading.Thread(target=self.pump, args=("C", client, server), daemon=True)
        upward.start()
        self.pump("S", server, client)
        upward.join()
        client.close()
        server.close()

    def pump(self, side, source, sink):
        try:
            while chunk := source.recv(65536):
                # Written down before it goes on, so that an answer never stands above its question.
                with self.lock:
                    self.chunks.append((side, chunk))
                sink.sendall(chunk)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            # Whoever was closed first: the other side has nothing more to say.
            for end in (source, sink):
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def finish(self):
        """Waits until both sides have closed."""
        self.thread.join(30)
        self.listener.close()
        if self.thread.is_alive():
            raise RuntimeError("the connection was not closed")

    def write(self, path, version, description):
        head, _, rest = textwrap.dedent("    " + description.strip()).partition("\n")
        lines = [f"RabbitMQ {version}: {head.strip()}", *textwrap.dedent(rest).splitlines()]
        with open(path, "w") as file:
            file.writelines(f"# {line}".rstrip() + "\n" for line in lines)
            file.writelines(f"{side}: {chunk.hex()}\n" for side, chunk in self.chunks)
