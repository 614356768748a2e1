"""Train speaker encoder, prior and U-Net together, on whole sentences and pieces of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from diffusion_bench.backends.echo.blocks import frame_mask
from diffusion_bench.backends.echo.pipeline import EchoPipeline, normalise_mel
from diffusion_bench.backends.echo.prior import Prior
from diffusion_bench.backends.echo.speaker import SpeakerEncoder
from diffusion_bench.backends.echo.unet import MelUNet
from diffusion_bench.backends.echo.vocoder import octaves_of
from diffusion_bench.training.echo.data import Corpus, Spoken
from diffusion_bench.training.loop import Schedule, train

PIECE = 128  # frames of the U-Net's pieces
REFERENCE = (125, 310)  # frames of a reference: 2 to 5 seconds
DROPPED = 0.1  # share of pieces without any condition, for guidance
SCALE_MEMORY = 0.995
WIDE = 12.6  # brings an embedding of unit length and 160 channels to unit deviation
ACOUSTIC_SCHEDULE = Schedule(steps=14_500, batch=16, peak_lr=8e-4, warmup_steps=200)
# From weights that speak already. Muon has the hidden layers: not embeddings, first and last ones.
REFINEMENT = Schedule(
    steps=4000,
    batch=16,
    peak_lr=6e-4,
    warmup_steps=200,
    muon=True,
    not_hidden=(
        *("speaker.conv_in", "speaker.pitch", "unet.conv_in", "unet.conv_out"),
        *("prior.symbol", "prior.stress", "prior.word_start", "prior.mark", "prior.place"),
        *("prior.duration.", "prior.contour.", "prior.mel.", "who.", "facts."),
    ),
)
WEIGHTS = {
    "mean": 1.0,
    "timbre": 1.0,
    "duration": 0.3,
    "contour": 0.6,
    "voiced": 0.1,
    "v": 1.0,
    "slow": 4.0,
    "who": 0.05,
    "facts": 0.2,
}


@dataclass(frozen=True)
class Batch:
    """Padded utterances with references by the same speakers. Mels are normalised."""

    phones: Tensor
    phone_lengths: Tensor
    durations: Tensor
    mel: Tensor
    octaves: Tensor
    voiced: Tensor
    lengths: Tensor
    reference: Tensor
    pitch_facts: Tensor
    speaker: Tensor
    targets: Tensor

    def to(self, device: str) -> Batch:
        """Return it on a device."""
        return Batch(**{name: value.to(device) for name, value in vars(self).items()})


class Acoustic(nn.Module):
    """The three networks, and the heads that only training has."""

    def __init__(self, speakers: int, targets: int) -> None:
        super().__init__()
        self.speaker = SpeakerEncoder()
        self.prior = Prior()
        self.unet = MelUNet()
        width = int(self.speaker.config["voice_channels"])
        self.who = nn.Linear(width, speakers, bias=False)
        self.facts = nn.Linear(width, targets)

    def begin_as(self, pipeline: EchoPipeline) -> None:
        """Take the weights of a trained pipeline; the heads of training, it has none of, stay."""
        self.speaker.load_state_dict(pipeline.speaker_encoder.state_dict())
        self.prior.load_state_dict(pipeline.prior.state_dict())
        self.unet.load_state_dict(pipeline.unet.state_dict())


def noise_schedule() -> DDPMScheduler:
    """Return the schedule of training: cosine (Nichol & Dhariwal 2021), `v`, 1000 timesteps."""
    return DDPMScheduler(
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    )


def train_acoustic(
    corpus: Corpus,
    *,
    folder: Path,
    start: EchoPipeline | None = None,
    schedule: Schedule = ACOUSTIC_SCHEDULE,
    device: str = "cpu",
) -> Acoustic:
    """Return the trained networks, begun as those of `start`; the checkpoint lies in `folder`."""
    torch.manual_seed(0)
    networks = Acoustic(len(corpus.of_speaker), corpus.targets.shape[1])
    if start is not None:
        networks.begin_as(start)
    networks.to(device)
    noise = noise_schedule()
    by_length = sorted(range(len(corpus.utterances)), key=lambda i: _frames(corpus.utterances[i]))

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        batch = draw(corpus, by_length, schedule.batch, generator).to(device)
        losses = acoustic_losses(networks, batch, noise, generator)
        if (step + 1) % 50 == 0:
            print(" ".join(f"{k} {v.item():.3f}" for k, v in losses.items()), flush=True)
        return torch.stack([WEIGHTS[name] * loss for name, loss in losses.items()]).sum()

    train(networks, loss_of_step, schedule, folder=folder, device=device)
    return networks


def _frames(spoken: Spoken) -> int:
    return spoken.mel.shape[-1]


def draw(corpus: Corpus, by_length: list[int], count: int, generator: torch.Generator) -> Batch:
    """Return `count` utterances of about one length, each with a reference by its speaker."""
    first = int(torch.randint(len(by_length) - count + 1, (1,), generator=generator))
    chosen = [corpus.utterances[i] for i in by_length[first : first + count]]
    heard = [_reference(corpus, spoken, generator) for spoken in chosen]
    span = int(torch.randint(*REFERENCE, (1,), generator=generator))
    references, facts = zip(*(_cut(mel, f0, span, generator) for mel, f0 in heard), strict=True)
    f0_hz = pad_sequence([spoken.f0_hz for spoken in chosen], batch_first=True)
    mels = pad_sequence([spoken.mel.T.float() for spoken in chosen], batch_first=True)
    return Batch(
        phones=pad_sequence([s.phones.T.long() for s in chosen], batch_first=True).transpose(1, 2),
        phone_lengths=torch.tensor([s.phones.shape[1] for s in chosen]),
        durations=pad_sequence([s.durations for s in chosen], batch_first=True),
        mel=normalise_mel(mels.transpose(1, 2)),
        octaves=octaves_of(f0_hz),
        voiced=(f0_hz > 0).float(),
        lengths=torch.tensor([_frames(s) for s in chosen]),
        reference=torch.stack(references),
        pitch_facts=torch.stack(facts),
        speaker=torch.tensor([s.speaker for s in chosen]),
        targets=torch.stack([corpus.targets[s.speaker] for s in chosen]),
    )


def _reference(corpus: Corpus, spoken: Spoken, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return mel and pitch of two other sentences by the speaker, recorded or clean."""
    own = corpus.of_speaker[spoken.speaker]
    picked = [own[i] for i in torch.randperm(len(own), generator=generator)[:3].tolist()]
    others = [corpus.utterances[i] for i in picked if corpus.utterances[i] is not spoken][:2]
    recorded = torch.rand((), generator=generator).item() < 0.7
    mel = torch.cat([(s.recorded if recorded else s.mel).float() for s in others], dim=1)
    return normalise_mel(mel), torch.cat([s.f0_hz for s in others])


