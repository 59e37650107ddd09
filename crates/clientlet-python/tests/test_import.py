"""What importing the package does, and does not."""

import subprocess
import sys

# No module of another distribution, and none of the large ones of Python that only some calls need.
UNWANTED = "asyncio concurrent ssl socket multiprocessing numpy pydantic docarray pytest tqdm rich opentelemetry"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_nothing_is_started_before_the_first_call():
    code = """
import os, threading
threads = lambda: len(os.listdir("/proc/self/task"))
files = lambda: len(os.listdir("/proc/self/fd"))
before = files()
import clientlet
client = clientlet.Client("http://localhost:1", retry=clientlet.Retry())
awaited = clientlet.AsyncClient("grpc://localhost:1")
import clientlet.testing
print(threads(), threading.active_count(), files() - before)
client.is_flow_ready()
print(threads() > 1, threading.active_count())
"""
    # With the first call the runtime's own thread begins, which Python does not know.
    assert run(code) == "1 1 0\nTrue 1\n"


def test_importing_loads_little():
    code = f"""
import sys
import clientlet
print([name for name in {UNWANTED.split()!r} if name in sys.modules])
"""
    assert run(code) == "[]\n"


def test_importing_is_quick():
    code = """
import dataclasses, logging, sys, threading, time, typing
began = time.process_time()
import clientlet
print(time.process_time() - began)
"""
    # CPU seconds beside modules of Python that most programs load anyway. It takes less than 0.02; the
    # rest is for a busy machine.
    assert min(float(run(code)) for _ in range(3)) < 0.1
