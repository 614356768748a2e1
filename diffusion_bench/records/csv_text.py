"""Tables that people write, as their spreadsheet saves them."""

from __future__ import annotations


def separator_of(text: str) -> str:
    """Return what parts a table's columns: semicolons where numbers have a decimal comma."""
    head = text.partition("\n")[0]
    return ";" if ";" in head and "," not in head else ","
