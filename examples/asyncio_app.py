"""Speak inside an asyncio application: two callers at once, and a third who hangs up.

python examples/asyncio_app.py build/voice
"""

from __future__ import annotations

import argparse
import asyncio

from soundstorm_runtime import Voice

REPLIES = {
    "ada": "Your table is ready. Please follow me.",
    "ben": "The museum opens at nine, and closes at six.",
    "cyd": "This is a long answer that nobody will hear to its end, because the caller hangs up early.",
}


async def answer(voice: Voice, caller: str) -> float:
    """Speak a reply chunk by chunk; return the seconds that were made."""
    samples = 0
    # The work runs in a thread, one step at a time: the event loop stays free for the other callers.
    async for chunk in voice.astream(REPLIES[caller], seed=0):
        samples += len(chunk)  # here a program would send the chunk to the caller
    return samples / voice.sample_rate


async def serve(voice: Voice) -> None:
    """Answer all callers; cancelling a task stops its work within one step."""
    calls = {caller: asyncio.create_task(answer(voice, caller)) for caller in REPLIES}
    await asyncio.sleep(0)  # all begin
    calls["cyd"].cancel()
    results = await asyncio.gather(*calls.values(), return_exceptions=True)
    for caller, result in zip(calls, results, strict=True):
        if isinstance(result, asyncio.CancelledError):
            print(f"{caller}: hung up")
        elif isinstance(result, BaseException):
            raise result
        else:
            print(f"{caller}: {result:.2f} s")


def main() -> None:
    """Load the voice once, before any caller."""
    parser = argparse.ArgumentParser(description="Speak inside an asyncio application.")
    parser.add_argument("bundle", nargs="?", default="build/voice")
    arguments = parser.parse_args()

    voice = Voice.load(arguments.bundle)
    voice.warm_up()
    asyncio.run(serve(voice))


if __name__ == "__main__":
    main()
