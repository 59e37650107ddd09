"""Measure the Python wheel, and Jina's own client beside it, and print the numbers as one line of JSON.

    wheel.py compare HTTP WEBSOCKET GRPC ROUNDS   against jina.Client of this environment, in turns
    wheel.py hook HTTP WEBSOCKET GRPC ROUNDS      jina.Client of this environment, without and with install_jina()
    wheel.py helper HTTP WEBSOCKET ROUNDS         against the clientlets of this environment, message by message
    wheel.py encode ROUNDS                        documents to protobuf, beside DocArray v2, and to JSON
    wheel.py await ROUNDS                         what an await costs by itself
    wheel.py aside HTTP ROUNDS                    the event loop's time of a request over HTTP, encoded there or aside
    wheel.py memory URL DOCUMENTS                 the peak, and the interpreter's before the import

All times are microseconds of this process's CPU, user and system, for a request, a list of documents or an
await. Imports and making the documents do not count. Each request is a call of its own: Jina's client
connects for each call, so that counts, while ours keeps its connections. Clientlets keep theirs on both
sides; there a request has one text, and rows of work `*-wall` are the time that passed.
"""
import os
import sys

os.environ['JINA_OPTOUT_TELEMETRY'] = '1'
os.environ['JINA_HIDE_SURVEY'] = '1'
# Standard output is for the line of JSON; Jina's own output goes to standard error.
stdout = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

import asyncio
import gc
import json
import resource
import time
from urllib.parse import urlsplit

