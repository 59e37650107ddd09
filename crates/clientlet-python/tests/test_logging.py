"""The library's log in Python's `logging`."""

import contextlib
import logging
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

import clientlet
from clientlet import AsyncClient, Client, Retry, Tls


def names(caplog: pytest.LogCaptureFixture) -> list:
    return [record.name for record in caplog.records if record.name.startswith("clientlet.")]


def test_events_have_their_names_levels_and_fields(caplog, gateway, url):
    caplog.set_level(5, "clientlet")
    Client(url).post("/upper", [{"text": "a"}, {"text": "b"}], request_size=1)
    found = {record.name: record for record in caplog.records}
    assert found["clientlet.connection.opened"].levelno == logging.DEBUG
    begun = found["clientlet.request.begun"]
    assert begun.levelno == 5
    assert begun.fields["documents"] == 1
    assert begun.getMessage().startswith("a request begins (index ")
    assert names(caplog).count("clientlet.request.answered") == 2
    assert found["clientlet.request.answered"].fields["attempts"] == 1
    assert found["clientlet.request.answered"].created >= begun.created


def test_only_what_is_wanted_is_logged(caplog, gateway, url):
    caplog.set_level(logging.DEBUG, "clientlet")
    client = Client(url)
    client.post("/upper", {"text": "a"})
    assert "clientlet.connection.opened" in names(caplog)
    assert "clientlet.request.begun" not in names(caplog)
    caplog.clear()
    # The level is looked at with each call.
    caplog.set_level(5, "clientlet")
    client.post("/upper", {"text": "a"})
    assert "clientlet.request.begun" in names(caplog)


def test_warnings_come_without_any_setting(caplog, gateway):
    Client(gateway.url.replace("http", "https"), tls=Tls(danger_accept_invalid_certs=True))
    warned = [record for record in caplog.records if record.name == "clientlet.tls.unchecked"]
    assert [record.levelno for record in warned] == [logging.WARNING]


def test_events_are_logged_by_the_thread_that_calls(caplog, run, gateway, url):
    caplog.set_level(5, "clientlet")

    async def post():
        async with AsyncClient(url) as client:
            await client.post("/upper", {"text": "a"})

    run(post())
    told = [record for record in caplog.records if record.name.startswith("clientlet.")]
    assert told and {record.thread for record in told} == {threading.get_ident()}


def test_a_retry_is_told_with_its_error(caplog):
    caplog.set_level(logging.DEBUG, "clientlet")
    client = Client("http://127.0.0.1:1", retry=Retry(max_attempts=2, initial_backoff=0.001))
    with pytest.raises(clientlet.ConnectError):
        client.post("/upper", {"text": "a"})
    again = [record for record in caplog.records if record.name == "clientlet.attempt.again"]
    assert [record.fields["attempt"] for record in again] == [1]
    assert again[0].fields["kind"] == "connect"


def test_a_handler_may_call_a_client_and_may_raise(gateway, monkeypatch):
    raised = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: raised.append(str(told.exc_value)))
    client = Client(gateway.url)
    depth = []

    class Handler(logging.Handler):
        def emit(self, record):
            if not depth:
                depth.append(record.name)
                client.post("/upper", {"text": record.name})
            raise RuntimeError("a handler that raises")

    logger, handler = logging.getLogger("clientlet"), Handler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(5)
    try:
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert depth
    assert set(raised) == {"a handler that raises"}


def test_threads_that_log_and_fork_do_not_hang(gateway):
    code = """
    import logging, os, sys, threading
    import clientlet
    class Seen(logging.Handler):
        count = 0
        def emit(self, record):
            self.count += 1
    logging.getLogger("clientlet").addHandler(Seen())
    logging.getLogger("clientlet").setLevel(5)
    url = sys.argv[1]
    client = clientlet.Client(url)
    def work():
        for _ in range(100):
            client.post("/upper", {"text": "a"})
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        child = os.fork()
        if child == 0:
            assert client.post("/upper", {"text": "b"})[0]["text"] == "B"
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
    for thread in threads:
        thread.join()
    print("done")
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), gateway.url], capture_output=True, text=True, timeout=60
    )
    assert ended.stdout == "done\n", ended.stderr
    assert ended.returncode == 0


def test_what_waits_is_bounded_and_the_loss_is_told(caplog, gateway):
    client = Client(gateway.urls[1])
    caplog.set_level(logging.DEBUG, "clientlet")
    documents = ({"text": "a"} for _ in range(11_000))
    stream = client.post(
        "/slow", documents, request_size=1, prefetch=11_000, parameters={"seconds": 60}, stream=True
    )
    while (begun := client.statistics().requests_in_flight) < 11_000:
        with interrupted(5), pytest.raises(KeyboardInterrupt):
            next(stream)
    caplog.clear()
    # All of them fail within one call.
    assert len(stream.stop()) == begun
    failed = names(caplog).count("clientlet.request.failed")
    (lost,) = [record.fields["lost"] for record in caplog.records if record.name == "clientlet.telling.lost"]
    assert failed == 10_000 and failed + lost == begun


@contextlib.contextmanager
def interrupted(seconds: float):
    """Raises `KeyboardInterrupt` after some time."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
