"""Programs that were written for jina, run as they are and with `python -m clientlet.jina`."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from beside_jina import IS_SEED, PROTOCOLS, RealGateway, docarray_v2, free_port
from conftest import STARTER

import clientlet
from clientlet.testing import Gateway

HOOK = ["-m", "clientlet.jina"]
ENVIRONMENT = {
    **os.environ,
    "JINA_OPTOUT_TELEMETRY": "1",
    "JINA_HIDE_SURVEY": "1",
    "PYTHONPATH": os.pathsep.join(sys.path),
}

ONE_PROCESS = """
import sys
from jina import Client, Executor, Flow, requests

try:
    from docarray import BaseDoc, DocList

    class Text(BaseDoc):
        text: str = ''
        more: int = 0

    Texts = DocList[Text]
    RETURN = {'return_type': Texts}
except ImportError:
    from docarray import Document as Text, DocumentArray as Texts
    RETURN = {}

class Upper(Executor):
    @requests(on='/upper')
    def upper(self, docs: Texts, **kwargs) -> Texts:
        for doc in docs:
            doc.text = doc.text.upper()
        return docs

def texts(docs):
    return sorted(doc.text for doc in docs)

ports = [int(port) for port in sys.argv[1:]]
protocols = ['http', 'websocket', 'grpc']
documents = lambda: Texts([Text(text=f't{number}') for number in range(5)])
with Flow(protocol=protocols, port=ports).add(uses=Upper, name='upper') as flow:
    print(texts(flow.post('/upper', documents(), request_size=2, **RETURN)))
    for protocol, port in zip(protocols, ports):
        client = Client(protocol=protocol, port=port, host='127.0.0.1')
        print(protocol, texts(client.post('/upper', documents(), request_size=2, **RETURN)))
        print(protocol, client.is_flow_ready())
    print(type(client.post('/upper', documents(), return_responses=True, **RETURN)[0]).__module__)
"""

CLIP = """
import asyncio, sys, time
import numpy as np
from clip_client import Client
from docarray import Document, DocumentArray
from jina import Executor, Flow, requests

class Clip(Executor):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.known = DocumentArray()

    @requests(on=['/encode', '/'])
    def encode(self, docs, **kwargs):
        for doc in docs:
            # clip-client divides by the gateway's time in whole milliseconds.
            time.sleep(0.003)
            doc.embedding = np.arange(4, dtype=np.float32) + len(doc.text)

    @requests(on='/rank')
    def rank(self, docs, **kwargs):
        for doc in docs:
            for number, match in enumerate(doc.matches):
                match.scores['clip_score'].value = 1 / (1 + number)

    @requests(on='/index')
    def index(self, docs, **kwargs):
        self.encode(docs)
        self.known.extend(docs)

    @requests(on='/search')
    def search(self, docs, parameters, **kwargs):
        self.encode(docs)
        for doc in docs:
            doc.matches = self.known[: int(parameters['limit'])]

scheme, *ports = sys.argv[1:]
ports = [int(port) for port in ports]
protocols = ['http', 'websocket', 'grpc']
port = ports[protocols.index(scheme)]
with Flow(protocol=protocols, port=ports).add(uses=Clip):
    client = Client(f'{scheme}://127.0.0.1:{port}')
    print(client.encode(['a', 'bcd'] * 3).tolist())
    print(asyncio.run(client.aencode(['a', 'bcd'])).tolist())
    given = DocumentArray([Document(text='x', matches=[Document(text='y'), Document(text='z')])])
    ranked = client.rank(given)
    print([(match.text, match.scores['clip_score'].value) for match in ranked[0].matches])
    print(client.index(['one', 'three'])[:, 'text'])
    print([match.text for match in client.search(['two'], limit=1)[0].matches])
    print(sorted(client.profile()))
