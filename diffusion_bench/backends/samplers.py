"""Which samplers a model can be drawn with, and why it cannot with the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from diffusion_bench.backends.catalog import ModelEntry, cached_folder
from diffusion_bench.backends.model_sizes import SCHEDULE, read_settings
from diffusion_bench.backends.pipeline_names import why_not_run
from diffusion_bench.records import Record, SamplerName

TITLES: dict[SamplerName, str] = {
    "ddim": "DDIM",
    "ddpm": "DDPM",
    "ddpm-large": "DDPM, larger variance",
    "dpm++": "DPM++ 2M",
    "euler": "Euler",
    "unipc": "UniPC",
    "lcm": "LCM",
    "native": "Native",
}
LCM_NOTE = "made for models distilled as latent consistency models; others draw blurs with it"


class SamplerChoice(Record):
    """A sampler for one model. `reason`: why it cannot be chosen, `None` where it can."""

    name: SamplerName
    title: str
    reason: str | None = None
    note: str = ""


def allowed_samplers(entry: ModelEntry) -> tuple[SamplerChoice, ...]:
    """Return every sampler, each with the reason, in one line, where the model excludes it.

    Its own files are read; without them what the catalog says counts, and of a model that nothing
    is known of all are allowed.
    """
    config = schedule_of(entry)
    own = f"{config['_class_name']}, as the model came" if "_class_name" in config else "as it came"
    notes = {"lcm": LCM_NOTE, "native": own}
    return tuple(
        SamplerChoice(
            name=name,
            title=TITLES[name],
            reason=_why_not(entry, config, name),
            note=notes.get(name, ""),
        )
        for name in get_args(SamplerName)
    )


def check_sampler(entry: ModelEntry, sampler: SamplerName, steps: int) -> None:
    """Raise ValueError, before a model is fetched or loaded, for a sampler that is not for it.

    Nor may the sampler take fewer than so many steps.
    """
    reason = _why_not(entry, schedule_of(entry), sampler, steps)
    if reason is not None:
        raise ValueError(reason)


def _why_not(
    entry: ModelEntry, config: Mapping[str, Any], sampler: SamplerName, steps: int = 0
) -> str | None:
    """Return why a model's schedule or its pipeline excludes a sampler, `None` if neither does."""
    from diffusion_bench.diffusion.schedulers import scheduler_class, why_not

    if reason := why_not(sampler, config, steps):
        return reason
    scheduler = scheduler_class(sampler, config)
    return why_not_run(entry.pipeline, scheduler, steps) if scheduler else None


def schedule_of(entry: ModelEntry) -> Mapping[str, Any]:
    """Return the configuration of a model's scheduler, or as much as is known before it is here."""
    folder = cached_folder(entry)
    if folder is not None and (found := read_settings(folder / SCHEDULE)):
        return found
    if entry.scheduler:
        flow = entry.prediction == "flow"
        return {
            "_class_name": entry.scheduler,
            **({"use_flow_sigmas": True} if flow else {"beta_schedule": "scaled_linear"}),
        }
    return {"beta_schedule": "scaled_linear"}
