"""What the tests of `install_jina` share. They run in environments with jina, and are skipped in others."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest

os.environ["JINA_OPTOUT_TELEMETRY"] = "1"
jina = pytest.importorskip("jina")

from conftest import STARTER  # noqa: E402
from jina import Client  # noqa: E402
from jina._docarray import docarray_v2  # noqa: E402

IS_SEED = jina.__version__ == "3.14.1"
PROTOCOLS = ("http", "websocket", "grpc")

if docarray_v2:
    from typing import Optional

    from docarray import BaseDoc, DocList
    from docarray.typing import NdArray

    class Item(BaseDoc):
        """The fields of the gateway's documents that the tests use."""

        text: Optional[str] = None
        tensor: Optional[NdArray] = None
        number: Optional[int] = None

    class Part(BaseDoc):
        """What streams take and give."""

        text: Optional[str] = None
        tensor: Optional[NdArray] = None

    Items = DocList[Item]
    RETURN = {"return_type": Items}
else:
    from docarray import Document as Item
    from docarray import DocumentArray as Items

    RETURN = {}


def items(count, **fields):
    """Documents with the texts t0, t1, ..."""
    return Items([Item(text=f"t{number}", **fields) for number in range(count)])


class Caller:
    """A client of jina, synchronous or asynchronous, that is called in one way."""

    def __init__(self, protocol, port, is_async=False, **settings):
        self.protocol = protocol
        self.is_async = is_async
        self.client = Client(
            protocol=protocol, host="127.0.0.1", port=port, asyncio=is_async, **settings
        )

    def post(self, on, inputs=None, **options):
        """What `post` returns: documents, responses, or None."""
        options = {**RETURN, **options}
        if not self.is_async:
            return self.client.post(on, inputs, **options)

        async def collect():
            collected = [] if options.get("return_responses") else options.get("return_type", Items)()
            async for part in self.client.post(on, inputs, **options):
                if options.get("return_responses"):
                    collected.append(part)
                else:
                    collected.extend(part)
            return collected

        return asyncio.run(collect())

    def is_ready(self, **options):
        if not self.is_async:
            return self.client.is_flow_ready(**options)
        return asyncio.run(self.client.is_flow_ready(**options))

    def close(self):
        asyncio.run(self.client.close())


class RealGateway:
    """A Flow of this environment, with a gateway that speaks all protocols, in processes of its own."""

    def __init__(self, *arguments):
        command = [sys.executable, str(STARTER), "--protocol", "http,websocket,grpc", "--port", "0,0,0"]
        command += ["--die-with-parent", *arguments]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._read()

    def _read(self):
        self.told = json.loads(self._process.stdout.readline())
        assert self.told["ready"], self.told
        self.ports = self.told["ports"]

    def kill_executor(self):
        """Kills the executor, or one of its replicas."""
        pid = next(iter(self.told["pids"]["executors"].values()))
        os.kill(pid, signal.SIGKILL)

    def revive(self):
        self._process.send_signal(signal.SIGUSR1)
        self._read()

    def stop(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


class Relay:
    """Hands connections on to a port, and counts them."""

    def __init__(self, port, own_port=0):
        self.count = 0
        self._to = port
        self._server = socket.create_server(("127.0.0.1", own_port), reuse_port=False)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            self.count += 1
            far = socket.create_connection(("127.0.0.1", self._to))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(one, other), daemon=True).start()

    def close(self):
        self._server.close()


def _copy(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
