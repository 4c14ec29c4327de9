"""Text as people write it, to sentences of spoken words.

The text is cleaned, laid out, tokenised and classified as a whole; sentences end, and long ones are cut,
between
tokens alone. `words.Sentence` is what comes out.
"""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from functools import lru_cache

from ..errors import TextError
from .markup import PRIVATE, MarkedText, read_inline
from .normalisation.classes.capitals import STARTERS
from .normalisation.cleaning import clean
from .normalisation.layout import lay_out
from .normalisation.source_text import SourceText
from .normalisation.tokens import IsKnown, Token, tokenise
from .words import PAUSES, Mark, Sentence, Style, Word

MAX_CHARACTERS = 200_000
SENTENCE_CHARACTERS = 250  # spelled out; some 15 to 20 seconds of speech

Rewrite = Callable[[SourceText], SourceText]
"""Puts other words into a cleaned text, such as those that a user lexicon pronounces."""
OnDropped = Callable[[str], None]
"""Takes the characters of a text that have no reading and were left out, each once."""

_LOG = logging.getLogger(__name__)
_SPACES = re.compile(r"\s+")
_NEW_SENTENCE = re.compile(r"[\s\"'(\[{*]*(\S)")
_STARTER = re.compile(rf"[\s\"'(\[{{]+(?:{STARTERS})\b")


def log_dropped(characters: str) -> None:
    """Log a warning that names the characters that are not spoken."""
    _LOG.warning("text has characters that are not spoken: %s", " ".join(characters))


def refuse_dropped(characters: str) -> None:
    """Raise `TextError` that names the characters that are not spoken."""
    raise TextError(f"text has characters that cannot be spoken: {' '.join(characters)}; leave them out")


def split_sentences(
    text: str | MarkedText,
    is_known: IsKnown | None = None,
    *,
    rewrite: Rewrite | None = None,
    on_dropped: OnDropped = log_dropped,
) -> list[Sentence]:
    """Split `text` into sentences, each of at most some `SENTENCE_CHARACTERS` when spelled out.

    Args:
        text: At most `MAX_CHARACTERS`, with the instructions of `markup`; or what SSML was read to.
        is_known: Whether the voice's dictionary has a word; tells emphasis in capitals from acronyms.
        rewrite: Edits the cleaned text before it is classified.
        on_dropped: Called once with the characters that have no reading, if there are any.

    Raises:
        TextError: The text is empty, too long, or has nothing to speak.
    """
    if isinstance(text, str):
        check_length(text)
        text = read_inline(text)
    written = text.source.text.strip()
    if not written:
        raise TextError("text is empty; give some words to speak")
    sentences = list(_read(text, is_known, rewrite, on_dropped))
    if not sentences:
        shown = PRIVATE.sub("", written).strip()[:40]
        raise TextError(f"text {shown!r} has no speakable character; give letters or digits")
    _mark_paragraphs(text.paragraphs, sentences)
    if text.marks:
        _place_marks(text.marks, sentences)
    return sentences


def _mark_paragraphs(breaks: list[int], sentences: list[Sentence]) -> None:
    """Set `ends_paragraph` of the sentences after which a paragraph ends."""
    for place, sentence in enumerate(sentences):
        following = bisect_left(breaks, sentence.end)
        if following < len(breaks):
            last = place + 1 == len(sentences)
            sentence.ends_paragraph = last or breaks[following] < sentences[place + 1].start


def _place_marks(marks: list[tuple[int, str]], sentences: list[Sentence]) -> None:
    """Give each mark to the first word that starts at or after it; behind all words, to the last one."""
    places = [(sentence, index) for sentence in sentences for index in range(len(sentence.words))]
    starts = [sentence.words[index].start for sentence, index in places]
    for place, name in marks:
        following = bisect_left(starts, place)
        behind = following == len(places)
        sentence, index = places[-1 if behind else following]
        word = sentence.words[index]
        word = word._replace(marks=(*word.marks, Mark(name, behind)))
        sentence.words = (*sentence.words[:index], word, *sentence.words[index + 1 :])


def check_length(text: str) -> None:
    """Raise `TextError` for a text of more than `MAX_CHARACTERS`."""
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"text has {len(text)} characters, the limit is {MAX_CHARACTERS}; speak it in several parts"
        )


def normalise(text: str, is_known: IsKnown | None = None) -> str:
    """Spell out a text: lower-case words and, after some of them, one character of `PAUSES`.

    `Dr. Smith paid $3.50 (twice).` -> `doctor smith paid three dollars fifty cents twice.`
    Returns an empty string where nothing is speakable.
    """
    sentences = _read(read_inline(text), is_known, None, lambda dropped: None)
    return " ".join(sentence.spelled for sentence in sentences)


def sentences_as_written(text: str) -> list[Sentence]:
    """Split a text of any language where it has marks that end sentences, and leave its words as they are."""
    found: list[Sentence] = []
    for paragraph in re.finditer(r"(?:[^\n]|\n(?![ \t\r]*\n))+", text):
        start = paragraph.start()
        ends = [m.end() for m in re.finditer(r"[.!?…]+[\"')\]}”’]*(?=\s)|[。！？]+[」』”’]*", paragraph[0])]
        for begin, end in zip([0, *ends], [*ends, len(paragraph[0])], strict=True):
            words = [
                Word(match[0], start + begin + match.start(), start + begin + match.end())
                for match in re.finditer(r"\S+", paragraph[0][begin:end])
            ]
            if any(c.isalnum() for word in words for c in word.text):
                found.append(Sentence(" ".join(word.text for word in words), words))
        if found and paragraph.end() < len(text):
            found[-1].ends_paragraph = True
    return found


