"""Text to codes to latents: transformers' networks, and the original's rules around them."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from tiny_tortoise import POSITIONS, START, STOP, WIDTH, save_tiny_clvp, tiny_clvp
from torch.nn import functional as F
from transformers import ClvpTokenizer

from diffusion_bench.backends.tortoise.latents import (
    closeness,
    draw_codes,
    end_codes,
    frames_of,
    latents_of_codes,
    most_codes,
    prefix_of,
    tokens_of,
    without_silence,
)
from diffusion_bench.backends.voice.candidates import seeded


@pytest.fixture(scope="module")
def clvp():
    return tiny_clvp()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return ClvpTokenizer.from_pretrained(save_tiny_clvp(tmp_path_factory.mktemp("clvp")))


@pytest.fixture
def prefix(clvp):
    voice = torch.randn((1, WIDTH), generator=torch.Generator().manual_seed(1))
    return prefix_of(clvp, torch.tensor([[8, 9, 10, 0]]), voice)


def random_codes(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, START, shape, generator=torch.Generator().manual_seed(seed))


def test_a_text_is_its_tokens_and_one_stop(clvp, tokenizer) -> None:
    tokens, unknown = tokens_of("The cat.", tokenizer, clvp)
    said = ["th", "e", "[SPACE]", "c", "a", "t", ".", "[STOP]"]
    assert tokenizer.convert_ids_to_tokens(tokens[0].tolist()) == said
    assert unknown == 0


def test_letters_that_the_tokenizer_does_not_know_are_counted(clvp, tokenizer) -> None:
    _, unknown = tokens_of("A # cat", tokenizer, clvp)
    assert unknown == 1


@pytest.mark.parametrize(("text", "complaint"), [("猫", "nothing to say"), ("a" * 36, "36 tokens")])
def test_a_text_it_cannot_read_is_refused_in_one_line(clvp, tokenizer, text, complaint) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        tokens_of(text, tokenizer, clvp)
    assert "\n" not in str(caught.value)


def test_the_longest_text_is_still_read(clvp, tokenizer) -> None:
    tokens, _ = tokens_of("a" * 35, tokenizer, clvp)
    codes = random_codes(1, most_codes(clvp))
    prefix = prefix_of(clvp, tokens, torch.zeros(1, WIDTH))
    # Together they are longer than the table of positions; neither is.
    assert prefix.shape[1] + codes.shape[1] > POSITIONS
    assert latents_of_codes(clvp, prefix, codes).shape == (1, 40, WIDTH)
    assert draw_codes(clvp, prefix, count=1).shape == (1, 40)


def test_the_limits_of_the_full_model_are_the_originals() -> None:
    decoder = SimpleNamespace(max_position_embeddings=608, max_text_tokens=404)
    text = SimpleNamespace(eos_token_id=0)
    full = SimpleNamespace(
        config=SimpleNamespace(decoder_config=decoder, text_config=text), device=torch.device("cpu")
    )
    read = SimpleNamespace(unk_token_id=1)
    assert most_codes(full) == 500
    tokens, _ = tokens_of("x", _fixed_tokenizer(398, read), full)
    assert tokens.shape == (1, 399)
    with pytest.raises(ValueError, match="398 at most"):
        tokens_of("x", _fixed_tokenizer(399, read), full)


def _fixed_tokenizer(count: int, read: SimpleNamespace):
    class Fixed:
        unk_token_id = read.unk_token_id

        def __call__(self, text: str) -> dict[str, list[int]]:
            return {"input_ids": [7] * count}

    return Fixed()


def test_the_prefix_is_that_of_transformers_conditioning_encoder(clvp) -> None:
    voice = torch.randn((1, WIDTH), generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[8, 9, 10, 0]])
    ours = prefix_of(clvp, tokens, voice)
    # Theirs adds the start and one stop to what it is given.
    theirs = clvp.conditioning_encoder(input_features=torch.zeros(1, 80, 9), input_ids=tokens)
    assert ours.shape == (1, 1 + 1 + 4 + 1, WIDTH)
    assert torch.allclose(ours[:, 1:], theirs[:, 1:], atol=1e-6)
    assert torch.equal(ours[:, 0], voice)


def states(clvp, prefix: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
    """Return the normalised states of the start and all codes, layer by layer by hand."""
    model = clvp.speech_decoder_model
    decoder = model.model.decoder
    said = torch.cat([torch.full((len(codes), 1), START), codes], dim=1)
    speech = decoder.input_embeds_layer.weight[said]
    speech = speech + decoder.position_embeds_layer.weight[: said.shape[1]]
    x = torch.cat([prefix.repeat(len(codes), 1, 1), speech], dim=1)
    length = x.shape[1]
    mask = torch.full((length, length), -math.inf).triu(1).expand(len(codes), 1, -1, -1)
    for layer in decoder.layers:
        x = layer(x, attention_mask=mask)
    return model.final_norm(decoder.layer_norm(x))[:, prefix.shape[1] :]


def test_a_codes_latent_is_the_state_that_predicts_it(clvp, prefix) -> None:
    codes = random_codes(3, 12)
    latents = latents_of_codes(clvp, prefix, codes)
    assert latents.shape == (3, 12, WIDTH)
    assert torch.allclose(latents, states(clvp, prefix, codes)[:, :-1], atol=2e-5)


def test_drawing_reads_the_prefix_as_the_latents_do(clvp, prefix) -> None:
    model, read = clvp.speech_decoder_model, []
    handle = model.final_norm.register_forward_hook(lambda *call: read.append(call[2]))
    try:
        codes = draw_codes(clvp, prefix, count=2)
        first = read[0]
    finally:
        handle.remove()
    latents = latents_of_codes(clvp, prefix, codes)
    assert torch.allclose(latents[:, 0], first[:, -1], atol=2e-5)


def test_drawn_codes_have_one_length_and_only_stops_after_a_stop(clvp, prefix) -> None:
    with seeded(0, "cpu"):
        codes = draw_codes(clvp, prefix, count=24)
    assert codes.shape == (24, 40)
    ended = (codes == STOP).cumsum(dim=1) > 0
    assert (codes[ended] == STOP).all()
    assert 0 < ended.any(dim=1).sum() < 24  # the tiny model does both
    assert not (codes == START).all()


def test_the_seed_decides_the_codes_and_torchs_own_numbers_go_on(clvp, prefix) -> None:
    torch.manual_seed(77)
    expected = torch.rand(2)
    torch.manual_seed(77)
    first = torch.rand(1)
    drawn = []
    for seed in (3, 3, 4):
        with seeded(seed, "cpu"):
            drawn.append(draw_codes(clvp, prefix, count=2))
    assert torch.equal(torch.cat([first, torch.rand(1)]), expected)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_watcher_stops_the_drawing_at_a_code(clvp, prefix) -> None:
    told = []

    def stop_at_four() -> None:
        told.append(len(told))
        if len(told) == 4:
            raise InterruptedError

    state = torch.get_rng_state()
    with pytest.raises(InterruptedError), seeded(0, "cpu"):
        draw_codes(clvp, prefix, count=16, on_code=stop_at_four)
    assert told == [0, 1, 2, 3]
    assert torch.equal(torch.get_rng_state(), state)


def test_codes_after_the_stop_are_silence_and_a_recordings_end() -> None:
    codes = torch.tensor([[9, 8, STOP, STOP, STOP, STOP, STOP, STOP], [9, 8, 7, 6, 5, 4, 3, 2]])
    ended = end_codes(codes, STOP)
    assert ended.tolist() == [[9, 8, 83, 83, 83, 45, 45, 248], [9, 8, 7, 6, 5, 4, 3, 2]]


def test_ended_codes_are_those_of_transformers_rule(clvp) -> None:
    codes = random_codes(40, 12)
    for row, line in enumerate(codes[:30]):
        line[row % 12 :] = STOP if row % 2 else line[row % 12 :]
        line[(row + 5) % 12] = STOP
    started = F.pad(codes, (1, 0), value=START)
    assert torch.equal(end_codes(codes, STOP), clvp.fix_speech_decoder_output(started))


def test_closeness_is_the_cosine_of_clvps_embeddings(clvp) -> None:
    tokens, codes = torch.tensor([[8, 9, 10, 0]]), random_codes(4, 12)
    text = clvp.get_text_features(input_ids=tokens).embeds
    speech = [clvp.speech_encoder_model(input_ids=line[None]).embeds for line in codes]
    expected = [float(F.cosine_similarity(text, one)) for one in speech]
    assert closeness(clvp, tokens, codes).tolist() == pytest.approx(expected, abs=1e-5)
    assert max(expected) - min(expected) > 0.01


@pytest.mark.parametrize(
    ("codes", "kept"),
    [
        ([1, 2, 3], 3),
        ([1] + [83] * 8, 9),
        ([1] + [83] * 9, 9),
        ([1] + [83] * 8 + [2] + [83] * 30, 18),
        ([83] * 30, 8),
    ],
)
def test_eight_codes_of_silence_are_kept(codes: list[int], kept: int) -> None:
    latents = torch.arange(len(codes), dtype=torch.float32)[:, None]
    cut = without_silence(torch.tensor(codes), latents)
    assert cut[:, 0].tolist() == list(range(kept))


@pytest.mark.parametrize(("codes", "frames"), [(1, 4), (80, 348), (500, 2176)])
def test_a_code_lasts_1024_samples_at_22_khz(codes: int, frames: int) -> None:
    assert frames_of(codes) == frames
    assert abs(frames * 256 / 24_000 - codes * 1024 / 22_050) < 256 / 24_000
