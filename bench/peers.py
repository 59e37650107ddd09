"""Post documents with Jina's own client, one per request, and print the cost as one line of JSON.

    python peers.py {http,websocket,grpc} PORT REQUESTS IN_FLIGHT TEXT_LENGTH

Imports and connecting do not count. The memory is the peak of the whole process.
"""
import os
import sys

os.environ['JINA_OPTOUT_TELEMETRY'] = '1'
os.environ['JINA_HIDE_SURVEY'] = '1'
# Standard output is for the line of JSON; Jina's own output goes to standard error.
stdout = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

import asyncio
import json
import resource
import time

import jina
from jina import Client

try:
    from docarray import BaseDoc, DocList

    class Article(BaseDoc):
        # Three fields, the id included: over HTTP a gateway corrupts documents with exactly two.
        title: str = ''
        text: str

    answers = {'return_type': DocList[Article]}
except ImportError:
    from docarray import Document as Article

    answers = {}

LETTERS = 'the quick brown fox jumps over the lazy dog '
# Requests that do not count: they make the connections and load the code.
WARM_UP = 100


def documents(count, length):
    text = (LETTERS * (length // len(LETTERS) + 1))[:length]
    for number in range(count):
        yield Article(id=f'document-{number}', text=text)


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(protocol, port, requests, in_flight, length):
    client = Client(host='127.0.0.1', port=port, protocol=protocol, asyncio=True)
    options = {'request_size': 1, 'prefetch': in_flight, **answers}

    async def post(count):
        answered = 0
        async for _ in client.post('/upper', documents(count, length), **options):
            answered += 1
        if answered != count:
            raise SystemExit(f'{count} requests got {answered} answers')

    await post(WARM_UP)
    began, began_cpu = time.perf_counter(), cpu()
    await post(requests)
    seconds, cpu_seconds = time.perf_counter() - began, cpu() - began_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux reports KiB, Apple's systems report bytes.
    peak_mib = peak / 1024 / (1024 if sys.platform == 'darwin' else 1)
    result = {
        'client': f'jina {jina.__version__}',
        'requests': requests,
        'seconds': seconds,
        'cpu_seconds': cpu_seconds,
        'peak_mib': peak_mib,
    }
    print(json.dumps(result), file=stdout, flush=True)


if __name__ == '__main__':
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
