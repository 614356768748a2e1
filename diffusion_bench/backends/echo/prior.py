"""The prior: phones > durations and pitch > a mean mel spectrogram, frame by frame.

Aligned as in Grad-TTS (Popov et al. 2021): each phone's vector is repeated for its duration. The
pitch is explicit, as in FastSpeech 2 (Ren et al. 2020, section 2.3), so that the median pitch of
the reference can be kept exactly and be changed on purpose.
"""

from __future__ import annotations

import math

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from diffusion_bench.backends.echo.blocks import ResBlock, frame_mask, sinusoids
from diffusion_bench.pronunciation.phones import MARKS, PHONES

PITCH_BANDS = 24  # bumps over the octaves from 50 to 600 Hz
LOWEST_OCTAVE, HIGHEST_OCTAVE = math.log2(50 / 150), math.log2(600 / 150)
STRESSES = 3
NO_FRAME = 0.01  # so much of a frame is the rounding of a sum, not another frame


class Prior(ModelMixin, ConfigMixin):
    """Phones and a voice > durations, pitch contour, mean mel.

    Pitch passes as octaves from 150 Hz and a voiced flag a frame; its contour is predicted in
    octaves from the speaker's median.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        n_mels: int = 80,
        hidden_channels: int = 160,
        voice_channels: int = 160,
        num_phone_blocks: int = 4,
        num_frame_blocks: int = 4,
    ) -> None:
        super().__init__()
        hidden = hidden_channels
        self.symbol = nn.Embedding(len(PHONES), hidden)
        self.stress = nn.Embedding(STRESSES, hidden)
        self.word_start = nn.Embedding(2, hidden)
        self.mark = nn.Embedding(len(MARKS), hidden)
        self.place = nn.Linear(2, hidden)
        self.phone_blocks = nn.ModuleList(
            ResBlock(hidden, condition=voice_channels, kernel=5, dilation=(1, 2, 4, 1)[i % 4])
            for i in range(num_phone_blocks)
        )
        self.duration_block = ResBlock(hidden, condition=voice_channels)
        self.duration = nn.Conv1d(hidden, 1, 1)
        self.within = nn.Linear(32, hidden)
        self.contour_blocks = nn.ModuleList(
            ResBlock(hidden, condition=voice_channels, kernel=5, dilation=d) for d in (1, 3)
        )
        self.contour = nn.Conv1d(hidden, 2, 1)
        self.pitch = nn.Conv1d(PITCH_BANDS + 1, hidden, 1)
        self.frame_blocks = nn.ModuleList(
            ResBlock(hidden, condition=voice_channels, kernel=3, dilation=(1, 2)[i % 2])
            for i in range(num_frame_blocks)
        )
        self.mel = nn.Conv1d(hidden, n_mels, 1)

    def read(self, phones: Tensor, lengths: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """Return hidden (batch, channels, phones) and natural log of frames (batch, phones).

        `phones`: (batch, 4, phones) of symbol, stress, word start and mark; `lengths`: (batch,).
        """
        symbol, stress, start, mark = phones.unbind(dim=1)
        hidden = (
            self.symbol(symbol) + self.stress(stress) + self.word_start(start) + self.mark(mark)
        )
        places = phrase_places(symbol).to(hidden.dtype)
        hidden = (hidden + self.place(places)).transpose(1, 2)
        mask = frame_mask(lengths, phones.shape[-1])
        for block in self.phone_blocks:
            hidden = block(hidden, voice, mask)
        rhythm = self.duration_block(hidden.detach(), voice, mask)
        return hidden, self.duration(rhythm).squeeze(1).float()

    def expand(self, hidden: Tensor, durations: Tensor) -> Tensor:
        """Return (batch, channels, frames): each phone for its frames, told where in it one is.

        `durations`: (batch, phones), in frames and parts of frames. Frame `i` is centred at `i`,
        and so belongs to the phone that ends after it. Were phones cut to whole frames, one would
        not know where between two frames a sound begins, and the mean over that is a blur.
        """
        batch, channels, _ = hidden.shape
        durations = durations.float()
        ends = durations.cumsum(dim=1)
        frames = math.ceil(float(ends[:, -1].max()) - NO_FRAME)
        at = torch.arange(frames, device=hidden.device).float().expand(batch, frames).contiguous()
        phone = torch.searchsorted(ends, at, right=True).clamp(max=durations.shape[1] - 1)
        start = (ends - durations).gather(1, phone)
        share = (at - start) / durations.gather(1, phone).clamp(min=1)
        long = hidden.gather(2, phone.unsqueeze(1).expand(batch, channels, frames))
        place = torch.cat([sinusoids(share * 16, 16), sinusoids(at - start, 16)], dim=-1)
        within: Tensor = self.within(place.to(hidden.dtype)).transpose(1, 2)
        return long + within

    def intone(self, frames: Tensor, voice: Tensor) -> tuple[Tensor, Tensor]:
        """Return octaves from the speaker's median, and logits of being voiced: (batch, frames)."""
        hidden = frames.detach()
        for block in self.contour_blocks:
            hidden = block(hidden, voice)
        octaves, voiced = self.contour(hidden).float().unbind(dim=1)
        return octaves, voiced

    def forward(
        self, frames: Tensor, octaves: Tensor, voiced: Tensor, voice: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the mean mel (batch, n_mels, frames) and the hidden frames it was made from.

        `octaves`: pitch from 150 Hz; `voiced`: 0 or 1; both (batch, frames).
        """
        hidden = frames + self.pitch(pitch_bands(octaves, voiced).to(frames.dtype))
        for block in self.frame_blocks:
            hidden = block(hidden, voice)
        return self.mel(hidden).float(), hidden


def pitch_bands(octaves: Tensor, voiced: Tensor) -> Tensor:
    """Return (batch, bands + 1, frames): a bump at the pitch, none where unvoiced, and the flag."""
    centres = torch.linspace(LOWEST_OCTAVE, HIGHEST_OCTAVE, PITCH_BANDS, device=octaves.device)
    width = (HIGHEST_OCTAVE - LOWEST_OCTAVE) / (PITCH_BANDS - 1)
    bumps = torch.exp(-0.5 * ((octaves.unsqueeze(1) - centres[:, None]) / width) ** 2)
    flag = voiced.unsqueeze(1)
    return torch.cat([bumps * flag, flag], dim=1)


def phrase_places(symbols: Tensor) -> Tensor:
    """Return (batch, phones, 2): log of the phones since the last pause and until the next."""
    pause = PHONES.index("pau")
    count = symbols.shape[1]
    index = torch.arange(count, device=symbols.device).expand_as(symbols)
    breaks = (symbols == pause) | (symbols == 0)
    last = torch.where(breaks, index, -1).cummax(dim=1).values
    following = torch.where(breaks, index, count).flip(1).cummin(dim=1).values.flip(1)
    return torch.stack([(index - last).log1p(), (following - index).log1p()], dim=-1) / 3
