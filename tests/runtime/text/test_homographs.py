"""Words that are written alike and spoken differently, in sentences."""

import pytest

from soundstorm_edge.data.shipped_lexicon import shipped_lexicon
from soundstorm_runtime.text.homographs import SENSES
from soundstorm_runtime.text.lexicon import Lexicon


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return shipped_lexicon("cmu")


def _spoken(lexicon: Lexicon, text: str, word: str) -> str:
    """Return the phones of a word, where it stands last."""
    (sentence,) = lexicon.sentences(text)
    heard = zip(sentence.words, lexicon.spoken(sentence.words), strict=True)
    return next(" ".join(phones) for spoken, (phones, _) in reversed(list(heard)) if spoken.text == word)


@pytest.mark.parametrize(
    ("word", "phones", "texts"),
    [
        ("read", "r iy1 d", "I will read it.|Did you read it?|Please read it.|Let him read it."),
        ("read", "r eh1 d", "I have read it.|He had never read it.|Have you read it?|It was read aloud."),
        ("read", "r eh1 d", "I read a book yesterday.|She read it to me.|We read it last night."),
        ("use", "y uw1 z", "Use your head.|People use computers.|Use caution.|Let's use it.|Do not use it."),
        ("use", "y uw1 s", "The use of it.|Water use is rising.|Out of use.|What is the use?"),
        ("uses", "y uw1 z ih0 z", "He uses it.|Everyone in the world uses paper."),
        ("uses", "y uw1 s ih0 z", "It has many uses.|It suggests uses for wood."),
        ("used", "y uw1 s t", "I used to swim.|I'm used to it.|She got used to waiting."),
        ("used", "y uw1 z d", "It is used to open cans.|He used it."),
        ("close", "k l ow1 z", "Close your eyes.|When does the store close?|We close at five."),
        ("close", "k l ow1 s", "Are you close?|It is not close.|Come close.|Don't walk too close to it."),
        ("live", "l ay1 v", "Live music tonight.|The show is live.|A live broadcast."),
        ("live", "l ih1 v", "Where do you live?|Animals that live in the sea."),
        ("lives", "l ih1 v z", "My brother lives in Texas.|He lives here."),
        ("lives", "l ay1 v z", "Their lives changed.|People's lives in danger.|A cat has nine lives."),
        ("lead", "l eh1 d", "It is made of lead.|A lead pipe.|Lead poisoning."),
        ("lead", "l iy1 d", "The lead singer.|They lead the way.|A number of lead changes."),
        ("tear", "t ih1 r", "A tear ran down.|Tear gas."),
        ("tear", "t eh1 r", "Tear it up.|Don't tear the paper.|A tear in the paper."),
        ("bow", "b ow1", "A bow and arrow.|A bow tie."),
        ("bow", "b aw1", "Take a bow.|They bow to him.|The bow of the ship."),
        ("wind", "w ay1 n d", "Wind the clock.|I wind up the toy."),
        ("wind", "w ih1 n d", "The wind blew.|The wind up there."),
        ("wound", "w aw1 n d", "He wound the clock."),
        ("wound", "w uw1 n d", "The wound healed."),
        ("minute", "m ay0 n uw1 t", "A minute detail."),
        ("minute", "m ih1 n ah0 t", "Last minute details.|Wait a minute."),
        ("content", "k ah0 n t eh1 n t", "She is content with it."),
        ("content", "k aa1 n t eh0 n t", "The content is new.|There's content for you."),
        ("refuse", "r eh1 f y uw2 s", "The refuse was collected."),
        ("refuse", "r ah0 f y uw1 z", "I refuse to go."),
        ("produce", "p r ow1 d uw2 s", "Fresh produce.|The produce aisle."),
        ("produce", "p r ah0 d uw1 s", "They produce cars."),
        ("perfect", "p er1 f ih2 k t", "It is not perfect.|A perfect day."),
        ("perfect", "p er0 f eh1 k t", "She wants to perfect it."),
        ("present", "p r eh1 z ah0 n t", "Were you present?|The present is here."),
        ("present", "p r iy0 z eh1 n t", "Present your case."),
        ("separate", "s eh1 p r ah0 t", "They are separate.|Two separate rooms."),
        ("separate", "s eh1 p er0 ey2 t", "Separate the two.|Do not separate us."),
        ("separates", "s eh1 p er0 ey2 t s", "It separates them."),
        ("excuse", "ih0 k s k y uw1 z", "Excuse me."),
        ("increase", "ih1 n k r iy2 s", "An increase in speed."),
        ("increase", "ih2 n k r iy1 s", "Increase the speed."),
        ("address", "ah0 d r eh1 s", "We need to address this."),
        ("address", "ae1 d r eh2 s", "My address is wrong."),
        ("object", "ah0 b jh eh1 k t", "Did Mary object?|Will he object to it?|For the record, I object."),
        ("permit", "p er0 m ih1 t", "Laws which permit an exception.|Never permit that."),
        ("house", "hh aw1 s", "In Ellen's house it is warm."),
        ("insert", "ih2 n s er1 t", "Insert coins here."),
        ("upset", "ah0 p s eh1 t", "He is upset.|It upset me."),
        ("resume", "r eh1 z ah0 m ey2", "Send your resume."),
        ("polish", "p ow1 l ih0 sh", "He is Polish.|The Polish army."),
        ("dove", "d ow1 v", "He dove into the water."),
    ],
)  # fmt: skip
def test_neighbours_decide(lexicon: Lexicon, word: str, phones: str, texts: str) -> None:
    found = {text: _spoken(lexicon, text, word) for text in texts.split("|")}
    assert found == dict.fromkeys(found, phones)


def test_senses_are_of_known_phones(lexicon: Lexicon) -> None:
    for word, senses in SENSES.items():
        assert set(lexicon.symbols).issuperset(" ".join(sense.phones for sense in senses).split()), word
        assert any(sense.phones != " ".join(lexicon.pronounce(word)) for sense in senses), word
