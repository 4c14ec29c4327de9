"""`soundstorm serve` as a process: several clients, clients that go away, its end, its messages."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.server_soak import children

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
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def ask(url: str, **options: object) -> http.client.HTTPConnection:
    """Ask for long speech, and wait for nothing."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    body = json.dumps({"input": LONG, "response_format": "wav"} | options)
    connection.request("POST", SPEECH, body, {"Content-Type": "application/json"})
    return connection


def begin(url: str, **options: object) -> http.client.HTTPResponse:
    """Ask for long speech, and read the header of the response."""
    return ask(url, **options).getresponse()


def test_requests_that_wait_are_computed_together_and_sound_as_alone(slow_bundle, start):
    texts = [f"Number {word} is here." for word in ("one", "two", "six", "ten")]
    with start(slow_bundle, "--batch-ms", 100, "--max-wait", 600) as served:
        alone = [speak(served.url, text) for text in texts]
        before = counts(served.url)
        assert before["soundstorm_step_batch_sum"] == before["soundstorm_step_batch_count"]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda text: speak(served.url, text), texts))
        after = counts(served.url)
    assert together == alone
    assert after["soundstorm_step_batch_sum"] > after["soundstorm_step_batch_count"]


def test_an_int8_with_one_scale_a_batch_is_computed_one_by_one(make_bundle, start):
    with start(make_bundle(variants=["int8"]), "--precision", "int8", "--batch-ms", 100) as served:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: speak(served.url), range(4)))
        found = counts(served.url)
    assert found["soundstorm_step_batch_sum"] == found["soundstorm_step_batch_count"] > 0


def test_a_client_that_goes_away_frees_its_work(slow_bundle, start):
    with start(slow_bundle, "--at-once", 1, "--max-wait", 600) as served:
        speaking, waiting = begin(served.url), ask(served.url)
        assert speaking.read(100)
        until(lambda: counts(served.url)["soundstorm_texts"] == 2)
        waiting.close()  # before it was answered
        until(lambda: counts(served.url)["soundstorm_texts"] == 1)
        assert counts(served.url)["soundstorm_speaking"] == 1
        speaking.close()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)
        found = counts(served.url)
    assert found["soundstorm_abandoned_total"] == 2  # and so the first was not spoken to its end


def test_a_full_queue_answers_429(slow_bundle, start):
    with start(slow_bundle, "--at-once", 1, "--queue", 0) as served:
        first = begin(served.url)
        refused = begin(served.url)
        assert refused.status == 429
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        assert json.load(refused)["error"]["code"] == "rate_limit_exceeded"
        first.close()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)
        assert begin(served.url).status == 200


@contextmanager
def cut_off(start, bundle, **options):
    """A server, and long speech of it that has begun and that it will cut off at its time limit."""
    for seconds in (3, 12, 48):  # on a busy machine the first audio may take longer
        with start(bundle, "--time-limit", seconds) as served:
            speaking = begin(served.url, **options)
            if speaking.status == 200:
                yield served, speaking
                return
    pytest.fail("no audio was made in 48 s")


def test_a_text_has_so_much_time(slow_bundle, start):
    with cut_off(start, slow_bundle) as (served, speaking):
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            speaking.read()
        until(lambda: counts(served.url)["soundstorm_texts"] == 0)
        found = counts(served.url)
    assert found['soundstorm_timeouts_total{kind="speech"}'] == 1
    assert found["soundstorm_abandoned_total"] == 0
    assert "Traceback" not in "".join(served.said)


def test_server_sent_events_end_with_the_error_at_the_time_limit(slow_bundle, start):
    with cut_off(start, slow_bundle, stream_format="sse") as (_, speaking):
        events = [json.loads(line[6:]) for line in speaking.read().decode().split("\n\n") if line]
    assert events[0]["type"] == "speech.audio.delta"
    assert events[-1]["type"] == "error"
    assert events[-1]["error"]["code"] == "timeout"


def test_a_stop_finishes_what_is_spoken(bundle, start):
    with start(bundle) as served:
        answer = begin(served.url)
        assert answer.read(100)
        served.process.terminate()
        rest = answer.read()  # raises where the end is missing
        assert len(rest) > 10_000
        assert served.process.wait(120) == 0


def test_several_processes_share_the_port_and_the_counts(bundle, start):
    with start(bundle, "--workers", 2) as served:
        assert "2 processes of" in "".join(served.said)
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: speak(served.url), range(8)))) == 1
        asked = 'soundstorm_requests_total{path="/v1/audio/speech",status="200"}'
        assert counts(served.url)[asked] == 8
        answer = begin(served.url)
        assert answer.read(100)
        for process in (*_workers(served), served.process.pid):  # as systemd and docker signal all of them
            os.kill(process, signal.SIGTERM)
        assert len(answer.read()) > 10_000  # raises where the end is missing
        assert served.process.wait(120) == 0


@pytest.mark.parametrize(("variables", "warned"), [({}, True), ({"SOUNDSTORM_TOKEN": "secret"}, False)])
def test_an_open_address_without_token_is_warned_of(bundle, start, variables, warned):
    with start(bundle, "--host", "0.0.0.0", "--insecure", **variables) as served:
        assert (
            any("everyone who reaches 0.0.0.0 can use this voice" in line for line in served.said) == warned
        )
        assert "secret" not in "".join(served.said)


def test_an_open_address_without_token_is_refused(bundle, run_command):
    done = run_command("soundstorm", "serve", bundle, "--port", 0, "--host", "0.0.0.0")
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: everyone who reaches 0\.0\.0\.0 could use this voice.*--insecure.*\n", done.stderr
    )


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
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(120) == 130


