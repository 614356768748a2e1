"""Sentences to be spoken for training: templates of our own, filled with words of our own.

They are plain, so that synthesizers read them well, and of every length from a phrase to a long
sentence with clauses. A share of them holds words drawn from a whole lexicon, so that every pair of
phones is heard.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

WORDS = {
    "adjective": (
        "old new small large quick slow bright dark warm cold quiet loud soft hard heavy "
        "light deep shallow wide narrow clean dusty empty full early late gentle rough "
        "smooth sharp blunt brave shy curious tired hungry busy calm clever simple "
        "strange broken golden silver wooden orange purple yellow green blue red grey "
        "white black fresh sour sweet bitter young famous private public local foreign "
        "double single final second third usual rare cheap costly thirsty"
    ),
    "noun": (
        "apple boat bridge cat chair church cloud coat cup dog door dream egg engine farm "
        "field fire fish flower fox friend garden ghost glass goat hammer harbour hat "
        "hill horse house island jacket judge jungle kitchen knife ladder lake lamp leaf "
        "letter lion machine map measure mirror moon mountain mouse music nail needle "
        "nurse ocean office orange oven painter paper path pencil picture pilot planet "
        "pocket poem potato queen question rabbit radio river road robot rocket roof room "
        "rope school sea shadow ship shoe shop singer snake song soup spoon star station "
        "stone storm story street sugar sun table teacher thief thumb ticket tiger tower "
        "toy train treasure tree truck uncle valley vase village violin voice wagon wall "
        "watch wave wheel whistle window winter wolf yard zebra zoo vision garage youth"
    ),
    "name": (
        "Alice Bob Carol David Emma Frank Grace Henry Irene James Karen Louis Martha "
        "Nathan Olive Paul Rachel Simon Thomas Ursula Victor Wendy Yvonne Zachary Joyce "
        "Roy George Theo"
    ),
    "place": (
        "London Paris Boston Chicago Berlin Madrid Tokyo Sydney Dublin Oslo Cairo Lisbon "
        "Athens Geneva Vienna Denver Houston Nairobi Toronto Warsaw"
    ),
    "verb": (
        "saw found lost bought sold painted opened closed carried followed watched heard "
        "praised fixed measured borrowed returned washed moved touched noticed missed "
        "needed wanted liked counted pushed pulled lifted dropped remembered forgot "
        "described changed joined finished showed visited avoided enjoyed guarded taught "
        "caught thanked chose shook"
    ),
    "move": (
        "walked ran drove sailed climbed jumped slept waited worked laughed talked sat "
        "stood stayed danced turned arrived vanished smiled cried argued rested flew sang "
        "swam"
    ),
    "adverb": (
        "slowly quickly quietly loudly often never always usually rarely today yesterday "
        "tomorrow soon later again together alone carefully suddenly finally gladly "
        "almost already outside"
    ),
    "preposition": (
        "under over behind beside near above below around across along through past beyond"
    ),
    "number": (
        "two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty "
        "seventy eighty ninety hundred"
    ),
    "time": (
        "morning evening afternoon night summer winter spring autumn Monday Tuesday Friday Sunday"
    ),
    "reason": "because although while when before after since unless until if",
}

TEMPLATES = (
    "The {adjective} {noun} {move} {preposition} the {noun}.",
    "{name} {verb} the {adjective} {noun} {adverb}.",
    "{name} and {name} {move} {preposition} the {adjective} {noun} in {place}.",
    "Did {name} really like the {noun}?",
    "Where is the {adjective} {noun}, {name}?",
    "Why would a {noun} need {number} {noun}s?",
    "{number} {adjective} {noun}s {move} {adverb}.",
    "I have never seen such a {adjective} {noun}!",
    "In the {time}, the {noun} was {adjective} and {adjective}.",
    "The {noun} was {adjective}, but the {noun} was {adjective}.",
    "{reason} the {noun} {move}, {name} {verb} a {noun} {preposition} the {noun}.",
    "We {move} {preposition} the {noun} {reason} it was {adjective}.",
    "Please bring me the {adjective} {noun}, the {noun}, and {number} {noun}s.",
    "She said that the {noun} in {place} was too {adjective}.",
    "You should have {verb} the {noun} {adverb}, {name}.",
    "There is a {noun} {preposition} every {adjective} {noun}.",
    "Can you hear the {noun} {preposition} the {noun}?",
    "My {noun} is {number} years older than your {noun}.",
    "They {verb} it, {verb} it, and {verb} it again.",
    "What a {adjective} {time}!",
    "He thought of {place}, of the {adjective} {noun}, and of nothing else.",
    "A {noun} with a {adjective} {noun} costs {number} dollars.",
    "Yes, {name}, this is the {noun}.",
    "No.",
    "Thank you, {name}.",
    "On {time}, {number} hundred {noun}s {move} to {place}.",
    "If the {noun} is {adjective}, we shall {adverb} leave the {noun}.",
    "Nobody {verb} the {noun} that {name} {verb} {preposition} the {noun}.",
)
LEXICAL = (
    "The word is {any}.",
    "{name} said {any}, {any}, and {any}.",
    "Both {any} and {any} are {adjective}.",
    "Is it {any} or {any}?",
    "Their {any} {verb} our {any} {adverb}.",
    "{any} {any} {any} {any}.",
    "Between {any} and {any}, there was {any}.",
)
LEXICAL_SHARE = 0.4


class Sentences:
    """Draws sentences; `lexicon` is what `{any}` is drawn from."""

    def __init__(self, lexicon: Sequence[str], seed: int) -> None:
        self._random = random.Random(seed)
        self._words = {kind: text.split() for kind, text in WORDS.items()} | {"any": list(lexicon)}

    def draw(self) -> str:
        """Return one sentence, its first letter a capital."""
        few = self._random.random() < LEXICAL_SHARE
        template = self._random.choice(LEXICAL if few else TEMPLATES)
        text = re.sub(r"\{(\w+)\}", lambda m: self._random.choice(self._words[m[1]]), template)
        return text[0].upper() + text[1:]
