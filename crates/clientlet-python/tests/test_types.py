"""What type checkers see: the stubs are those of the module, and a program passes in strict mode."""

import subprocess
import sys

import pytest

pytest.importorskip("mypy")

PROGRAM = '''
import clientlet
from clientlet.testing import Gateway, Request

def handler(request: Request) -> list[dict[str, str]]:
    return [{"text": document["text"]} for document in request.documents]

with Gateway({"/search": handler}) as gateway:
    client = clientlet.Client(gateway.url, retry=clientlet.Retry(max_attempts=2))
    ready: bool = client.ready()
    documents = client.post("/search", [{"text": "a"}], timeout=3.0)
    try:
        client.post("/search", parameters={"a": 1})
    except clientlet.Error as error:
        attempts: int = len(error.attempts)
    release: str = client.status().jina["jina"]

async def main() -> None:
    client = clientlet.AsyncClient("http://localhost:1")
    ready: bool = await client.is_flow_ready()
'''


def test_the_stubs_are_those_of_the_module():
    subprocess.run([sys.executable, "-m", "mypy.stubtest", "clientlet._core"], check=True)


def test_the_package_and_a_program_pass_in_strict_mode(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "-p", "clientlet", "--cache-dir", tmp_path / "cache"],
        check=True,
    )
    subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", program, "--cache-dir", tmp_path / "cache"], check=True
    )