"""


def run(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
        env=ENVIRONMENT, **options,
    )  # fmt: skip


def output(*arguments):
    ended = run(*arguments)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [line for line in ended.stdout.splitlines() if not line.startswith(("INFO", "WARN", " "))]


def three_ports():
    return [str(free_port()) for _ in PROTOCOLS]


def program(tmp_path, text):
    path = tmp_path / "program.py"
    path.write_text(text)
    return str(path)


def lines_with(lines, *starts):
    return [line for line in lines if line.startswith(starts)]


def test_a_flow_and_clients_work_in_one_process(tmp_path):
    path = program(tmp_path, ONE_PROCESS)
    starts = ("['T", *(f"{protocol} " for protocol in PROTOCOLS), "jina.types", "clientlet.")
    plain = lines_with(output(path, *three_ports()), *starts)
    hooked = lines_with(output(*HOOK, path, *three_ports()), *starts)
    assert len(plain) == 8
    assert plain[:-1] == hooked[:-1]
    assert (plain[-1], hooked[-1]) == ("jina.types.request.data", "clientlet._jina_answers")


@pytest.mark.skipif(docarray_v2, reason="clip-client is for documents v1")
@pytest.mark.parametrize("scheme", PROTOCOLS)
def test_clip_client_gives_the_same(tmp_path, scheme):
    pytest.importorskip("clip_client")
    path = program(tmp_path, CLIP)
    # Over HTTP the answers of 3.33.1 have no `data.docs`, which clip-client reads.
    by = scheme if IS_SEED or scheme != "http" else "grpc"
    plain = lines_with(output(path, by, *three_ports()), "[")
    hooked = lines_with(output(*HOOK, path, scheme, *three_ports()), "[")
    assert len(plain) == 6
    assert plain == hooked


@pytest.mark.parametrize("scheme", ["http", "ws", "grpc"])
def test_jina_ping_works(scheme):
    with Gateway(docarray="v2" if docarray_v2 else "v1") as gateway:
        url = gateway.urls[["http", "ws", "grpc"].index(scheme)]
        arguments = ["-m", "jina", "ping", "flow", url, "--attempts", "1", "--min-successful-attempts", "1"]
        if IS_SEED:
            arguments = arguments[:-2]
        ended = run(*HOOK, *arguments)
        assert ended.returncode == 0, ended.stderr + ended.stdout
    arguments[4] = f"{scheme}://127.0.0.1:{free_port()}"
    assert run(*HOOK, *arguments).returncode == 1


def test_jina_client_starts_and_ends():
    assert run(*HOOK, "-m", "jina", "client", "--port", str(free_port())).returncode == 0


def test_a_script_has_its_arguments_its_folder_and_its_exit_code(tmp_path):
    (tmp_path / "beside.py").write_text("VALUE = 7")
    path = program(tmp_path, "import sys, beside\nprint(sys.argv[1:], __name__, beside.VALUE)\nsys.exit(3)")
    ended = run(*HOOK, path, "a", "--b")
    assert (ended.stdout, ended.returncode) == ("['a', '--b'] __main__ 7\n", 3)


MAIN = """
import atexit, pickle, sys, threading

class Thing:
    pass

def copy(when):
    print(when, type(pickle.loads(pickle.dumps(Thing()))) is Thing)

def later():
    threading.main_thread().join()
    copy("after the end")

atexit.register(copy, "at exit")
threading.Thread(target=later).start()
print(__name__, __file__, __package__, __spec__, sys.argv, sys.path[0], vars(sys.modules["__main__"]) is globals())
"""


@pytest.mark.parametrize("form", ["script", "folder", "module"])
def test_a_program_is_the_main_module_until_the_process_has_ended(tmp_path, form):
    folder = tmp_path / "folder"
    folder.mkdir()
    text = MAIN.replace("__spec__", "bool(__spec__)")
    (folder / "__main__.py").write_text(text)
    link = tmp_path / "link.py"
    link.symlink_to(program(folder, text))
    arguments = {"script": ["link.py"], "folder": ["folder"], "module": ["-m", "folder"]}[form]
    plain = run(*arguments, "--its", cwd=tmp_path)
    hooked = run(*HOOK, *arguments, "--its", cwd=tmp_path)
    assert plain.stdout.count("True") >= 3 and "False" not in plain.stdout.replace("None False", "")
    assert (hooked.stdout, hooked.returncode) == (plain.stdout, plain.returncode)


@pytest.mark.parametrize("arguments", [["no_such.py"], ["-m", "no_such"]])
def test_a_program_that_is_not_there_is_told_as_python_tells_it(tmp_path, arguments):
    plain, hooked = run(*arguments, cwd=tmp_path), run(*HOOK, *arguments, cwd=tmp_path)
    assert (hooked.stderr, hooked.returncode) == (plain.stderr, plain.returncode)
    assert "Traceback" not in hooked.stderr


@pytest.mark.parametrize("arguments", [["-c", "print(1)"], ["-u", "program.py"], ["--force"], ["--force", "-u"]])
def test_an_option_that_is_not_known_is_told_with_the_usage(arguments):
    ended = run(*HOOK, *arguments)
    assert ended.returncode == 2 and "usage: python -m clientlet.jina" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_release_that_is_not_known_is_told_on_one_line_and_tried_with_force(tmp_path):
    path = program(tmp_path, "import clientlet; print(clientlet.install_jina())")
    # The module is that of the command, with another release of jina.
    changed = "import sys, jina, clientlet.jina; jina.__version__ = '3.99.0'; clientlet.jina.main()"
    ended = run("-c", changed, path)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "jina 3.99.0 is not known" in ended.stderr and "--force" in ended.stderr
    forced = run("-c", changed, "--force", path)
    assert forced.returncode == 0 and "jina 3.99.0 work through clientlet" in forced.stdout, forced.stderr


@pytest.fixture(scope="module")
def real():
    gateway = RealGateway()
    yield gateway
    gateway.stop()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_program_of_the_page_prints_the_same_with_and_without_the_hook(real, tmp_path, protocol):
    page = STARTER.parents[1].joinpath("docs/jina.md").read_text()
    (text,) = re.findall(r"```python program\.py\n(.*?)```", page, re.DOTALL)
    (printed,) = re.findall(r"Both print `(.*?)`", page)
    path = program(tmp_path, text)
    address = f"{protocol}://127.0.0.1:{real.ports[protocol]}"
    for hook in ([], HOOK):
        assert output(*hook, path, address) == [printed]


def test_without_a_script_the_usage_is_told():
    ended = run(*HOOK)
    assert ended.returncode == 2 and "usage: python -m clientlet.jina" in ended.stderr
    assert run(*HOOK, "--help").returncode == 0
    assert pathlib.Path(clientlet.__file__).parent.joinpath("jina.py").exists()
