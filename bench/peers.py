"""Post documents with Jina's own client, one a request, and say in one JSON line what that took.

    python peers.py {http,websocket,grpc} PORT REQUESTS IN_FLIGHT TEXT_LENGTH

The time of imports and of connecting does not count; the memory is the process's.
"""
import os
import sys

os.environ['JINA_OPTOUT_TELEMETRY'] = '1'
os.environ['JINA_HIDE_SURVEY'] = '1'
# The one line of JSON owns standard output; whatever Jina prints goes to standard error.
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
        # Three fields with the id: a gateway makes nonsense of exactly two over HTTP.
        title: str = ''
        text: str

    answers = {'return_type': DocList[Article]}
except ImportError:
    from docarray import Document as Article

    answers = {}

LETTERS = 'the quick brown fox jumps over the lazy dog '
# Connections are made and code is loaded.
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
    # Linux counts in KiB, Apple's systems in bytes.
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
