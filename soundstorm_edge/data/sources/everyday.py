"""Everyday sentences, composed: what assistants, navigation and people at home say, and `fortunes` does not.

Numbers, times, money, names, lists, questions and very short replies, each from templates whose slots are
filled at random. No two are equal.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_SLOT = re.compile(r"\{(\w+)\}")
_LONGEST_SEARCH = 50  # draws in a row that give nothing new

_LISTS = {
    "person": "Alice Ben Carla David Emma Frank Grace Henry Isabel Jack Karen Laura Michael Nina Oliver "
    "Paula Robert Sarah Thomas Victoria William Anna Charles Diana George Helen James Maria Peter Susan",
    "family": "Adams Baker Carter Davis Evans Fisher Garcia Harris Johnson Kelly Lopez Martin Nelson Parker "
    "Roberts Smith Taylor Walker Young Brown Clark Miller Wilson Anderson",
    "city": "Boston Chicago Denver London Paris Berlin Madrid Rome Tokyo Sydney Toronto Seattle Dallas "
    "Atlanta Dublin Vienna Moscow Cairo Lisbon Phoenix",
    "street": "Main Oak Maple Park River Church Mill Spring Lake Hill Bridge King Queen Market",
    "weekday": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "day": "Monday Wednesday Friday Sunday today tomorrow",
    "month": "January February March April May June July August September October November December",
    "weather": "sunny cloudy windy rainy foggy cold warm humid stormy mild freezing dry",
    "food": "bread butter cheese apples oranges coffee tea rice soup salad chicken fish tomatoes potatoes "
    "onions milk eggs honey pasta beans carrots chocolate",
    "thing": "book phone key lamp table window door jacket camera ticket letter package picture chair garden "
    "kitchen computer message bicycle umbrella suitcase piano",
    "adjective": "new old small large quiet bright heavy simple strange beautiful expensive broken empty "
    "careful familiar ordinary useful comfortable dangerous",
    "verb": "open close find bring check clean watch measure borrow return finish repair describe change",
    "device": "lights heating television radio alarm fan oven printer speaker music",
    "place": "kitchen bedroom office garage bathroom hallway basement library station hospital museum",
    "turn": "left right",
    "color": "red blue green yellow black white gray brown purple orange",
    "animal": "dog cat horse bird rabbit turtle mouse sheep goat duck",
    "feeling": "happy tired hungry angry nervous proud sorry surprised excited worried",
    "job": "doctor teacher driver lawyer farmer nurse engineer painter baker pilot writer",
}  # fmt: skip
_TEMPLATES = """
Yes. | No. | Okay. | Sure. | Thanks. | Hello. | Goodbye. | Maybe. | Really? | Why not? | Of course!
Not yet. | Good morning, {person}. | Good night, {person}! | Nice to meet you, {person}.
See you on {weekday}. | Hi {person}, how are you? | I'm {feeling}, thank you. | Are you {feeling}?
Why are you so {feeling}, {person}? | What time is it? | It is {clock}. | It's {clock} in {city}.
Wake me up at {clock}, please. | The meeting starts at {clock} on {weekday}.
Your appointment with {title} {family} is on {month} {ordinal}.
The train to {city} leaves at {clock} from platform {small}.
Flight {number} to {city} is delayed by {tens} minutes.
It will be {weather} in {city} {near}, with a high of {degrees} degrees.
Is it going to be {weather} {near}?
Expect {weather} weather on {weekday}, and {weather} on {weekday}.
The temperature in {city} is {degrees} degrees. | Turn {turn} onto {street} Street.
In {hundreds} feet, turn {turn}. | Keep {turn} at the fork, then turn {turn}.
Continue on {street} Road for {small} miles. | You have arrived at your destination.
Make a U-turn when possible. | Turn on the {device} in the {place}. | Turn the {device} off, please.
Set the {device} to {tens} percent. | Could you {verb} the {thing}? | Can you {verb} it by {day}?
Did {person} {verb} the {adjective} {thing}? | Who left the {thing} in the {place}?
Where is my {adjective} {thing}? | How many {food} do we need?
We need {food}, {food}, {food} and {food}. | I bought {food}, {food}, and a {color} {thing}.
Would you like {food} or {food}? | I'd like the {food} with {food}, please.
Is there any {food} left? | That will be {money}. | The {thing} costs {money}, not {money}.
You owe me {money}, {person}. | My phone number is {digits}. | The code is {digits}.
Her address is {number} {street} Street, {city}. | There are {number} people in line.
Only {percent} percent of them agreed. | {number} plus {small} is how much?
In {year}, {title} {family} moved to {city}. | She was born on {month} {ordinal}, {year}.
{person} {family} is a {job} from {city}. | My {animal} is named {person}.
{person} and {person} are cousins. | {person}, {person} and {person} went to the {place}.
Tell {person} that the {thing} is in the {place}.
If you {verb} the {thing}, I will {verb} the {adjective} one. | I can't {verb} it until {weekday}.
"I {verb} it every {weekday}," said {person}. | "Where are you?" asked {person}.
"Stop!" shouted the {job}. | The {animal} jumped over the {color} {thing}.
What a {adjective} {thing}! | How {adjective} of you!
Do you want to {verb} it now, or should we wait until {clock}? | You have {small} new messages.
I don't know whether the {adjective} {thing} is in the {place} or in the {place}.
First, {verb} the {thing}; second, {verb} the {thing}; third, call {title} {family}.
It was a {adjective}, {adjective} {thing}. | This is the {ordinal} time that you {verb} my {thing}.
"""


def everyday_sentences(count: int, seed: int = 0) -> list[str]:
    """Return up to `count` different sentences, the same ones for the same seed."""
    rng = random.Random(seed)
    templates = [part.strip() for line in _TEMPLATES.strip().splitlines() for part in line.split("|")]
    found: dict[str, None] = {}
    missed = 0
    while len(found) < count and missed < _LONGEST_SEARCH:
        sentence = _fill(rng.choice(templates), rng)
        missed = missed + 1 if sentence in found else 0
        found[sentence] = None
    return list(found)


def _fill(template: str, rng: random.Random) -> str:
    """Fill each slot of a template; no word twice."""
    used: set[str] = set()

    def draw(match: re.Match[str]) -> str:
        slot = match[1]
        words = [word for word in _LISTS.get(slot, "").split() if word not in used]
        chosen = rng.choice(words) if words else _NUMBERS[slot](rng)
        used.add(chosen)
        return chosen

    sentence = _SLOT.sub(draw, template)
    return sentence[0].upper() + sentence[1:]


def _clock(rng: random.Random) -> str:
    hour, minute = rng.randint(1, 12), rng.choice([0, 0, 5, 10, 15, 20, 30, 40, 45, 50])
    return f"{hour}:{minute:02d} {rng.choice(['am', 'pm'])}" if minute else f"{hour} o'clock"


def _money(rng: random.Random) -> str:
    return rng.choice([f"${rng.randint(1, 99)}.{rng.randint(5, 99):02d}", f"${rng.randint(2, 900)}"])


def _ordinal(rng: random.Random) -> str:
    day = rng.randint(1, 28)
    return f"{day}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10 if day // 10 != 1 else 0, 'th') }"


_NUMBERS: dict[str, Callable[[random.Random], str]] = {
    "clock": _clock,
    "money": _money,
    "ordinal": _ordinal,
    "small": lambda rng: str(rng.randint(2, 12)),
    "tens": lambda rng: str(rng.randrange(10, 100, 10)),
    "hundreds": lambda rng: str(rng.randrange(100, 1000, 100)),
    "degrees": lambda rng: str(rng.randint(2, 98)),
    "percent": lambda rng: str(rng.randint(1, 99)),
    "number": lambda rng: str(
        rng.choice([rng.randint(13, 99), rng.randint(100, 999), rng.randint(1000, 9999)])
    ),
    "year": lambda rng: str(rng.randint(1780, 2030)),
    "digits": lambda rng: " ".join(str(rng.randint(0, 9)) for _ in range(rng.choice([4, 6, 7]))),
    "title": lambda rng: rng.choice(["Mr.", "Mrs.", "Dr.", "Professor"]),
    "near": lambda rng: rng.choice(["today", "tonight", "tomorrow", "this weekend", "next week"]),
}
