"""The upgrade path is the user's to write."""

from __future__ import annotations

import pytest

from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.path import parse_path, read_path, shipped_path

TIER = '[[tier]]\nname = "now"\ngpu = "RTX 3060 12GB"\nram_gib = 16\ncores = 6\n'


def test_the_shipped_path_has_three_tiers_of_known_cards_with_approximate_prices() -> None:
    tiers = shipped_path().tiers
    assert [(tier.gpus, tier.ram_gib) for tier in tiers] == [
        (("RTX 4070 Ti",), 32),
        (("RTX 4090",), 64),
        (("RTX 4090", "RTX 4090"), 128),
    ]
    assert all(tier.approximate and tier.price for tier in tiers)
    assert all(find_card(name).card for tier in tiers for name in tier.gpus)


def test_a_path_of_ones_own_may_pair_unequal_cards_and_leave_prices_out(tmp_path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(TIER + 'other_gpu = "RTX 4090"\n')
    (tier,) = read_path(file).tiers
    assert tier.gpus == ("RTX 3060 12GB", "RTX 4090")
    assert tier.price is None
    assert not tier.approximate


def test_one_wrong_tier_is_said_once_and_not_to_be_no_tier(tmp_path) -> None:
    with pytest.raises(ValueError, match="prise is no setting") as raised:
        parse_path(TIER + "prise = 5\n", "the path")
    assert "at least 1" not in str(raised.value)
    assert "permitted" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("currency = 'EUR'", "describes no tier; give each a table"),
        (TIER.replace("[[tier]]", "[tier]"), r"write \[\[tier\]\], in two pairs of brackets"),
        (TIER + TIER, "two tiers are called 'now'"),
        (TIER + "count = 3\n", "count"),
        (TIER + 'count = 2\nother_gpu = "RTX 4090"\n', "leave it at 1"),
        (
            TIER + "prise = 5\n",
            "toml: tier 'now': prise is no setting; did you mean price\\? there are .*, gpu, ",
        ),
        (TIER.replace('name = "now"', ""), "mine.toml: tier 1: name is missing$"),
        ("colour = 1\n" + TIER, "mine.toml: colour is no setting; there are currency, tier$"),
        (TIER + "price = nan\n", "price"),
        (TIER + "cloud_price = 0\n", "cloud_price"),
        ("[[tier", "is no TOML file"),
        ("a = " + "[" * 5000, "nested too deeply"),
        (TIER.replace("cores = ", f"cores = {'9' * 5000}"), "Exceeds the limit"),
    ],
)
def test_a_wrong_path_is_refused_in_one_line_that_names_the_file(tmp_path, text, complaint) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=complaint) as raised:
        read_path(file)
    assert "mine.toml" in str(raised.value)
    assert "\n" not in str(raised.value)
