"""The fixture `clientlet_gateway`, which pytest finds by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clientlet.testing import Gateway


@pytest.fixture
def clientlet_gateway() -> Iterator[Gateway]:
    """A gateway with the sample executor."""
    with Gateway() as gateway:
        yield gateway
