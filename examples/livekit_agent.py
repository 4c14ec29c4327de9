"""The voice of a LiveKit agent: `AgentSession(tts=SoundStormTTS(), ...)` speaks through `soundstorm serve`.

Run as it stands, it pushes words like a language model, and writes what the agent would say to a file:

pip install '.[cpu,serve]' livekit-agents websockets
soundstorm serve build/voice &
python examples/livekit_agent.py
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import wave

from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, APIError, tts, utils
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS
from livekit.agents.voice.io import TimedString
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

RATE = 24_000  # of the server's pcm
TEXT = "Good morning. The words of this text come one by one, and are spoken while the next ones are written."


class SoundStormTTS(tts.TTS):
    """Text to speech of a SoundStorm server.

    Args:
        url: The server's address.
        **options: Fields of the message `start`, such as `voice` and `speed`.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", **options: object) -> None:
        capabilities = tts.TTSCapabilities(streaming=True, aligned_transcript=True)
        super().__init__(capabilities=capabilities, sample_rate=RATE, num_channels=1)
        self.socket_url = url.replace("http", "ws", 1) + "/v1/audio/speech/stream"
        self.options = options

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """Speak a whole text."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS) -> SoundStormStream:
        """Speak a text that is pushed as it is written."""
        return SoundStormStream(tts=self, conn_options=conn_options)


class SoundStormStream(tts.SynthesizeStream):
    """One connection. LiveKit ends it when the person interrupts the agent, which stops the server's work."""

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        output_emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=RATE,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        token = os.environ.get("SOUNDSTORM_TOKEN")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with connect(self._tts.socket_url, additional_headers=headers) as socket:
                receiving: asyncio.Task[None] | None = None
                async for word in self._input_ch:
                    if isinstance(word, self._FlushSentinel):
                        if receiving is not None:
                            await socket.send(json.dumps({"type": "finish"}))
                            await receiving
                        receiving = None
                        continue
                    if receiving is None:
                        self._mark_started()
                        output_emitter.start_segment(segment_id=utils.shortuuid())
                        start = {"type": "start", "timestamp_granularities": ["word"], **self._tts.options}
                        await socket.send(json.dumps(start))
                        receiving = asyncio.create_task(_receive(socket, output_emitter))
                    await socket.send(json.dumps({"type": "append", "text": word}))
        except (OSError, WebSocketException) as error:
            raise APIConnectionError(f"cannot speak through {self._tts.socket_url}: {error}") from error


async def _receive(socket: ClientConnection, output: tts.AudioEmitter) -> None:
    """Pass on the audio and the words of one text."""
    async for message in socket:
        if isinstance(message, bytes):
            output.push(message)
            continue
        event = json.loads(message)
        if event["type"] == "speech.words.delta":
            words = [
                TimedString(w["word"] + " ", start_time=w["start"], end_time=w["end"]) for w in event["words"]
            ]
            output.push_timed_transcript(words)
        elif event["type"] == "speech.done":
            output.end_segment()
            return
        elif event["type"] == "error":
            raise APIError(event["error"]["message"], retryable="retry_after" in event)


async def main(url: str, path: str) -> None:
    """Push a text word by word, and write the audio."""
    async with SoundStormTTS(url) as voice, voice.stream() as stream:
        for word in TEXT.split(" "):
            stream.push_text(f"{word} ")
        stream.end_input()
        frames = [audio.frame async for audio in stream]
    words = sum(len(frame.userdata.get("lk.timed_transcripts", ())) for frame in frames)
    whole = rtc.combine_audio_frames(frames)
    with wave.open(path, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(whole.data.tobytes())
    print(f"{path}: {whole.duration:.1f} s, {len(TEXT.split())} words, {words} with times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server")
    parser.add_argument("-o", "--output", default="agent.wav", help="file to write")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.output))
