"""`soundstorm serve` as a process: several clients, clients that go away, its end, its messages."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import SENTENCE, SPEECH

LONG = "The rain in spring falls on the old stone wall. " * 60


def speak(url: str, text: str = SENTENCE, **options: object) -> bytes:
    body = json.dumps({"input": text, "response_format": "wav"} | options).encode()
    request = urllib.request.Request(url + SPEECH, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.read().decode()


def counts(url: str) -> dict[str, float]:
    lines = (line for line in get(f"{url}/metrics").splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def until(condition) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def ask(url: str) -> http.client.HTTPConnection:
    """Ask for long speech, and wait for nothing."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    body = json.dumps({"input": LONG, "response_format": "wav"})
    connection.request("POST", SPEECH, body, {"Content-Type": "application/json"})
    return connection


def begin(url: str) -> http.client.HTTPResponse:
    """Ask for long speech, and read no more than that it has begun."""
    return ask(url).getresponse()


def test_requests_that_wait_are_computed_together_and_sound_as_alone(bundle, start):
    texts = [f"Number {word} is here." for word in ("one", "two", "six", "ten")]
    with start(bundle, "--batch-ms", 100) as served:
        alone = [speak(served.url, text) for text in texts]
        before = counts(served.url)
        assert before["soundstorm_step_batch_sum"] == before["soundstorm_step_batch_count"]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda text: speak(served.url, text), texts))
        after = counts(served.url)
    assert together == alone
    assert after["soundstorm_step_batch_sum"] > after["soundstorm_step_batch_count"]


def test_int8_is_computed_one_by_one(make_bundle, start):
    with start(make_bundle(variants=["int8"]), "--precision", "int8", "--batch-ms", 100) as served:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: speak(served.url), range(4)))
        found = counts(served.url)
    assert found["soundstorm_step_batch_sum"] == found["soundstorm_step_batch_count"] > 0


def test_a_client_that_goes_away_frees_its_work(slow_bundle, start):
    with start(slow_bundle, "--at-once", 1) as served:
        speaking, waiting = begin(served.url), ask(served.url)
        assert speaking.read(100)
        until(lambda: counts(served.url)["soundstorm_texts"] == 2)
        waiting.close()  # before it was answered
        until(lambda: counts(served.url)["soundstorm_texts"] == 1)
        assert counts(served.url)["soundstorm_speaking"] == 1
        speaking.close()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)
        found = counts(served.url)
    assert found["soundstorm_abandoned_total"] == 2
    assert found["soundstorm_audio_seconds_total"] < 20  # of minutes


def test_a_full_queue_answers_429(slow_bundle, start):
    with start(slow_bundle, "--at-once", 1, "--queue", 0) as served:
        first = begin(served.url)
        refused = begin(served.url)
        assert refused.status == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert json.load(refused)["error"]["code"] == "rate_limit_exceeded"
        first.close()
        until(lambda: json.loads(get(f"{served.url}/health"))["working"] == 0)
        assert begin(served.url).status == 200


def test_a_text_has_so_much_time(slow_bundle, start):
    with start(slow_bundle, "--time-limit", 3) as served:
        speaking = begin(served.url)
        assert speaking.status == 200
        with pytest.raises(http.client.IncompleteRead):
            speaking.read()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)


def test_a_stop_finishes_what_is_spoken(bundle, start):
    with start(bundle) as served:
        answer = begin(served.url)
        assert answer.read(100)
        served.process.terminate()
        rest = answer.read()  # raises where the end is missing
        assert len(rest) > 10_000
        assert served.process.wait(30) == 0


def test_several_processes_share_the_port_and_the_counts(bundle, start):
    with start(bundle, "--workers", 2) as served:
        assert "2 processes of" in "".join(served.said)
        until(lambda: _answers(served.url))
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: speak(served.url), range(8)))) == 1
        asked = 'soundstorm_requests_total{path="/v1/audio/speech",status="200"}'
        assert counts(served.url)[asked] == 8
        answer = begin(served.url)
        assert answer.read(100)
        served.process.terminate()
        assert len(answer.read()) > 10_000
        assert served.process.wait(30) == 0


def _answers(url: str) -> bool:
    try:
        return bool(get(f"{url}/health"))
    except OSError:
        return False


@pytest.mark.parametrize(("variables", "warned"), [({}, True), ({"SOUNDSTORM_TOKEN": "secret"}, False)])
def test_an_open_address_without_token_is_warned_of(bundle, start, variables, warned):
    with start(bundle, "--host", "0.0.0.0", **variables) as served:
        assert any("whoever reaches 0.0.0.0 can use this voice" in line for line in served.said) == warned
        assert "secret" not in "".join(served.said)


def test_loopback_is_usual(served):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served.url)
    assert not any("warning" in line for line in served.said)


def test_a_port_that_is_taken_is_told(bundle, run_command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run_command("soundstorm", "serve", bundle, "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {port} (")
    assert done.stderr.endswith("); take another --host or --port (0 finds a free one)\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bundle_that_is_none_is_told_in_one_line(tmp_path, run_command, workers):
    done = run_command("soundstorm", "serve", tmp_path, "--port", 0, "--workers", workers)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_no_process_can_start_with_is_told_in_one_line(bundle, tmp_path, run_command, workers):
    none = tmp_path / "none.toml"
    done = run_command("soundstorm", "serve", bundle, "--port", 0, "--workers", workers, "--lexicon", none)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [str(none) in line for line in done.stderr.splitlines() if line.startswith("error: ")] == [True]


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_with_130(bundle, start, workers):
    with start(bundle, "--workers", workers) as served:
        until(lambda: _answers(served.url))
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(30) == 130


def test_a_process_that_dies_is_an_error(bundle, start):
    with start(bundle, "--workers", 2) as served:
        until(lambda: _answers(served.url))
        children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split()
        workers = [
            int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        ]
        os.kill(workers[0], signal.SIGKILL)
        assert served.process.wait(30) == 1


def test_without_the_extra_the_error_names_it(tmp_path, environment):
    code = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv[1:] = ['serve', 'voice']; "
        "from soundstorm_runtime.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: a package is missing or broken \(.*\); pip install 'soundstorm-edge\[serve\]'\n", done.stderr
    )
