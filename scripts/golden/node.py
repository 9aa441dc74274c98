"""A RabbitMQ node of one's own: free loopback ports, a directory of its own, its own epmd. Ended with its `with`."""

import os
import signal
import socket
import subprocess
import time

SBIN = os.environ.get("RABBITMQ_SBIN", "/usr/lib/rabbitmq/bin")

CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
auth_mechanisms.1 = PLAIN
auth_mechanisms.2 = AMQPLAIN
auth_mechanisms.3 = RABBIT-CR-DEMO
disk_free_limit.absolute = 1MB
log.file.level = warning
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Node:
    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.name = "golden@localhost"
        epmd_port = str(free_port())
        inside = lambda name: os.path.join(directory, name)
        with open(inside("rabbitmq.conf"), "w") as file:
            file.write(CONFIGURATION.format(port=self.port))
        with open(inside("enabled_plugins"), "w") as file:
            file.write("[].\n")
        # Nothing of the surroundings but the path: a node elsewhere on the machine must not be reached.
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": directory,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": epmd_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": inside("none"),
            "RABBITMQ_CONFIG_FILE": inside("rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": inside("none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": inside("enabled_plugins"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_MNESIA_BASE": inside("mnesia"),
            "RABBITMQ_LOG_BASE": inside("log"),
            "RABBITMQ_PID_FILE": inside("pid"),
        }
        self.epmd = None
        self.server = None
        self.version = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def start(self):
        # Started here and not by Erlang, which would leave it behind.
        epmd = ["epmd", "-port", self.environment["ERL_EPMD_PORT"], "-address", "127.0.0.1"]
        self.epmd = subprocess.Popen(epmd, env=self.environment, start_new_session=True)
        self.server = subprocess.Popen(
            [os.path.join(SBIN, "rabbitmq-server")],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + 120
        while not os.path.exists(self.environment["RABBITMQ_PID_FILE"]):
            if self.server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("rabbitmq-server did not start")
            time.sleep(0.1)
        self.ctl("await_startup", "--timeout", "120")
        # By default this is the machine's name, which is nobody's business.
        self.ctl("set_cluster_name", "golden")
        self.version = self.ctl("eval", "rabbit_misc:version().").strip().strip('"')

    def ctl(self, *arguments):
        command = [os.path.join(SBIN, "rabbitmqctl"), "--quiet", "--node", self.name, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def end(self):
        for process in (self.server, self.epmd):
            if process is None:
                continue
            try:
                # Each is the leader of its own session, and so of its own group.
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(30)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
