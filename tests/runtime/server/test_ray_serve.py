"""The application as a deployment of Ray Serve, on a real cluster of one node."""

from __future__ import annotations

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("ray.serve", reason="the extra ray is absent: pip install 'soundstorm-edge[ray]'")

import ray
from pydantic import ValidationError
from ray import serve

from soundstorm_runtime.server.ray_serve import Arguments, serve_app

pytestmark = pytest.mark.cluster


@pytest.fixture
def port():
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": 18_653})
    yield 18_653
    serve.shutdown()
    ray.shutdown()


def ask(port: int, text: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    body = json.dumps({"input": text, "response_format": "wav"})
    connection.request("POST", "/v1/audio/speech", body, {"Content-Type": "application/json"})
    return connection.getresponse()


def replicas() -> int:
    (deployment,) = serve.status().applications["default"].deployments.values()
    return deployment.replica_states.get("RUNNING", 0)


def test_replicas_speak_and_their_number_follows_the_queue(make_bundle, port):
    bundle = make_bundle()
    serve.run(serve_app(Arguments(bundle=bundle, target=1, max_replicas=2)))
    assert replicas() == 1
    answer = ask(port, "Good morning.")
    assert (answer.status, answer.read()[:4]) == (200, b"RIFF")
    assert json.load(ask(port, ""))["error"]["param"] == "input"

    ends = time.monotonic() + 120
    with ThreadPoolExecutor(8) as pool:
        while replicas() < 2:
            assert time.monotonic() < ends
            answers = pool.map(lambda _: ask(port, "The rain falls. " * 40).read()[:4], range(8))
            assert set(answers) == {b"RIFF"}


def test_arguments_are_checked():
    with pytest.raises(ValidationError, match="max_replicas"):
        Arguments(bundle="voice", max_replicas=0)
    with pytest.raises(ValidationError, match="replica"):
        Arguments(bundle="voice", replica=3)
