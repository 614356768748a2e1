"""UnivNet is given silence after the end, and the sound of that is cut off."""

from __future__ import annotations

import torch
from tiny_tortoise import tiny_univnet

from diffusion_bench.backends.tortoise.vocoder import speak_mel


def test_ten_silent_frames_follow_the_mel_and_their_sound_is_cut() -> None:
    univnet = tiny_univnet()
    mel = torch.randn((100, 20), generator=torch.Generator().manual_seed(0))
    noise = torch.randn((1, 30, 8), generator=torch.Generator().manual_seed(3))
    followed = torch.cat([mel, torch.full((100, 10), -11.512925)], dim=1)
    with torch.no_grad():
        whole = univnet(followed.T[None], noise_sequence=noise).waveforms[0]
    ours = speak_mel(univnet, mel, torch.Generator().manual_seed(3))
    assert ours.shape == (20 * 256,)
    assert torch.allclose(ours, whole[: 20 * 256], atol=1e-6)


def test_the_generator_decides_the_sound() -> None:
    univnet, mel = tiny_univnet(), torch.zeros((100, 8))
    first, again, other = (
        speak_mel(univnet, mel, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
