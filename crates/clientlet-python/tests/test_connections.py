"""How a gateway is reached: TLS, proxies, credentials, limits."""

import asyncio
import base64
import contextlib
import gc
import multiprocessing
import pickle
import socket
import threading
import weakref

import pytest

import clientlet
from clientlet import AsyncClient, Client, Tls
from clientlet.testing import Gateway

from conftest import PROTOCOLS, url_of

WAYS = [("http", False), ("websocket", False), ("grpc", False), ("grpc", True)]


@pytest.fixture(params=WAYS, ids=["http", "websocket", "grpc", "grpc unary"])
def way(request):
    """A protocol, and whether requests over gRPC are calls of their own."""
    return request.param


def client_of(gateway, way, **settings):
    return Client(url_of(gateway, way[0]), unary=way[1], **settings)


# TLS


def test_a_gateway_over_tls_is_reached_with_its_ca(way, tmp_path):
    with Gateway(tls=True) as gateway:
        assert url_of(gateway, way[0]).split(":")[0] in {"https", "wss", "grpcs"}
        path = tmp_path / "ca.pem"
        path.write_text(gateway.ca)
        for ca in (gateway.ca, gateway.ca.encode(), path, str(path), [gateway.ca]):
            client = client_of(gateway, way, tls=Tls(ca=ca, without_system_roots=True, min_version="1.3"))
            assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
            assert client.ready()


def test_a_certificate_that_is_not_trusted_is_a_tls_error(way):
    with Gateway(tls=True) as gateway, Gateway(tls=True) as other:
        for tls in (None, Tls(ca=other.ca), Tls(ca=gateway.ca, server_name="elsewhere.example")):
            settings = {} if tls is None else {"tls": tls}
            with pytest.raises(clientlet.TlsError, match="certificate") as raised:
                client_of(gateway, way, **settings).post("/", {"text": "a"})
            error = raised.value
            assert isinstance(error, ConnectionError) and error.kind == "tls"
            assert (error.delivery, error.may_have_run) == ("not_sent", False)
        careless = client_of(gateway, way, tls=Tls(danger_accept_invalid_certs=True))
        assert careless.post("/upper", {"text": "a"})[0]["text"] == "A"


def test_a_gateway_that_asks_for_a_certificate_gets_it(way):
    with Gateway(client_certificates=True) as gateway:
        with pytest.raises(clientlet.TlsError, match="certificate"):
            client_of(gateway, way, tls=Tls(ca=gateway.ca)).post("/", {"text": "a"})
        tls = Tls(ca=gateway.ca, client_certificate=gateway.client_certificate("tests"))
        assert client_of(gateway, way, tls=tls).post("/upper", {"text": "a"})[0]["text"] == "A"
    with Gateway() as gateway:
        assert gateway.ca is None
        with pytest.raises(ValueError, match="no TLS"):
            gateway.client_certificate()


def test_tls_and_plain_text_that_meet_are_an_error(way):
    with Gateway() as gateway:
        secure = {"http": "https", "websocket": "wss", "grpc": "grpcs"}[way[0]]
        url = f"{secure}:{url_of(gateway, way[0]).split(':', 1)[1]}"
        with pytest.raises(clientlet.TlsError):
            Client(url, unary=way[1]).post("/", {"text": "a"})
    with Gateway(tls=True) as gateway:
        plain = {"http": "http", "websocket": "ws", "grpc": "grpc"}[way[0]]
        url = f"{plain}:{url_of(gateway, way[0]).split(':', 1)[1]}"
        with pytest.raises(clientlet.Error, match="https, wss or grpcs"):
            Client(url, unary=way[1]).post("/", {"text": "a"})