# Documents in a request, floats in an embedding, characters in a text, tasks that wait.
DOCUMENTS, DIMENSIONS, TEXT_LENGTH, TASKS = 100, 768, 110, 16
LETTERS = 'the quick brown fox jumps over the lazy dog '
TEXT = (LETTERS * (TEXT_LENGTH // len(LETTERS) + 1))[:TEXT_LENGTH]
# Calls in a measurement: Jina's client takes several times as long for each.
THEIRS, OURS = 8, 64


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak():
    """The peak of resident memory, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux reports KiB, Apple's systems report bytes.
    return most / 1024 / (1024 if sys.platform == 'darwin' else 1)


def classes():
    """The classes of documents with text and with an embedding, their collections, and what Jina's client
    is told of its answers."""
    # Three fields, the id included: over HTTP a gateway corrupts documents of v2 with exactly two.
    try:
        from docarray import BaseDoc, DocList
        from docarray.typing import NdArray
    except ImportError:
        from docarray import Document, DocumentArray

        return Document, Document, DocumentArray, DocumentArray, False

    class Article(BaseDoc):
        title: str = ''
        text: str

    class Embedded(BaseDoc):
        text: str = ''
        embedding: NdArray

    return Article, Embedded, DocList[Article], DocList[Embedded], True


def embeddings():
    import numpy

    numbers = numpy.random.default_rng(7).standard_normal((DOCUMENTS, DIMENSIONS))
    return numbers.astype(numpy.float32)


def compare(http, websocket, grpc, rounds):
    import jina

    import clientlet

    Article, Embedded, Articles, Embeddings, is_v2 = classes()
    array = embeddings()
    ids = [f'document-{number}' for number in range(DOCUMENTS)]
    columns = {'id': ids, 'embedding': array}
    dicts = [{'id': id, 'embedding': row} for id, row in zip(ids, array)]
    if is_v2:
        columns['text'] = [''] * DOCUMENTS
        for document in dicts:
            document['text'] = ''
    embedded = Embeddings(Embedded(**document) for document in dicts)
    articles = Articles(Article(id=id, text=TEXT) for id in ids)

    rows = []
    for protocol, url in (('http', http), ('websocket', websocket), ('grpc', grpc)):
        address = urlsplit(url)
        jinas = jina.Client(host=address.hostname, port=address.port, protocol=protocol)
        ours = clientlet.Client(url)

        def theirs(documents, return_type):
            options = {'return_type': return_type} if is_v2 else {}
            return len(jinas.post('/upper', documents, request_size=DOCUMENTS, **options))

        def in_columns():
            shape = ours.post('/upper', columns=columns)['embedding'].shape
            assert shape == (DOCUMENTS, DIMENSIONS), shape
            return shape[0]

        for their_call, our_calls in (
            (lambda: theirs(embedded, Embeddings), {
                'dicts': lambda: len(ours.post('/upper', dicts)),
                'columns': in_columns,
            }),
            (lambda: theirs(articles, Articles), {
                'texts': lambda: len(ours.post('/upper', articles, return_type=Articles)),
            }),
        ):
            contestants = {'theirs': (their_call, THEIRS)}
            contestants.update((name, (call, OURS)) for name, call in our_calls.items())
            measured = {name: [] for name in contestants}
            for turn in range(rounds + 1):
                for name, (call, calls) in contestants.items():
                    gc.collect()
                    began = cpu()
                    for _ in range(calls):
                        if call() != DOCUMENTS:
                            raise SystemExit(f'{name}: not all documents were answered')
                    # The first turn makes the connections and loads the code.
                    if turn > 0:
                        measured[name].append((cpu() - began) * 1e6 / calls)
            for name in our_calls:
                rows.append({
                    'work': name,
                    'protocol': protocol,
                    'theirs': measured['theirs'],
                    'ours': measured[name],
                })
    return {'jina': jina.__version__, 'rows': rows}


# Requests in a call of Jina's client where a request has one text.
REQUESTS = 64


def hook(http, websocket, grpc, rounds):
    import jina

    import clientlet

    Article, Embedded, Articles, Embeddings, is_v2 = classes()
    embedded = Embeddings(Embedded(id=f'document-{n}', embedding=row) for n, row in enumerate(embeddings()))
    articles = Articles(Article(id=f'document-{n}', text=TEXT) for n in range(DOCUMENTS))
    rows = []
    for protocol, url in (('http', http), ('websocket', websocket), ('grpc', grpc)):
        address = urlsplit(url)
        client = jina.Client(host=address.hostname, port=address.port, protocol=protocol)
        for work, documents, return_type, request_size, requests in (
            ('hook-one', articles[:REQUESTS], Articles, 1, REQUESTS),
            ('hook-texts', articles, Articles, DOCUMENTS, 1),
            ('hook-floats', embedded, Embeddings, DOCUMENTS, 1),
        ):
            options = {'return_type': return_type} if is_v2 else {}

            def measure(calls):
                gc.collect()
                began = cpu()
                for _ in range(calls):
                    if len(client.post('/upper', documents, request_size=request_size, **options)) != len(documents):
                        raise SystemExit(f'{work}: not all documents were answered')
                return (cpu() - began) * 1e6 / (calls * requests)

            theirs, ours = [], []
            for turn in range(rounds + 1):
                without = measure(THEIRS)
                with clientlet.install_jina():
                    after = measure(OURS)
                if turn > 0:
                    theirs.append(without)
                    ours.append(after)
            rows.append({'work': work, 'protocol': protocol, 'theirs': theirs, 'ours': ours})
    return {'jina': jina.__version__, 'rows': rows}


# Messages of a clientlet in a measurement.
MESSAGES = 4000


def helper(http, websocket, rounds):
    import jina
    from jina.clients.base import helper as theirs
    from jina.logging.logger import JinaLogger
    from jina.types.request.data import DataRequest

    from clientlet import helper, helper_3_33

    has_address = jina.__version__.startswith('3.14.')
    ours = helper if has_address else helper_3_33
    Article, _, Articles, _, is_v2 = classes()
    logger = JinaLogger('bench')
    url = http + ('/upper' if is_v2 else '/post')

    def request():
        made = DataRequest()
        made.header.exec_endpoint = '/upper'
        made.data.docs = Articles([Article(text=TEXT)])
        if is_v2:
            made.document_array_cls = Articles
        return made

    async def over_http(module):
        requests = [request() for _ in range(TASKS)]
        made = module.HTTPClientlet(url=url, logger=logger) if has_address else module.HTTPClientlet(logger=logger)
        async with made as clientlet:

            async def one(request, times):
                for _ in range(times):
                    if has_address:
                        answer = await clientlet.send_message(request)
                        status, _ = answer.status, await answer.json()
                    else:
                        status, _ = await clientlet.send_message(url, request)
                    if status != 200:
                        raise SystemExit(f'a request was answered with {status}')

            await asyncio.gather(*[one(request, 2) for request in requests])
            began, began_wall = cpu(), time.perf_counter()
            await asyncio.gather(*[one(request, MESSAGES // TASKS) for request in requests])
            return cpu() - began, time.perf_counter() - began_wall

    async def over_websocket(module, in_flight):
        message = request()
        async with module.WebsocketClientlet(url=websocket, logger=logger) as clientlet:
            places = asyncio.Semaphore(in_flight)

            async def send():
                for _ in range(MESSAGES):
                    await places.acquire()
                    await clientlet.send_message(message)
                await clientlet.send_eoi()

            async def receive():
                answered = 0
                async for _ in clientlet.recv_message():
                    answered += 1
                    places.release()
                return answered

            began, began_wall = cpu(), time.perf_counter()
            _, answered = await asyncio.gather(send(), receive())
            taken = cpu() - began, time.perf_counter() - began_wall
            if answered != MESSAGES:
                raise SystemExit(f'{answered} of {MESSAGES} messages were answered')
            return taken

    rows = []
    for work, protocol, run in (
        ('helper', 'http', over_http),
        ('helper-one', 'websocket', lambda module: over_websocket(module, 1)),
        ('helper-many', 'websocket', lambda module: over_websocket(module, TASKS)),
    ):
        measured = {name: ([], []) for name in ('theirs', 'ours')}
        for turn in range(rounds + 1):
            for name, module in (('theirs', theirs), ('ours', ours)):
                gc.collect()
                taken = asyncio.run(run(module))
                if turn > 0:
                    for kept, seconds in zip(measured[name], taken):
                        kept.append(seconds * 1e6 / MESSAGES)
        for number, suffix in ((0, ''), (1, '-wall')):
            rows.append({
                'work': work + suffix,
                'protocol': protocol,
                'theirs': measured['theirs'][number],
                'ours': measured['ours'][number],
            })
    return {'jina': jina.__version__, 'rows': rows}


def encode(rounds):
    from clientlet import _core

    _, Embedded, _, Embeddings, is_v2 = classes()
    if not is_v2:
        raise SystemExit('DocArray v2 is needed')
    documents = Embeddings(
        Embedded(id=f'document-{number}', embedding=row) for number, row in enumerate(embeddings())
    )
    theirs, ours, ours_as_json = [], [], []
    for _ in range(rounds):
        for work, times, taken in (
            (lambda: documents.to_protobuf().SerializeToString(), 50, theirs),
            (lambda: _core.encode(documents, 'v2', False), 1000, ours),
            (lambda: _core.encode(documents, 'v2', True), 100, ours_as_json),
        ):
            began = cpu()
            for _ in range(times):
                work()
            taken.append((cpu() - began) * 1e6 / times)
    return {'theirs': theirs, 'ours': ours, 'ours_as_json': ours_as_json}


async def awaits(rounds):
    from clientlet import _core

    async def repeat(pending, times):
        for _ in range(times):
            await _core.pause(pending)

    ready, waiting = [], []
    for _ in range(rounds):
        began = cpu()
        await repeat(False, 100_000)
        ready.append((cpu() - began) * 1e6 / 100_000)
        began = cpu()
        await asyncio.gather(*[repeat(True, 1000) for _ in range(TASKS)])
        waiting.append((cpu() - began) * 1e6 / (1000 * TASKS))
    return {'ready': ready, 'waiting': waiting}


def memory(url, documents):
    before = peak()
    import clientlet

    inputs = ({'id': f'document-{n}', 'title': '', 'text': TEXT} for n in range(documents))
    answered = 0
    with clientlet.Client(url) as client:
        for answer in client.post('/upper', inputs, request_size=DOCUMENTS, stream=True):
            answered += len(answer.docs)
    if answered != documents:
        raise SystemExit(f'{answered} of {documents} documents were answered')
    return {'interpreter': before, 'peak': peak()}


class Never:
    """A client's core that encodes on the loop's thread."""

    def __init__(self, core):
        self._core = core

    def post(self, *arguments):
        return self._core.post(*arguments[:-1], False)


async def aside(url, rounds):
    """By the number of floats: microseconds of the loop's thread, and of the process, for a request."""
    import clientlet

    array = embeddings()
    rows = []
    for documents in (14, 25, DOCUMENTS):
        dicts = [{'id': str(n), 'embedding': row} for n, row in enumerate(array[:documents])]
        measured = {'there': [], 'aside': []}
        clients = {name: clientlet.AsyncClient(url) for name in measured}
        clients['there']._core = Never(clients['there']._core)
        for turn in range(rounds + 1):
            for name, client in clients.items():
                began = time.thread_time(), cpu()
                for _ in range(OURS):
                    await client.post('/upper', dicts)
                took = time.thread_time() - began[0], cpu() - began[1]
                if turn > 0:
                    measured[name].append([round(seconds * 1e6 / OURS) for seconds in took])
        medians = {name: sorted(times)[len(times) // 2] for name, times in measured.items()}
        rows.append({'floats': documents * DIMENSIONS, **medians})
    return rows


def main(task, *arguments):
    if task == 'compare':
        *urls, rounds = arguments
        return compare(*urls, int(rounds))
    if task == 'hook':
        *urls, rounds = arguments
        return hook(*urls, int(rounds))
    if task == 'helper':
        *urls, rounds = arguments
        return helper(*urls, int(rounds))
    if task == 'encode':
        return encode(int(arguments[0]))
    if task == 'await':
        return asyncio.run(awaits(int(arguments[0])))
    if task == 'aside':
        return asyncio.run(aside(arguments[0], int(arguments[1])))
    return memory(arguments[0], int(arguments[1]))


if __name__ == '__main__':
    print(json.dumps(main(*sys.argv[1:])), file=stdout, flush=True)
