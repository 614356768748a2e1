"""Cards are matched by whole name, and what is unknown stays unknown."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffusion_bench.tiers.cards import find_card, is_geforce, known_cards, read_cards

MINE = """
[[card]]
name = "RTX 4090 48GB (modified)"
memory_gib = 48
bandwidth_gbs = 1008
fp32_tflops = 82.58
tensor_tflops = 165.2
l2_mib = 72
tdp_w = 450
compute_capability = "8.9"
"""


@pytest.mark.parametrize(
    ("reported", "memory_mib", "card"),
    [
        ("NVIDIA GeForce RTX 4070 Ti", 12282, "RTX 4070 Ti"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16376, "RTX 4070 Ti Super"),
        ("NVIDIA GeForce RTX 4070 SUPER", 12282, "RTX 4070 Super"),
        ("NVIDIA GeForce RTX 4070", 12282, "RTX 4070"),
        ("NVIDIA GeForce RTX 4090", 24564, "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 D", 24564, "RTX 4090 D"),
        ("NVIDIA GeForce RTX 3060", 12288, "RTX 3060 12GB"),
        ("NVIDIA GeForce RTX 3060", 8192, "RTX 3060 8GB"),
        ("NVIDIA GeForce RTX 3080", 12288, "RTX 3080 12GB"),
        ("NVIDIA GeForce RTX 4060 Ti", 16380, "RTX 4060 Ti 16GB"),
        ("NVIDIA L4", 23034, "L4"),
        ("NVIDIA L40", 46068, "L40"),
        ("NVIDIA L40S", 46068, "L40S"),
        ("NVIDIA RTX A4000", 16376, "RTX A4000"),
        ("NVIDIA A10", 23028, "A10"),
        ("NVIDIA A10G", 23028, "A10G"),
        ("Tesla T4", 15360, "T4"),
        ("Tesla V100-SXM2-16GB", 16384, "V100 SXM2 16GB"),
        ("NVIDIA A100-SXM4-80GB", 81920, "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", 81920, "A100 PCIe 80GB"),
        ("NVIDIA H100 80GB HBM3", 81559, "H100 SXM5"),
        ("NVIDIA H200", 143771, "H200 SXM"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "RTX 6000 Ada"),
    ],
)
def test_what_nvml_reports_is_the_one_card(reported: str, memory_mib: float, card: str) -> None:
    match = find_card(reported, memory_mib=memory_mib)
    assert match.card is not None, match.reason
    assert match.card.name == card


@pytest.mark.parametrize(
    ("name", "memory_mib"),
    [
        ("NVIDIA GeForce RTX 4090 Laptop GPU", 16376),
        ("NVIDIA GeForce RTX 4070 Ti", 16376),  # an amount that this card was never sold with
        ("NVIDIA GeForce RTX 4090", 49140),
        ("NVIDIA GeForce RTX 40", None),
        ("NVIDIA GeForce RTX 4090 something", None),
        ("A100 (variant unstated)", None),
        ("A100", None),
        ("", None),
    ],
)
def test_a_name_that_only_looks_like_a_card_is_none_with_a_reason(
    name: str, memory_mib: float | None
) -> None:
    match = find_card(name, memory_mib=memory_mib)
    assert match.card is None
    assert match.reason


def test_a_shared_name_is_the_first_sold_and_says_so() -> None:
    match = find_card("RTX 3080")
    assert match.card is not None
    assert match.card.name == "RTX 3080 10GB"
    assert "first sold" in (match.note or "")
    assert find_card("RTX 3080 12GB").note is None


def test_a_name_two_cards_were_first_sold_by_at_once_cannot_be_told() -> None:
    match = find_card("RTX 5060 Ti")
    assert match.card is None
    assert "RTX 5060 Ti 16GB or RTX 5060 Ti 8GB" in (match.reason or "")


def test_the_consumer_line_is_whole_and_every_card_has_a_source() -> None:
    cards = {card.name: card for card in known_cards()}
    line = [
        *("2060 6GB", "2060 12GB", "2060 Super", "2070", "2070 Super", "2080", "2080 Super"),
        *("2080 Ti", "3050 6GB", "3050 8GB", "3060 8GB", "3060 12GB", "3060 Ti", "3070", "3070 Ti"),
        *("3080 10GB", "3080 12GB", "3080 Ti", "3090", "3090 Ti", "4060", "4060 Ti 8GB"),
        *("4060 Ti 16GB", "4070", "4070 Super", "4070 Ti", "4070 Ti Super", "4080", "4080 Super"),
        *("4090", "4090 D", "5050", "5060", "5060 Ti 8GB", "5060 Ti 16GB", "5070", "5070 Ti"),
        *("5080", "5090"),
    ]
    assert [name for name in line if f"RTX {name}" not in cards] == []
    assert all(is_geforce(f"RTX {name}") for name in line)
    assert [c.name for c in cards.values() if not (c.source and c.source_locator)] == []
    assert len(cards) == len(known_cards())


def test_what_a_card_gives_has_a_source_and_is_no_more_than_it_has() -> None:
    told = [card for card in known_cards() if card.usable_mib is not None]
    assert {"T4", "A10", "A10G", "L4", "RTX 4070 Ti", "RTX 4090"} <= {card.name for card in told}
    assert [card.name for card in told if not card.usable_source] == []
    for card in told:
        assert 0.92 * 1024 * card.memory_gib <= card.vram_mib <= 1024 * card.memory_gib
    unknown = [card for card in known_cards() if card.usable_mib is None]
    assert [card.name for card in unknown] == ["RTX 5050"]  # docs/methodology.md names it
    assert all(card.vram_mib == 1024 * card.memory_gib for card in unknown)


def test_the_driver_at_hand_knows_better_than_the_table() -> None:
    """Older drivers keep what they take out of the total."""
    card = find_card("Tesla T4", memory_mib=15109).card
    assert card == find_card("T4").card
    assert card.giving(15109).vram_mib == 15109
    assert card.giving(None) == card


def test_workstation_cards_are_no_geforce() -> None:
    others = ("RTX A4000", "RTX 4000 Ada", "RTX 6000 Ada", "TITAN RTX", "A100 SXM4 40GB", "T4")
    assert [name for name in others if is_geforce(name)] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("4090", "did you mean RTX 4090 or RTX 4090 D?"),
        ("RTX 4O90", "did you mean RTX 4090"),
        ("a toaster", "describe it in a file for --cards (docs/methodology.md"),
        ("", "describe it in a file for --cards"),
    ],
)
def test_an_unknown_card_is_told_the_names_near_it_or_how_to_describe_it(name, told) -> None:
    match = find_card(name)
    assert match.card is None
    assert told in (match.reason or "")


def test_the_card_that_the_methodology_describes_is_one(tmp_path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "methodology.md").read_text(encoding="utf-8")
    file = tmp_path / "mine.toml"
    file.write_text(text.split("```toml\n[[card]]")[1].split("```")[0].join(["[[card]]", ""]))
    assert find_card("RTX 4090 48GB", read_cards(file)).card == read_cards(file)[0]


def test_users_add_a_card_in_toml(tmp_path) -> None:
    file = tmp_path / "cards.toml"
    file.write_text(MINE)
    cards = read_cards(file)
    match = find_card("NVIDIA GeForce RTX 4090 48GB (modified)", cards, memory_mib=49140)
    assert match.card is not None
    assert match.card.memory_gib == 48
    assert find_card("RTX 4090", cards).card == find_card("RTX 4090").card


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "describes no card"),
        (MINE.replace("memory_gib", "usable_mib = 50000\nmemory_gib"), "more than memory_gib"),
        ("[[card]", "is no TOML file"),
        (MINE.replace("tdp_w = 450", "tdp_w = -1"), "tdp_w"),
        (MINE.replace("tdp_w", "tdp"), r"card 'RTX 4090 48GB \(modified\)': tdp_w is missing"),
        (MINE.replace("[[card]]", "[card]"), r"write \[\[card\]\], in two pairs of brackets"),
        (MINE.replace("[[card]]", "[[cards]]"), "describes no card"),
    ],
)
def test_a_file_of_cards_that_is_none_is_refused_in_one_line(tmp_path, text, complaint) -> None:
    file = tmp_path / "cards.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint) as raised:
        read_cards(file)
    assert "\n" not in str(raised.value)
