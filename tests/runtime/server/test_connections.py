"""Which connections are closed where there are too many, and what is answered while most are busy."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from starlette.testclient import WebSocketDenialResponse

from soundstorm_runtime.server.connections import Connections
from soundstorm_runtime.server.routes.speech_socket import PATH


@dataclass(eq=False)
class Transport:
    """A connection of TCP, as far as `Connections` uses it."""

    port: int
    is_closed: bool = False

    @property
    def client(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def get_extra_info(self, name: str) -> tuple[str, int]:
        assert name == "peername"
        return self.client

    def is_closing(self) -> bool:
        return self.is_closed

    def abort(self) -> None:
        self.is_closed = True


def test_idle_connections_are_closed_first_and_then_those_whose_bodies_have_not_arrived():
    async def test():
        drops: list[int] = []
        connections = Connections(3, 60.0, lambda: drops.append(1))
        made = [Transport(port) for port in range(6)]
        answered, receiving, idle, *new = made
        with ExitStack() as requests:
            for transport in (answered, receiving, idle):
                connections.opened(transport)
            for transport in (answered, receiving):
                requests.enter_context(connections.busy(transport.client))
            requests.enter_context(connections.receiving(receiving.client))
            closed = []
            for transport in new:
                connections.opened(transport)
                requests.enter_context(connections.busy(transport.client))
                closed.append([made.index(one) for one in made if one.is_closed])
            assert closed == [[2], [1, 2], [1, 2, 5]]  # at last all are busy: the new one
            assert len(connections) == 3
            assert len(drops) == 3

    asyncio.run(test())


def test_a_tenth_of_the_connections_is_left_for_the_health():
    async def test():
        connections = Connections(20, 60.0, lambda: None)
        with ExitStack() as requests:
            for port in range(19):
                assert not connections.are_busy
                connections.opened(made := Transport(port))
                requests.enter_context(connections.busy(made.client))
            assert connections.are_busy
            with connections.receiving(made.client):
                assert not connections.are_busy
        assert not connections.are_busy

    asyncio.run(test())


def test_the_health_is_answered_while_most_connections_are_busy(client, monkeypatch):
    asked = client()
    monkeypatch.setattr(Connections, "are_busy", True)
    for path in ("/health", "/health/live", "/health/ready"):
        assert asked.get(path).status_code == 200
    refused = asked.get("/voices")
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    with pytest.raises(WebSocketDenialResponse) as denied, asked.websocket_connect(f"ws://localhost{PATH}"):
        pass
    assert denied.value.status_code == 429
