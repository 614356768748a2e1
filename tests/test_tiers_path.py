"""The upgrade path is the user's to write."""

from __future__ import annotations

import pytest

from diffusion_bench.tiers.cards import find_card, known_cards
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


OWN = (
    '[[card]]\nname = "RTX 4090 48GB"\nmemory_gib = 48\nbandwidth_gbs = 1008\nfp32_tflops = 82.58\n'
    "tensor_tflops = 165.2\nl2_mib = 72\ntdp_w = 450\n"
)


def test_a_path_may_describe_cards_of_ones_own_that_go_before_the_known_ones() -> None:
    path = parse_path(TIER.replace("RTX 3060 12GB", "RTX 4090 48GB") + OWN, "the path")
    own, *known = path.all_cards()
    assert (own.name, own.memory_gib, own.source) == ("RTX 4090 48GB", 48, "the user")
    assert tuple(known) == known_cards()
    assert find_card(path.tiers[0].gpu, path.all_cards()).card == own
    assert find_card(path.tiers[0].gpu).card is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (TIER + OWN + OWN, "two cards are called 'RTX 4090 48GB'"),
        (TIER + OWN.replace("48\n", "1e300\n"), "card 'RTX 4090 48GB': memory_gib"),
        (TIER + OWN.replace("72\n", "1e-300\n"), "card 'RTX 4090 48GB': l2_mib"),
        (TIER + 'after = "later"\n', "'now' is after 'later', which is no tier above it"),
        (TIER + 'after = "now"\n', "'now' is after 'now', which is no tier above it"),
        (TIER + "ram_gbs = 0\n", "tier 'now': ram_gbs"),
    ],
)
def test_cards_steps_and_memory_that_are_none_are_refused_in_one_line(text, complaint) -> None:
    with pytest.raises(ValueError, match=complaint) as raised:
        parse_path(text, "the path")
    assert "\n" not in str(raised.value)


def test_a_step_is_taken_from_the_tier_before_unless_it_says_after_which() -> None:
    named = [TIER.replace("now", name) for name in ("now", "one", "other")]
    path = parse_path("".join(named) + 'after = "now"\n', "the path")
    now, one, other = path.tiers
    assert [path.before(tier) for tier in path.tiers] == [None, now, now]
    assert (one.after, other.after) == (None, "now")


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
        ("colour = 1\n" + TIER, "mine.toml: colour is no setting; there are card, currency, tier$"),
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