def _cut(
    mel: Tensor, f0_hz: Tensor, span: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    while mel.shape[1] < span:
        mel, f0_hz = torch.cat([mel, mel], dim=1), torch.cat([f0_hz, f0_hz])
    first = int(torch.randint(mel.shape[1] - span + 1, (1,), generator=generator))
    facts = pitch_facts(f0_hz)  # of all that was heard: a short piece's median is not the voice's
    wobble = torch.randn(2, generator=generator) * torch.tensor([0.02, 0.1])  # a tracker errs
    return mel[:, first : first + span], facts + wobble


def pitch_facts(f0_hz: Tensor) -> Tensor:
    """Return (2,): median in octaves from 150 Hz, and spread in thirds of an octave less one."""
    voiced = octaves_of(f0_hz)[f0_hz > 0]
    if len(voiced) < 4:
        return torch.zeros(2)
    edges = voiced.quantile(torch.tensor([0.16, 0.84]))
    return torch.stack([voiced.median(), (edges[1] - edges[0]) / 2 * 3 - 1])


def acoustic_losses(
    networks: Acoustic, batch: Batch, noise: DDPMScheduler, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return each loss of a batch by name."""
    mask = frame_mask(batch.lengths, batch.mel.shape[-1])
    voice, embedding = networks.speaker(batch.reference, batch.pitch_facts)
    hidden, log_durations = networks.prior.read(batch.phones, batch.phone_lengths, voice)
    frames = networks.prior.expand(hidden, batch.durations)
    contour, voicing = networks.prior.intone(frames, voice)
    mean, hidden_frames = networks.prior(frames, batch.octaves, batch.voiced, voice)
    real = frame_mask(batch.phone_lengths, batch.phones.shape[-1]).squeeze(1)
    wanted = (batch.durations.float() + 0.5).log()
    voiced = batch.voiced * mask.squeeze(1)
    from_median = batch.octaves - batch.pitch_facts[:, :1]
    v, slow = denoising_losses(
        networks.unet, batch, (mean.detach(), hidden_frames, voice), noise, generator
    )
    who = 16.0 * F.linear(embedding, F.normalize(networks.who.weight, dim=-1))
    return {
        "mean": _mean((mean - batch.mel).abs().mean(dim=1), mask.squeeze(1)),
        "timbre": timbre_loss(mean - batch.mel, voiced),
        "duration": _mean((log_durations - wanted).abs(), real),
        "contour": _mean((contour - from_median).abs(), voiced) * 2,
        "voiced": _mean(
            F.binary_cross_entropy_with_logits(voicing, batch.voiced, reduction="none"),
            mask.squeeze(1),
        ),
        "v": v,
        "slow": slow,
        "who": F.cross_entropy(who, batch.speaker),
        "facts": (networks.facts(embedding * WIDE)[:, 1:] - batch.targets[:, 1:]).abs().mean(),
    }


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp(min=1)


def timbre_loss(error: Tensor, voiced: Tensor) -> Tensor:
    """Return the mean absolute error of each utterance's average over its voiced frames.

    `error`: (batch, n_mels, frames); `voiced`: (batch, frames). A voice is known by where its
    vowels resonate, which a loss by frames hardly feels: its errors there are a tenth of all.
    """
    weight = voiced.unsqueeze(1)
    average = (error * weight).sum(dim=-1) / weight.sum(dim=-1).clamp(min=1)
    return average.abs().mean()


def denoising_losses(
    unet: MelUNet,
    batch: Batch,
    given: tuple[Tensor, Tensor, Tensor],
    noise: DDPMScheduler,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Return mean square errors of `v` on a random piece of each utterance's residual.

    Of every frame, and of the average over the piece: what does not change with time is the voice.
    """
    mean, hidden, voice = given
    count, device = len(batch.mel), batch.mel.device
    span = min(PIECE, int(batch.lengths.min()) // 4 * 4)
    spare = (batch.lengths.cpu() - span).clamp(min=0)
    first = (torch.rand(count, generator=generator) * (spare + 1)).long()
    index = (first.unsqueeze(1) + torch.arange(span)).unsqueeze(1).to(device)

    def piece(x: Tensor) -> Tensor:
        return x.gather(2, index.expand(count, x.shape[1], span))

    residual = piece(batch.mel - mean)
    with torch.no_grad():
        deviation = residual.pow(2).mean(dim=(0, 2)).sqrt()
        unet.residual_scale.mul_(SCALE_MEMORY).add_(deviation * (1 - SCALE_MEMORY))
    clean = residual / unet.residual_scale[:, None]
    blank = torch.randn(clean.shape, generator=generator).to(device)
    timestep = torch.randint(1000, (count,), generator=generator).to(device)
    noisy = noise.add_noise(clean, blank, timestep)
    wanted = noise.get_velocity(clean, blank, timestep)
    dropped = (torch.rand(count, generator=generator) < DROPPED).to(device)
    told = unet(noisy, timestep, piece(mean), piece(hidden), voice, dropped=dropped)
    return F.mse_loss(told, wanted), (told - wanted).mean(dim=-1).square().mean()