def _workers(served) -> list[int]:
    """Return the processes that serve; one that has just ended is none."""
    return children(served.process.pid)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_is_killed_is_replaced(bundle, start):
    with start(bundle, "--workers", 2) as served:
        before = _workers(served)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(_workers(served)) == 2 and before[0] not in _workers(served))
        until(lambda: counts(served.url)["soundstorm_worker_restarts_total"] == 1)
        assert len(speak(served.url)) > 44
        assert "a worker process has ended with exit code -9; another starts in 0.5 s" in "".join(served.said)
        assert served.stop() == 0


def test_the_service_ends_when_its_workers_keep_ending(bundle, start, environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import soundstorm_runtime.server.processes as p; p.MOST_FAILURES = 1\n"
    )
    paths = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])

    def has_ended(served) -> bool:
        for worker in _workers(served)[:1]:  # the oldest, so that each of them once, and then a replacement
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        return served.process.poll() is not None

    with start(bundle, "--workers", 2, PYTHONPATH=paths) as served:
        until(lambda: has_ended(served))
        assert served.process.returncode == 1
        until(lambda: any("error: worker processes end by themselves" in line for line in served.said))


def test_workers_end_with_their_parent_and_leave_nothing(bundle, start, tmp_path):
    with start(bundle, "--workers", 2, TMPDIR=str(tmp_path)) as served:
        workers = _workers(served)
        assert len(list(tmp_path.glob("soundstorm-*"))) == 1
        served.process.kill()
        served.process.wait()
        until(lambda: not any(map(_is_running, workers)))
    assert list(tmp_path.glob("soundstorm-*")) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_at_once(slow_bundle, start, workers):
    with start(slow_bundle, "--workers", workers) as served:
        speaking = begin(served.url)
        assert speaking.read(100)
        served.process.terminate()
        until(lambda: any("stopping" in line for line in served.said))
        assert served.process.poll() is None
        served.process.terminate()
        served.process.wait(20)


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_loads_voice_and_token_again(make_bundle, start, tmp_path, workers):
    folder, token = make_bundle(voices={"slt": 6}), tmp_path / "token"
    token.write_text("first")

    def voices(url: str, bearer: str) -> list[str]:
        request = urllib.request.Request(f"{url}/voices", headers={"Authorization": f"Bearer {bearer}"})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["voices"]
        except urllib.error.HTTPError as error:
            return [str(error.code)]

    with start(folder, "--token-file", token, "--workers", workers) as served:
        assert voices(served.url, "first") == ["default", "slt"]
        shutil.copytree(make_bundle("autoregressive", voices={"rms": 6}), tmp_path / "other")
        os.rename(folder, tmp_path / "before")
        os.rename(tmp_path / "other", folder)
        token.write_text("second")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: sum("were loaded again" in line for line in served.said) == workers)
        assert {tuple(voices(served.url, "second")) for _ in range(4)} == {("default", "rms")}
        assert voices(served.url, "first") == ["401"]
        token.write_text("not valid")
        served.process.send_signal(signal.SIGHUP)
        until(lambda: sum("not reloaded: " in line for line in served.said) == workers)
        assert voices(served.url, "second") == ["default", "rms"]
        assert served.stop() == 0


def test_it_serves_when_it_says_so(bundle, start):
    """And not before: a connection is refused while the voice is loaded."""
    for workers in (1, 2):
        with start(bundle, "--workers", workers) as served:
            assert json.loads(get(f"{served.url}/health/ready"))["status"] == "ok"


def test_logs_are_objects_with_the_id_of_the_request(bundle, start):
    with start(bundle, "--log-format", "json") as served:
        request = urllib.request.Request(f"{served.url}/voices", headers={"X-Request-ID": "mine-1"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.headers["X-Request-ID"] == "mine-1"
        until(lambda: any("mine-1" in line for line in served.said))
        (entry,) = [json.loads(line) for line in served.said if "mine-1" in line]
    assert entry["request_id"] == "mine-1"
    assert (entry["method"], entry["path"], entry["status"], entry["level"]) == (
        "GET",
        "/voices",
        200,
        "info",
    )


def test_the_log_level_hides_requests(bundle, start):
    with start(bundle, "--log-level", "info") as served:
        get(f"{served.url}/voices")
        get(f"{served.url}/health")
        until(lambda: any("GET '/voices' 200" in line for line in served.said))
        assert not any("/health" in line for line in served.said)


def _connect(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=20)


def test_idle_connections_do_not_lock_others_out(bundle, start, environment, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import soundstorm_runtime.server.settings as s; s.MOST_CONNECTIONS, s.BODY_SECONDS = 20, 600.0\n"
    )
    paths = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    with start(bundle, PYTHONPATH=paths) as served:
        speaking = begin(served.url)  # is busy, and so is not closed
        idle = [_connect(served.url) for _ in range(60)]
        found = counts(served.url)
        assert found["soundstorm_dropped_connections_total"] >= 40
        assert idle[0].recv(1) == b""  # the oldest was closed
        assert len(speaking.read()) > 10_000
        until(lambda: any("more than 20 connections" in line for line in served.said))
        assert sum("more than 20 connections" in line for line in served.said) <= 2  # one in ten seconds
        for connection in idle:
            connection.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no limit of descriptors")
def test_connections_stay_below_the_limit_of_descriptors():
    script = (
        "import resource; from soundstorm_runtime.server.connections import connection_limit\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))\n"
        "assert connection_limit(1000) == 312, connection_limit(1000)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


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