def _wrong_tls(gateway, path):
    certificate, key = gateway.client_certificate()
    _, other_key = gateway.client_certificate()
    return [
        (Tls(ca="no certificate"), "no certificate"),
        (Tls(ca=b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate"),
        (Tls(ca=path / "missing.pem"), "missing.pem"),
        (Tls(ca=key), "certificate"),
        (Tls(client_certificate=(certificate, certificate)), "key"),
        (Tls(client_certificate=(certificate, other_key)), "key"),
        (Tls(client_certificate=(key, key)), "certificate"),
        (Tls(client_certificate=certificate), "client_certificate"),
        (Tls(client_certificate=(certificate,)), "client_certificate"),
        (Tls(ca=7), "ca"),
        (Tls(min_version="1.1"), "min_version"),
        (Tls(min_version=1.2), "min_version"),
        (Tls(server_name="no name"), "name"),
        (Tls(without_system_roots=True), "root|ca"),
    ]


def test_tls_settings_that_cannot_be_used_are_named(tmp_path):
    with Gateway(tls=True) as gateway:
        for tls, said in _wrong_tls(gateway, tmp_path):
            with pytest.raises((ValueError, TypeError), match=said):
                Client(gateway.url, tls=tls)
                pytest.fail(f"{tls} was taken")
        with pytest.raises(TypeError, match="tls"):
            Client(gateway.url, tls=gateway.ca)


# Proxies


class Proxy:
    """A proxy for which all hosts are this one. It keeps the heads of the requests that it got."""

    def __init__(self, refusal=None):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads = []
        self._refusal = refusal
        self._sockets = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                got = client.recv(4096)
                if not got:
                    return
                head += got
            head, rest = head.split(b"\r\n\r\n", 1)
            self.heads.append(head.decode())
            if self._refusal:
                client.sendall(self._refusal)
                client.close()
                return
            method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
            if method == "CONNECT":
                port = target.rsplit(":", 1)[1]
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                # A request with the whole URL, which goes on as it is: gateways read the path alone.
                port = target.split("/")[2].rsplit(":", 1)[1]
                rest = head + b"\r\n\r\n" + rest
            server = socket.create_connection(("127.0.0.1", int(port)))
            self._sockets.append(server)
            server.sendall(rest)
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            self._copy(client, server)

    @staticmethod
    def _copy(source, target):
        with contextlib.suppress(OSError):
            while got := source.recv(65536):
                target.sendall(got)
            target.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in [self._listener, *self._sockets]:
            one.close()


class Socks(Proxy):
    """A SOCKS5 proxy for which all hosts are this one. It keeps the hosts that it was asked for."""

    def __init__(self, user=None):
        self._user = user
        super().__init__()
        self.url = self.url.replace("http", "socks5h")

    def _serve(self, client):
        # A client that is refused says no more.
        with contextlib.suppress(OSError, IndexError), client.makefile("rb") as reader:
            methods = reader.read(reader.read(2)[1])
            method = 2 if self._user else 0
            client.sendall(bytes([5, method if method in methods else 255]))
            if self._user:
                user = reader.read(reader.read(2)[1])
                word = reader.read(reader.read(1)[0])
                is_known = (user, word) == self._user
                client.sendall(bytes([1, 0 if is_known else 1]))
                if not is_known:
                    client.close()
                    return
            _, _, _, kind = reader.read(4)
            host = reader.read(4 if kind == 1 else reader.read(1)[0])
            self.heads.append(socket.inet_ntoa(host) if kind == 1 else host.decode())
            server = socket.create_connection(("127.0.0.1", int.from_bytes(reader.read(2), "big")))
            self._sockets.append(server)
            client.sendall(bytes([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
            threading.Thread(target=self._copy, args=(server, client), daemon=True).start()
            # A client speaks after the answer, so the reader holds nothing back.
            self._copy(client, server)


@pytest.mark.parametrize("tls", [False, True])
def test_a_socks_proxy_is_gone_through_with_its_credentials(way, tls):
    with Socks((b"user", b"pass")) as proxy, Gateway(tls=tls) as gateway:
        trusted = {"tls": Tls(ca=gateway.ca)} if tls else {}
        client = client_of(gateway, way, proxy=proxy.url.replace("//", "//user:pass@"), **trusted)
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert set(proxy.heads) == {"127.0.0.1"} and "pass" not in repr(client)
        for given, said in (("user:hidden@", "does not accept the credentials"), ("", "wants credentials")):
            url = proxy.url.replace("//", "//" + given)
            with pytest.raises(clientlet.ConnectError, match=said) as raised:
                client_of(gateway, way, proxy=url, **trusted).post("/", {"text": "a"})
            assert raised.value.delivery == "not_sent" and "hidden" not in str(raised.value)
            assert raised.value.hint == "the credentials of a proxy are part of the proxy's URL"


def test_a_socks_proxy_of_the_environment_looks_names_up(way, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Socks() as proxy, Gateway() as gateway:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        url = url_of(gateway, way[0]).replace("127.0.0.1", "gateway.invalid")
        client = Client(url, unary=way[1], proxy_from_env=True)
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert set(proxy.heads) == {"gateway.invalid"}


@pytest.mark.parametrize("tls", [False, True])
def test_a_proxy_is_gone_through_with_its_credentials(way, tls):
    with Proxy() as proxy, Gateway(tls=tls) as gateway:
        trusted = {"tls": Tls(ca=gateway.ca)} if tls else {}
        url = proxy.url.replace("//", "//user:pass@")
        client = client_of(gateway, way, proxy=url, **trusted)
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert proxy.heads and all(
            f"proxy-authorization: Basic {base64.b64encode(b'user:pass').decode()}".lower() in head.lower()
            for head in proxy.heads
        )
        assert "pass" not in repr(client)
        count = len(proxy.heads)
        direct = client_of(gateway, way, proxy=url, no_proxy="127.0.0.1", **trusted)
        assert direct.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert len(proxy.heads) == count


def test_a_proxy_of_the_environment_is_used_when_asked_for(way, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Proxy() as proxy, Gateway() as gateway:
        monkeypatch.setenv("all_proxy", proxy.url)
        # Loopback addresses need no proxy, and this name is known to the proxy alone.
        url = url_of(gateway, way[0]).replace("127.0.0.1", "gateway.invalid")
        client = Client(url, unary=way[1], proxy_from_env=True)
        assert client.post("/upper", {"text": "a"})[0]["text"] == "A"
        assert proxy.heads
        with pytest.raises(clientlet.ConnectError, match="gateway.invalid"):
            Client(url, unary=way[1]).post("/", {"text": "a"})


def test_a_proxy_that_refuses_or_is_not_there_is_an_error(way):
    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    with Proxy(refusal) as proxy, Gateway() as gateway:
        with pytest.raises(clientlet.Error, match="407") as raised:
            client_of(gateway, way, proxy=proxy.url.replace("//", "//me:hidden@")).post("/", {"text": "a"})
        assert raised.value.delivery == "not_sent" and "hidden" not in str(raised.value)
        missing = socket.create_server(("127.0.0.1", 0))
        port = missing.getsockname()[1]
        missing.close()
        with pytest.raises(clientlet.ConnectError, match="proxy") as raised:
            client_of(gateway, way, proxy=f"http://127.0.0.1:{port}").post("/", {"text": "a"})
        assert raised.value.delivery == "not_sent"


def test_a_port_where_nothing_listens_has_a_hint(way, gateway):
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    scheme = url_of(gateway, way[0]).split(":")[0]
    with pytest.raises(clientlet.ConnectError) as raised:
        Client(f"{scheme}://127.0.0.1:{port}", unary=way[1]).post("/", {"text": "a"})
    assert "is the gateway running there?" in raised.value.hint


# Credentials


@pytest.mark.parametrize("settings, value", [
    ({"bearer_token": "secret"}, "Bearer secret"),
    ({"basic_auth": ("me", "secret")}, "Basic " + base64.b64encode(b"me:secret").decode()),
    ({"headers": {"authorization": "Other secret"}}, "Other secret"),
    ({"headers": [("Authorization", "Other secret")]}, "Other secret"),
])  # fmt: skip
def test_credentials_arrive_and_are_never_shown(way, settings, value):
    with Gateway(authorization=value) as gateway:
        client = client_of(gateway, way, **settings)
        assert client.ready() and client.post("/upper", {"text": "a"})[0]["text"] == "A"
        wrong = {"bearer_token": "wrong-secret"}
        with pytest.raises(clientlet.GatewayError) as raised:
            client_of(gateway, way, **wrong).post("/", {"text": "a"})
        error = raised.value
        assert not error.may_have_run and "credentials" in f"{error} {error.hint}".lower()
        assert "secret" not in str(error) and "secret" not in repr(client)


def test_cookies_arrive(way):
    with Gateway() as gateway:
        client_of(gateway, way, cookies={"lane": "7", "b": "c"}).post("/", {"text": "a"})
        assert sorted(gateway.journal[0].headers["cookie"].split("; ")) == ["b=c", "lane=7"]


# Headers that are asked for before each attempt


class Issuer:
    """Issues a token, and a new one after a refusal."""

    def __init__(self):
        self.asked = []
        self.threads = set()

    def __call__(self, attempt):
        self.asked.append(attempt)
        self.threads.add(threading.current_thread().name)
        is_new = any(attempt.was_refused for attempt in self.asked)
        return {"authorization": "Bearer new" if is_new else "Bearer old"}


def test_a_refused_token_is_renewed_and_the_request_sent_once_more(way):
    with Gateway(authorization="Bearer new") as gateway:
        issuer = Issuer()
        client = client_of(gateway, way, before_attempt=issuer, headers={"x-tenant": "a"})
        response = next(client.post("/upper", {"text": "a"}, stream=True))
        assert response.docs[0]["text"] == "A" and response.attempts == 1
        assert [attempt.was_refused for attempt in issuer.asked[:2]] == [False, True]
        assert issuer.threads == {"clientlet before_attempt"}
        assert all(attempt.headers["x-tenant"] == "a" for attempt in issuer.asked)
        assert {attempt.method for attempt in issuer.asked} <= {"GET", "POST"}
        assert all(attempt.url.startswith("http://127.0.0.1:") for attempt in issuer.asked)
        has_body = bool(issuer.asked[-1].body)
        assert has_body == (way in [("http", False), ("grpc", True)])
        assert gateway.journal[-1].headers["authorization"] == "Bearer new"
        # The next calls have the new token from the beginning.
        refused = sum(attempt.was_refused for attempt in issuer.asked)
        assert client.post("/upper", [{"text": "a"}] * 5, request_size=1) and client.ready()
        assert sum(attempt.was_refused for attempt in issuer.asked) == refused


@pytest.mark.parametrize("make", [
    lambda: {"x-token": "1"}, lambda: [("x-token", "1")], lambda: iter([("X-Token", "1")]),
])  # fmt: skip
def test_headers_are_a_dict_or_pairs(gateway, make):
    client = Client(gateway.url, before_attempt=lambda attempt: make())
    assert client.post("/", {"text": "a"}) and gateway.journal[0].headers["x-token"] == "1"
    assert Client(gateway.url, before_attempt=lambda attempt: None).post("/", {"text": "a"})


def test_an_asynchronous_function_gives_headers_too(way, run):
    loops = set()

    async def token(attempt):
        loops.add(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return {"authorization": "Bearer new"}

    with Gateway(authorization="Bearer new") as gateway:

        async def main():
            client = AsyncClient(url_of(gateway, way[0]), unary=way[1], before_attempt=token)
            calls = (client.post("/upper", {"text": f"a{n}"}) for n in range(10))
            return [documents[0]["text"] for documents in await asyncio.gather(*calls)]

        assert run(main()) == [f"A{n}" for n in range(10)]
        assert len(loops) == 1
        assert client_of(gateway, way, before_attempt=token).ready()


class IssuerDown(Exception):
    pass


def _raises(attempt):
    raise IssuerDown("the issuer is down")


@pytest.mark.parametrize("function, said, cause", [
    (_raises, "before_attempt failed: .*the issuer is down", IssuerDown),
    (lambda attempt: 7, "before_attempt failed: .*int", TypeError),
    (lambda attempt: {"x": 7}, "before_attempt failed", TypeError),
    (lambda attempt: {"a b": "c"}, 'before_attempt failed: .*"a b" has a wrong name', ValueError),
    (lambda attempt: {"a": "b\nc"}, 'before_attempt failed: .*"a" has a wrong value', ValueError),
    (lambda attempt: {"content-length": "7"}, "before_attempt returned a wrong header.*content-length", None),
    (lambda: {}, "before_attempt failed: .*argument", TypeError),
])  # fmt: skip
def test_a_function_that_fails_is_the_cause_and_nothing_is_sent(way, function, said, cause):
    with Gateway() as gateway:
        client = client_of(gateway, way, before_attempt=function, docarray="v1")
        with pytest.raises(clientlet.InputError, match=said) as raised:
            client.post("/", {"text": "a"})
        error = raised.value
        assert (error.delivery, error.may_have_run) == ("not_sent", False) and "\n" not in str(error)
        if cause is not None:
            assert isinstance(error.__cause__, cause)
        if cause is IssuerDown:
            assert error.__cause__.__traceback__.tb_next.tb_frame.f_code.co_name == "_raises"
        assert gateway.journal == []


def test_a_function_that_does_not_end_is_within_the_attempts_time(gateway):
    release = threading.Event()

    def waits(attempt):
        release.wait(30)

    client = Client(gateway.url, before_attempt=waits)
    with pytest.raises(clientlet.TimeoutError, match="before_attempt"):
        client.post("/", {"text": "a"}, timeout=0.1)
    release.set()
    assert client.post("/upper", {"text": "a"})[0]["text"] == "A"


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="before_attempt: a function is expected, not dict"):
        Client("http://localhost:1", before_attempt={"a": "b"})


def _threads():
    return [thread for thread in threading.enumerate() if thread.name == "clientlet before_attempt"]


def test_the_thread_starts_with_the_first_call_and_ends_after_the_client(gateway):
    # Threads of earlier tests may end meanwhile.
    before = set(_threads())

    class Function:
        def __call__(self, attempt):
            return {}

    function = Function()
    client = Client(gateway.url, before_attempt=function)
    assert not set(_threads()) - before
    client.post("/", {"text": "a"})
    client.post("/", {"text": "a"})
    (thread,) = set(_threads()) - before
    gone = weakref.ref(function)
    del function
    client.close()
    thread.join(timeout=30)
    assert not thread.is_alive()
    del client
    gc.collect()
    assert gone() is None


def _token(attempt):
    return {"authorization": "Bearer new"}


def _post_in_child(client, answers):
    answers.put(client.post("/upper", {"text": "a"})[0]["text"])


@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_asks_for_headers_itself(method):
    with Gateway(authorization="Bearer new") as gateway:
        client = Client(gateway.url, before_attempt=_token)
        assert client.ready()
        context = multiprocessing.get_context(method)
        answers = context.Queue()
        child = context.Process(target=_post_in_child, args=(client, answers))
        child.start()
        assert answers.get(timeout=60) == "A"
        child.join(timeout=60)
        assert child.exitcode == 0


# Limits


def test_limits_end_what_goes_beyond_them(way):
    with Gateway() as gateway:
        client = client_of(gateway, way, answer_limit=1000)
        with pytest.raises(clientlet.TooLargeError, match="1000 bytes"):
            client.post("/upper", {"text": "a" * 2000})
        with pytest.raises(clientlet.TimeoutError, match="idle") as raised:
            client.post("/slow", {"text": "a"}, parameters={"seconds": 60}, idle_timeout=0.1)
        assert raised.value.may_have_run


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_max_connections_bounds_the_connections(protocol):
    with Gateway() as gateway:
        client = Client(url_of(gateway, protocol), max_connections=2)
        threads = [
            threading.Thread(target=client.post, args=("/slow", {"text": "a"}),
                             kwargs={"parameters": {"seconds": 0.05}})
            for _ in range(6)
        ]  # fmt: skip
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(gateway.journal) == 6
        assert client.statistics().connections_opened <= 3


def test_a_connection_that_is_not_made_in_time_is_a_timeout(way):
    # A listener whose backlog is full neither accepts nor refuses.
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    filled = []
    with contextlib.ExitStack() as stack:
        stack.callback(listener.close)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
            filled.append(one)
        scheme = {"http": "http", "websocket": "ws", "grpc": "grpc"}[way[0]]
        client = Client(f"{scheme}://127.0.0.1:{port}", unary=way[1], connect_timeout=0.2)
        with pytest.raises((clientlet.TimeoutError, clientlet.ConnectError)) as raised:
            client.post("/", {"text": "a"})
        assert raised.value.delivery == "not_sent" and not raised.value.may_have_run


def test_secrets_are_in_a_pickle_and_the_docs_say_so():
    client = Client("http://localhost:1", bearer_token="secret", proxy="http://u:word@localhost:2")
    pickled = pickle.dumps(client)
    assert b"secret" in pickled and b"word" in pickled
    assert "secret" not in repr(client) and "word" not in repr(client)
    for of in (Client, AsyncClient):
        assert "secrets" in of.__doc__ and "pickle" in of.__doc__