def _read(
    marked: MarkedText, is_known: IsKnown | None, rewrite: Rewrite | None, on_dropped: OnDropped
) -> Iterator[Sentence]:
    source, dropped = clean(marked.source)
    if dropped:
        on_dropped(dropped)
    source = lay_out(source)
    if rewrite is not None:
        source = rewrite(source)
    style = Style()
    tokens: list[Token] = []
    start = 0
    last: Sentence | None = None  # held back, since an instruction may follow that asks for silence after it

    def words_of_instruction(match: re.Match[str]) -> str:
        return marked.instruction(match[0]).words

    def sentences_until(end: int) -> Iterator[Sentence]:
        nonlocal last, tokens
        for sentence in _sentences(source, tokens, start, end):
            if last is not None:
                yield last
            last = sentence
            if not sentence.isascii():
                last = Sentence(PRIVATE.sub(words_of_instruction, sentence), sentence.words)
            last.style = style
        tokens = []

    for token in tokenise(source.text, is_known):
        instruction = marked.instruction(token.instruction) if token.instruction else None
        if instruction and not instruction.words:
            yield from sentences_until(token.start)
            start, style = token.end, instruction.style or style
            if instruction.silence is not None and last is not None:
                last = Sentence(last, last.words, (last.silence or 0.0) + instruction.silence, last.style)
            continue
        if instruction:
            token = token._replace(words=instruction.words, phones=instruction.phones)
        tokens.append(token)
        if _ends_sentence(source.text, token):
            yield from sentences_until(token.end)
            start = token.end
    yield from sentences_until(len(source.text))
    if last is not None:
        yield last


def _ends_sentence(text: str, token: Token) -> bool:
    if token.mark == "\n":
        return True
    if token.mark and token.mark in ".!?":
        following = _NEW_SENTENCE.match(text, token.end)
        return following is not None and not following[1].islower()
    return token.ends_sentence and _STARTER.match(text, token.end) is not None


class _Group:
    """The words of a token, and where the cleaned text goes on after them and their mark.

    Attributes:
        words: The words.
        end: The place after them.
        length: Characters when spelled out; the letter w by itself counts as its long name.
    """

    __slots__ = ("end", "length", "words")

    def __init__(self, end: int) -> None:
        self.words: list[Word] = []
        self.end = end
        self.length = 0

    def pause(self, mark: str) -> None:
        """Put a mark behind the last word, unless it has one."""
        if not self.words[-1].pause:
            word = self.words[-1]
            self.words[-1] = Word(word.text, word.start, word.end, mark, word.phones)
            self.length += 1


@lru_cache(maxsize=4096)
def _words_and_pauses(spoken: str) -> tuple[tuple[str, str, int], ...]:
    """Return the words of a token, each with its pause and its length when spelled out.

    A mark by itself comes with an empty word, and belongs to the word before it.
    """
    items = [(item.rstrip(PAUSES), item) for item in spoken.split()]
    return tuple((word, item[len(word) :][:1], len(item) + (8 if word == "w" else 1)) for word, item in items)


def _sentences(source: SourceText, tokens: list[Token], start: int, end: int) -> Iterator[Sentence]:
    """Make a sentence of tokens, or several of at most so many characters, cut behind a pause if possible."""
    piece: list[_Group] = []
    length = 0
    for group in _groups(source, tokens):
        if piece and length + group.length > SENTENCE_CHARACTERS:
            cut = _cut(piece)
            yield _sentence(source, piece[:cut], start, piece[cut - 1].end)
            piece, start = piece[cut:], piece[cut - 1].end
            length = sum(rest.length for rest in piece)
        piece.append(group)
        length += group.length
    if piece:
        yield _sentence(source, piece, start, end)


def _groups(source: SourceText, tokens: list[Token]) -> Iterator[_Group]:
    """Return the words of tokens with their pauses; only a token too long for a sentence is divided."""
    last: _Group | None = None  # held back, since a mark may follow
    for token in tokens:
        if token.words:
            start, end = source.span(token.start, token.end)
            group = None
            for word, pause, length in _words_and_pauses(token.words):
                if not word:
                    if last is not None:
                        last.pause(pause)
                    continue
                if group is None or group.length >= SENTENCE_CHARACTERS - 20:
                    if last is not None:
                        yield last
                    last = group = _Group(token.end)
                group.words.append(Word(word, start, end, pause, token.phones))
                group.length += length
        if token.mark and token.mark != "\n" and last is not None:
            last.pause(token.mark)
            last.end = token.end
    if last is not None:
        yield last


def _cut(piece: list[_Group]) -> int:
    """Return how many groups come before the cut: up to the last pause in the second half, or all."""
    places = [place for place in range(len(piece), 0, -1) if piece[place - 1].words[-1].pause]
    return next((place for place in places if place > len(piece) // 3), len(piece))


def _sentence(source: SourceText, groups: list[_Group], start: int, end: int) -> Sentence:
    written = _SPACES.sub(" ", source.text[start:end]).strip()
    return Sentence(written, [word for group in groups for word in group.words])
