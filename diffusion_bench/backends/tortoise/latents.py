"""From text to the speech latents that the diffusion decoder turns into a spectrogram.

text > tokens > prefix           the voice, then the text
prefix > draw_codes              sequences of codes by transformers' autoregressive model
codes > rank                     those that CLVP finds closest to the text
codes > latents_of_codes         what the autoregressive model thought of each code
latents > without_silence        cut where the speech has ended
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import StoppingCriteria, StoppingCriteriaList

MOST_TEXT_TOKENS = 398  # the original refuses 400, counting two that it adds
MOST_CODES = 500  # 23 s
# Codes of silence: 83 where speech has stopped, the others as a recording's very end.
CALM = 83
END = (45, 45, 248)
KEPT_CALM = 8  # room for the diffusion decoder to end the speech in
# An autoregressive code stands for 1024 samples at 22.05 kHz, a frame for 256 at 24 kHz.
FRAMES_PER_CODE = (4 * 24_000, 22_050)


@dataclass(frozen=True)
class Drawing:
    """How codes are drawn; the original's settings in all its presets.

    It sets no `top_k`, and so has what was transformers' default. There the penalty also falls on
    code 1, which happens to stand for the prefix; not here.
    """

    temperature: float = 0.8
    top_p: float = 0.8
    top_k: int = 50
    repetition_penalty: float = 2.0


def frames_of(codes: int) -> int:
    """Return the spectrogram frames that so many codes last."""
    return codes * FRAMES_PER_CODE[0] // FRAMES_PER_CODE[1]


def most_codes(clvp: Any) -> int:
    """Return the longest sequence that is drawn, in codes."""
    positions: int = clvp.config.decoder_config.max_position_embeddings
    return min(MOST_CODES, positions - 1)


def tokens_of(text: str, tokenizer: Any, clvp: Any) -> tuple[Tensor, int]:
    """Return (1, tokens + 1) of a text and a stop token, and how many tokens are unknown.

    Raises ValueError, in one line, for a text without a token and for one that is too long.
    """
    tokens = tokenizer(text)["input_ids"]
    most = min(MOST_TEXT_TOKENS, clvp.config.decoder_config.max_text_tokens - 3)
    unknown = tokens.count(tokenizer.unk_token_id)
    if len(tokens) == unknown:
        raise ValueError("Tortoise finds nothing to say in the text; it reads English")
    if len(tokens) > most:
        raise ValueError(
            f"the text is {len(tokens)} tokens long and Tortoise reads {most} at most; "
            "say it in parts"
        )
    stop = clvp.config.text_config.eos_token_id
    return torch.tensor([[*tokens, stop]], device=clvp.device), unknown


def prefix_of(clvp: Any, tokens: Tensor, voice: Tensor) -> Tensor:
    """Return (1, 1 + tokens + 2, hidden_size): the voice, the start token, the text, the end.

    The text has position embeddings of its own; the voice, (1, hidden_size), has none.
    """
    encoder, config = clvp.conditioning_encoder, clvp.config.text_config
    framed = F.pad(tokens, (1, 0), value=config.bos_token_id)
    framed = F.pad(framed, (0, 1), value=config.eos_token_id)
    positions = torch.arange(framed.shape[1], device=framed.device)
    text = encoder.text_token_embedding(framed) + encoder.text_position_embedding(positions)
    return torch.cat([voice.to(text).unsqueeze(1), text], dim=1)


@torch.inference_mode()
def draw_codes(
    clvp: Any,
    prefix: Tensor,
    *,
    count: int,
    drawing: Drawing = Drawing(),
    on_code: Callable[[], None] = lambda: None,
) -> Tensor:
    """Return (count, `most_codes`) sequences of codes, the stop code after the end of each.

    Draws from torch's global generators, as transformers does, so that it belongs within `seeded`.
    `on_code` is called after each code and may raise.
    """
    model = clvp.speech_decoder_model
    stop, longest = model.config.eos_token_id, most_codes(clvp)
    # transformers takes the embeddings of these positions off the prefix and the start code, and
    # relies on its decoder to add them again; left to itself, 5.23 has it add that of position 0.
    positions = torch.arange(prefix.shape[1] + 1, device=prefix.device)
    drawn = model.generate(
        conditioning_embeds=prefix.expand(count, -1, -1),
        position_ids=positions.expand(count, -1),
        do_sample=True,
        temperature=drawing.temperature,
        top_p=drawing.top_p,
        top_k=drawing.top_k,
        repetition_penalty=drawing.repetition_penalty,
        max_new_tokens=longest,
        bos_token_id=model.config.bos_token_id,
        eos_token_id=stop,
        pad_token_id=stop,
        stopping_criteria=StoppingCriteriaList([_Watch(on_code)]),
    )
    codes: Tensor = drawn[:, 1:]  # without the start code
    return F.pad(codes, (0, longest - codes.shape[1]), value=stop)


def end_codes(codes: Tensor, stop: int) -> Tensor:
    """Return (sequences, codes) with silence from the first stop code on, a recording's end last.

    A sequence that never stopped stays as it is.
    """
    ended = (codes == stop).cumsum(dim=1) > 0
    quiet = torch.full_like(codes, CALM)
    quiet[:, -len(END) :] = torch.tensor(END, device=codes.device)
    last = torch.arange(codes.shape[1], device=codes.device) >= codes.shape[1] - len(END)
    return torch.where(ended | (last & ended.any(dim=1, keepdim=True)), quiet, codes)


@torch.inference_mode()
def closeness(clvp: Any, tokens: Tensor, codes: Tensor) -> Tensor:
    """Return the (sequences,) cosine between CLVP's embeddings of a text and of ended codes."""
    text = clvp.text_encoder_model(input_ids=tokens).embeds
    speech = clvp.speech_encoder_model(input_ids=codes).embeds
    return F.cosine_similarity(text.float(), speech.float())


