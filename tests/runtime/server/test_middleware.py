"""Who is let in, and with how much."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket

import pytest

from soundstorm_runtime.errors import OptionError
from soundstorm_runtime.server import middleware as guard
from soundstorm_runtime.server.settings import MOST_BODY, Settings, read_token

from .conftest import SENTENCE, SPEECH
from .test_processes import LONG, until


@pytest.mark.parametrize("path", ["/v1/models", "/voices", "/metrics", SPEECH])
def test_the_token_is_asked_for(client, path):
    asked = client(token="secret")
    method = "POST" if path == SPEECH else "GET"
    body = {"json": {"input": SENTENCE}} if method == "POST" else {}
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic secret"}):
        answer = asked.request(method, path, headers=header, **body)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["error"]["code"] == "invalid_api_key"
    answer = asked.request(method, path, headers={"Authorization": "Bearer secret"}, **body)
    assert answer.status_code == 200


def test_the_page_and_the_health_need_no_token(client):
    asked = client(token="secret")
    assert [asked.get(path).status_code for path in ("/", "/health", "/docs", "/openapi.json")] == [200] * 4


def test_the_token_comes_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDSTORM_TOKEN", raising=False)
    assert read_token(None) is None
    monkeypatch.setenv("SOUNDSTORM_TOKEN", "from-outside")
    assert read_token(None) == "from-outside"
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert read_token(file) == "from-file"
    file.write_text("\n")
    with pytest.raises(OptionError, match=r"token holds a token of 0 characters, expected letters"):
        read_token(file)


def test_the_token_is_not_shown():
    assert "secret" not in repr(Settings(bundle=None, token="secret"))


@pytest.mark.parametrize("length_told", [True, False])
def test_a_large_body_is_refused(client, length_told):
    body = b'{"input": "' + b"a" * MOST_BODY + b'"}'
    content = body if length_told else iter([body[:1000], body[1000:]])
    answer = client().post(SPEECH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.json()["error"]["message"] == f"the body has more than {MOST_BODY} bytes; send less text"


def test_a_body_of_another_type_is_refused(client):
    """What a page elsewhere may send without asking first must not make the voice work."""
    answer = client().post(SPEECH, content=b'{"input": "Hello."}', headers={"Content-Type": "text/plain"})
    assert answer.status_code == 415


def test_a_name_that_points_here_is_refused(client):
    refused = client().get("/voices", headers={"Host": "evil.example"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "host_not_allowed"
    assert "content-security-policy" in refused.headers

    def status(named, path="/voices", **settings):
        return client(**settings).get(path, headers={"Host": named}).status_code

    assert status("127.0.0.2:8000", host="127.0.0.2") == 200
    assert status("[::1]:8000") == 200
    assert status("voice.example", "/", token="secret") == 200
    assert status("voice.example", host="0.0.0.0") == 200
    assert status("10.0.0.7:8000", "/health/ready") == 200  # a health check gives the address
    names = {"allowed_hosts": ("voice.example", "*.voice.test"), "host": "0.0.0.0"}
    found = [
        status(host, **names) for host in ("Voice.example:80", "a.voice.test", "voice.test", "evil.example")
    ]
    assert found == [200, 200, 400, 400]


def test_head_answers_as_get_without_the_body(client, served):
    asked = client()
    for path in ("/", "/health", "/voices", "/v1/models", "/metrics"):
        head, full = asked.head(path), asked.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-type"] == full.headers["content-type"]
    answer = _ask(served, "HEAD /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n")


def test_http_1_0_needs_no_host(served):
    assert _ask(served, "GET /health HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("given", "taken"), [("abc-1.2_3", True), ("a b", False), ("x" * 129, False), ("", False)]
)
def test_a_request_has_an_id(client, given, taken):
    answer = client().get("/voices", headers={"X-Request-ID": given})
    found = answer.headers["x-request-id"]
    assert (found == given) == taken
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", found)


def test_pages_elsewhere_are_let_in_only_when_asked_for(client):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in client().options(SPEECH, headers=asked).headers
    allowed = client(origins=("https://example.org",)).options(SPEECH, headers=asked)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    other = client(origins=("https://example.com",)).options(SPEECH, headers=asked)
    assert "access-control-allow-origin" not in other.headers
    assert (other.status_code, other.json()["error"]["code"]) == (400, "origin_not_allowed")


@pytest.mark.parametrize(
    "path", ["/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"]
)
def test_no_file_outside_is_sent(served, path):
    answer = _ask(served, f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 404")


@pytest.fixture
def impatient(bundle, start, environment, tmp_path):
    """A server that waits for clients less than a second."""
    (tmp_path / "sitecustomize.py").write_text(
        "import soundstorm_runtime.server.settings as s; s.BODY_SECONDS = s.STALL_SECONDS = 0.8\n"
    )
    paths = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    with start(bundle, PYTHONPATH=paths) as served:
        yield served


def test_what_does_not_arrive_is_not_waited_for(impatient):
    assert _ask(impatient, "GET / HTTP/1.1\r\nHost: localh") == b""
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    late = _ask(impatient, f"{head}Content-Length: 30\r\nConnection: close\r\n\r\n{{")
    assert late.startswith(b"HTTP/1.1 408")


def test_a_client_that_does_not_read_is_given_up(impatient):
    body = json.dumps({"input": LONG, "response_format": "pcm"})
    head = f"POST {SPEECH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with _connect(impatient) as connection:
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        until(lambda: any("the client did not read" in line for line in impatient.said))
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            _read(connection)
    assert "Traceback" not in "".join(impatient.said)


def _read(connection: socket.socket) -> bytes:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.read()


def test_limits_are_small_enough():
    assert guard.MOST_BODY >= 4096 * 12  # four bytes of UTF-8, escaped as two times \uXXXX
    assert guard.BODY_SECONDS <= 30


def _connect(served) -> socket.socket:
    host, _, port = served.url.removeprefix("http://").rpartition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect((host, int(port)))
    return connection


def _ask(served, text: str) -> bytes:
    with _connect(served) as connection:
        connection.sendall(text.encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer
