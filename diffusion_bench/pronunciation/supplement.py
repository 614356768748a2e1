"""Words of our own that CMUdict lacks or says differently, and the words that are said lightly."""

from __future__ import annotations

from functools import cache

from diffusion_bench.pronunciation.lexicon import is_known
from diffusion_bench.pronunciation.phones import Phone, phone, read_arpabet

_WORDS = {
    "json": "JH EY1 S AH0 N", "gui": "G UW1 IY0", "cuda": "K UW1 D AH0",
    "emoji": "IH0 M OW1 JH IY0",
    "pytorch": "P AY1 T AO2 R CH", "gigahertz": "G IH1 G AH0 HH ER2 T S",
    "kilohertz": "K IH1 L AH0 HH ER2 T S", "terahertz": "T EH1 R AH0 HH ER2 T S",
    "chatgpt": "CH AE1 T JH IY2 P IY2 T IY1", "tiktok": "T IH1 K T AA2 K",
    "covid": "K OW1 V IH0 D", "flops": "F L AA1 P S", "teraflops": "T EH1 R AH0 F L AA2 P S",
    "gigaflops": "G IH1 G AH0 F L AA2 P S", "petaflops": "P EH1 T AH0 F L AA2 P S",
    "kibibyte": "K IH1 B IH0 B AY2 T", "mebibyte": "M EH1 B IH0 B AY2 T",
    "gibibyte": "G IH1 B IH0 B AY2 T", "tebibyte": "T EH1 B IH0 B AY2 T",
    "kubernetes": "K UW2 B ER0 N EH1 T IY0 Z", "async": "EY1 S IH2 NG K",
    "regex": "R EH1 JH EH2 K S", "diffusers": "D IH0 F Y UW1 Z ER0 Z",
    "gradio": "G R EY1 D IY0 OW0",
    "vocoder": "V OW1 K OW2 D ER0", "spectrogram": "S P EH1 K T R AH0 G R AE2 M",
    "denoise": "D IY0 N OY1 Z", "milliamp": "M IH1 L IY0 AE2 M P",
    "megapixel": "M EH1 G AH0 P IH2 K S AH0 L", "miz": "M IH1 Z", "messers": "M EH1 S ER0 Z",
    "centiliter": "S EH1 N T AH0 L IY2 T ER0", "micrometer": "M AY1 K R OW0 M IY2 T ER0",
    "nanometer": "N AE1 N OW0 M IY2 T ER0", "kilojoule": "K IH1 L AH0 JH UW2 L",
    "megajoule": "M EH1 G AH0 JH UW2 L", "millivolt": "M IH1 L AH0 V OW2 L T",
    "kilovolt": "K IH1 L AH0 V OW2 L T", "milliwatt": "M IH1 L AH0 W AA2 T",
    "terawatt": "T EH1 R AH0 W AA2 T", "petabyte": "P EH1 T AH0 B AY2 T",
    "kilobit": "K IH1 L AH0 B IH2 T", "microsecond": "M AY1 K R OW0 S EH2 K AH0 N D",
    "wifi": "W AY1 F AY2", "vram": "V IY1 R AE2 M", "id": "AY1 D IY1", "ids": "AY1 D IY1 Z",
    "re": "R IY1", "github": "G IH1 T HH AH2 B", "readme": "R IY1 D M IY2",
    "jpeg": "JH EY1 P EH2 G", "nginx": "EH1 N JH IH2 N EH1 K S", "numpy": "N AH1 M P AY2",
    "psst": "P S T", "brr": "B ER1", "tsk": "T IH1 S K", "sci": "S AY1", "ios": "AY2 OW0 EH1 S",
    "used(2)": "Y UW1 S T", "int": "IH1 N T", "eta": "EY1 T AH0",
    "nanosecond": "N AE1 N OW0 S EH2 K AH0 N D",
    "rezumay": "R EH1 Z AH0 M EY2", "rozay": "R OW0 Z EY1", "patay": "P AA0 T EY1",
    "exposay": "EH2 K S P OW0 Z EY1", "deja": "D EY1 ZH AA2", "creme": "K R EH1 M",
    "brulee": "B R UW0 L EY1", "touche": "T UW0 SH EY1", "segue": "S EH1 G W EY0",
    "airbnb": "EH1 R B IY2 AH0 N B IY2",
    "hashtag": "HH AE1 SH T AE2 G", "mopeds": "M OW1 P EH2 D Z",
}  # fmt: skip
# Said without stress inside a sentence; the vowels are those of flite, which aligned the training
# speech ("of" is ah v, "and" ae n d), so that the model hears what it learned.
_LIGHT = {
    "a": "ax", "an": "ae n", "and": "ae n d", "are": "aa r", "as": "ae z", "at": "ae t",
    "be": "b iy",
    "but": "b ah t", "by": "b ay", "can": "k ae n", "for": "f ao r", "from": "f r ah m",
    "had": "hh ae d", "has": "hh ae z", "have": "hh ae v", "he": "hh iy", "her": "hh er",
    "him": "hh ih m", "his": "hh ih z", "if": "ih f", "in": "ih n", "is": "ih z", "it": "ih t",
    "its": "ih t s", "me": "m iy", "my": "m ay", "of": "ah v", "on": "aa n", "or": "ao r",
    "our": "aw er", "she": "sh iy", "than": "dh ae n", "that": "dh ae t", "the": "dh ax",
    "them": "dh eh m", "they": "dh ey", "this": "dh ih s", "to": "t ax", "was": "w aa z",
    "we": "w iy", "were": "w er", "with": "w ih dh", "would": "w uh d", "you": "y uw",
    "your": "y ao r",
}  # fmt: skip
_BEFORE_VOWEL = {"the": "dh iy", "to": "t uw"}


@cache
def supplement(word: str) -> tuple[Phone, ...] | None:
    """Return the phones of a word that we add to CMUdict, or `None`."""
    return read_arpabet(_WORDS[word]) if word in _WORDS else None


def is_word(word: str) -> bool:
    """Return whether CMUdict or we know a word in small letters."""
    return word in _WORDS or is_known(word)


@cache
def lightly(word: str, before_vowel: bool) -> tuple[Phone, ...] | None:
    """Return an article, pronoun or the like as said in a sentence; `None` for other words."""
    said = _BEFORE_VOWEL.get(word) if before_vowel else None
    said = said or _LIGHT.get(word)
    return None if said is None else tuple(phone(symbol) for symbol in said.split())