@torch.inference_mode()
def latents_of_codes(clvp: Any, prefix: Tensor, codes: Tensor) -> Tensor:
    """Return (sequences, codes, hidden_size): the state that predicts each code, normalised.

    transformers' decoder adds an embedding of the position in the whole sequence, which this
    model does not have (voice and text bring their own, codes count from their start): it is
    given position 0 throughout, and that embedding is taken off beforehand.
    """
    model = clvp.speech_decoder_model
    decoder, start = model.model.decoder, model.config.bos_token_id
    said = F.pad(codes[:, :-1], (1, 0), value=start)
    positions = torch.arange(said.shape[1], device=said.device)
    speech = decoder.input_embeds_layer(said) + decoder.position_embeds_layer(positions)
    whole = torch.cat([prefix.expand(len(codes), -1, -1), speech], dim=1)
    nowhere = torch.zeros((1, whole.shape[1]), dtype=torch.long, device=whole.device)
    states = decoder(
        inputs_embeds=whole - decoder.position_embeds_layer(nowhere),
        position_ids=nowhere,
        use_cache=False,
    ).last_hidden_state
    latents: Tensor = model.final_norm(states[:, -codes.shape[1] :])
    return latents


def without_silence(codes: Tensor, latents: Tensor) -> Tensor:
    """Return (kept, hidden_size) of one sequence: no more than eight codes of a silence.

    `codes`: (codes,), ended; `latents`: (codes, hidden_size).
    """
    run = 0
    for index, code in enumerate(codes.tolist()):
        run = run + 1 if code == CALM else 0
        if run > KEPT_CALM:
            return latents[:index]
    return latents


class _Watch(StoppingCriteria):
    """Tell after each code; never stop."""

    def __init__(self, on_code: Callable[[], None]) -> None:
        self._on_code = on_code

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        self._on_code()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)
