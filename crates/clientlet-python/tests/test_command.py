"""The command of the package."""

import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time

import pytest

import clientlet

SCRIPT = os.path.join(sysconfig.get_path("scripts"), "clientlet")
WAYS = {"module": [sys.executable, "-m", "clientlet"]}
if "site-packages" in clientlet.__file__:
    # Where the package lies in a folder of its own, it has no script.
    WAYS["script"] = [SCRIPT]


def run(command: list, *arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, **options)


@pytest.fixture(params=WAYS)
def command(request: pytest.FixtureRequest) -> list:
    return WAYS[request.param]


def test_the_command_posts_and_writes_what_came_back(command, gateway):
    ended = run(command, "post", gateway.url, "--on", "/upper", "--text", "hello")
    assert ended.returncode == 0, ended.stderr
    assert '"HELLO"' in ended.stdout


def test_documents_come_through_pipes(command, gateway):
    ended = run(command, "post", gateway.url, "--on", "/upper", "--input", "-", input='{"text": "a"}\n{"text": "b"}\n')
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("\n") == 2 and '"A"' in ended.stdout and '"B"' in ended.stdout


def test_exit_codes_are_those_of_the_command(command):
    assert run(command, "post", "--nothing").returncode == 2
    failed = run(command, "ready", "http://127.0.0.1:1")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    shown = run(command, "--help")
    assert shown.returncode == 0 and shown.stdout.startswith("A client for Jina gateways")
    assert "Usage: clientlet" in shown.stdout


def test_ctrl_c_accounts_for_what_was_sent(command, gateway):
    arguments = ["post", gateway.url, "--on", "/slow", "--text", "a", "--parameters", '{"seconds": 60}']
    process = subprocess.Popen([*command, *arguments], stderr=subprocess.PIPE, text=True)
    while not gateway.journal:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    assert process.wait() == 130
    assert "interrupted: 1 document not answered, 1 request in flight" in said
    assert "Traceback" not in said


@pytest.mark.skipif(shutil.which("sh") is None, reason="only a shell closes stdout")
def test_a_closed_stdout_is_an_error(gateway):
    line = 'exec "$@" >&-'
    ended = run(["sh", "-c", line, "sh", *WAYS["module"]], "post", gateway.url, "--on", "/upper", "--text", "a")
    assert ended.returncode == 1 and "stdout" in ended.stderr
