"""Ask the HTTP server for speech, through the official OpenAI client.

soundstorm serve build/voice &
python examples/server_client.py --url http://127.0.0.1:8000/v1 -o served.wav
"""

from __future__ import annotations

import argparse
import os

from openai import OpenAI


def main() -> None:
    """Write the answer to a file while it arrives."""
    parser = argparse.ArgumentParser(description="Ask the HTTP server for speech.")
    parser.add_argument("--url", default="http://127.0.0.1:8000/v1")
    parser.add_argument("--text", default="Good morning from the server.")
    parser.add_argument("--voice", default="alloy", help="alloy and OpenAI's other names: the default voice")
    parser.add_argument("-o", "--output", default="served.wav")
    arguments = parser.parse_args()

    # The client insists on a key; the server asks for one only if it was started with a token.
    client = OpenAI(base_url=arguments.url, api_key=os.environ.get("SOUNDSTORM_TOKEN", "none"))
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice=arguments.voice, input=arguments.text, response_format="wav"
    ) as speech:
        speech.stream_to_file(arguments.output)
    print(f"{arguments.output}: {os.path.getsize(arguments.output)} bytes")


if __name__ == "__main__":
    main()
