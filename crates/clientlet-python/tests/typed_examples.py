"""What type checkers know of calls. `test_types.py` has it checked by mypy and pyright, and runs it: then
`assert_type` compares the values with the types."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import clientlet
import numpy as np
from clientlet.testing import Arrival, Gateway, Request
from docarray import BaseDoc, DocList
from typing_extensions import assert_type


@dataclass
class Text:
    id: str
    text: str


class Doc(BaseDoc):
    text: str


Dicts = list[dict[str, Any]]


def handler(request: Request) -> Dicts:
    assert_type(request.documents, list[dict[str, Any]])
    return [{**document, "text": document["text"].upper()} for document in request.documents]


def waiting(client: clientlet.Client) -> None:
    texts = [Text("1", "a"), Text("2", "b")]
    assert_type(client.post("/upper", texts), list[dict[str, Any]])
    assert_type(client.post("/upper", iter(texts), return_type=dict, timeout=30), list[dict[str, Any]])
    assert_type(client.post("/upper", texts, return_type=Text), list[Text])
    assert_type(client.post("/upper", texts, return_type=Doc), list[Doc])
    assert_type(client.post("/upper", texts, return_type=DocList[Doc]), DocList[Doc])
    assert_type(client.post("/upper", texts, return_type="columns"), dict[str, Any])
    columns = {"id": ["1", "2"], "text": ["a", "b"], "vector": np.zeros((2, 3), "f4")}
    assert_type(client.post("/upper", columns=columns), dict[str, Any])
    assert_type(client.post("/upper", columns=columns, return_type=Doc, request_size=1), list[Doc])

    from_doc: list[dict[str, Any]] = client.post("/upper", Doc(text="a"))
    assert from_doc[0]["text"] == "A"
    table = client.post("/upper", columns=columns, return_type="arrow")
    assert_type(table, clientlet.Table)
    assert_type(client.post("/upper", columns=table), clientlet.Table)
    assert_type(client.post("/upper", table, return_type=dict), list[dict[str, Any]])

    for response in client.post("/upper", texts, stream=True):
        assert_type(response, clientlet.Response[list[dict[str, Any]]])
        assert_type(response.docs, list[dict[str, Any]])
        assert_type(response.input, range)
    for of_texts in client.post("/upper", texts, return_type=Text, stream=True, retry=clientlet.Retry()):
        assert_type(of_texts.docs, list[Text])
    for of_docs in client.post("/upper", texts, return_type=DocList[Doc], stream=True):
        assert_type(of_docs.docs, DocList[Doc])
    results = client.post("/fail", texts, stream=True, continue_on_error=True)
    assert_type(results, clientlet.Stream[clientlet.Response[Any] | clientlet.Error])
    for result in results:
        if isinstance(result, clientlet.Error):
            failed(result)

    def done(response: clientlet.Response) -> None:
        assert_type(response.request_id, str)

    def always(result: clientlet.Response | clientlet.Error) -> None:
        assert_type(result.input, range | None)

    assert_type(client.post("/upper", texts, on_done=done), None)
    assert_type(client.post("/fail", texts, on_error=failed, on_always=always), None)
    try:
        client.post("/fail", texts, keep_documents=True)
    except clientlet.ExecutorError as error:
        failed(error)


def failed(error: clientlet.Error) -> None:
    assert_type(error.attempts, list[clientlet.Attempt])
    assert_type(error.may_have_run, bool)
    assert_type(error.exception, clientlet.ExecutorException | None)


async def awaiting(client: clientlet.AsyncClient) -> None:
    async def texts() -> AsyncIterator[Text]:
        yield Text("1", "a")

    assert_type(await client.post("/upper", texts()), list[dict[str, Any]])
    assert_type(await client.post("/upper", texts(), return_type=Text), list[Text])
    assert_type(await client.post("/upper", texts(), return_type=DocList[Doc]), DocList[Doc])
    assert_type(await client.post("/upper", columns={"text": ["a"]}), dict[str, Any])
    stream = client.post("/upper", texts(), return_type=Text, stream=True)
    assert_type(stream, clientlet.AsyncStream[clientlet.Response[list[Text]]])
    async for response in stream:
        assert_type(response.docs, list[Text])
    assert_type(await client.is_flow_ready(), bool)
    assert_type(await client.status(), clientlet.GatewayStatus)


def asking(client: clientlet.Client) -> None:
    assert_type(client.ready(), bool)
    assert_type(client.status().jina, dict[str, str])
    assert_type(client.endpoints().paths, list[str])
    assert_type(client.statistics().requests.mean, float)


def streaming_documents(client: clientlet.Client) -> None:
    documents = client.stream_doc("/repeat", Text("1", "a"), return_type=Doc)
    assert_type(documents, Iterator[Doc])
    plain: Callable[[], Iterator[dict[str, Any]]] = lambda: client.stream_doc("/repeat", {"text": "a"})
    assert plain is not None


async def main(gateway: Gateway) -> None:
    client = clientlet.Client(gateway.url, attempt_timeout=30, headers={"x-tenant": "blue"})
    waiting(client)
    asking(client)
    async with clientlet.AsyncClient(gateway.grpc_url) as awaited:
        await awaiting(awaited)
    assert_type(gateway.journal, list[Arrival])
