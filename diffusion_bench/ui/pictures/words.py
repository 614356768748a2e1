"""What the tab *Text to image* says of a picture that is drawn, and of one that is done."""

from __future__ import annotations

from statistics import median

from diffusion_bench.records import Generation, Step


def step_line(step: Step, number: int = 0, rounds: int = 1) -> str:
    """Return which step is done and about how long the rest of all rounds takes."""
    done = step.index + 1
    left = step.num_steps - done + (rounds - number - 1) * step.num_steps
    left_s = step.elapsed_s / done * left
    which = f" of round {number + 1} of {rounds}" if rounds > 1 else ""
    return f"Step {done} of {step.num_steps}{which}, about {left_s:.0f} s left."


def summary(generation: Generation) -> str:
    """Return times, by stage and by step, and the peak memory in one line."""
    stages, memory = generation.stages, generation.memory
    step_ms = 1000 * median(generation.step_s) if generation.step_s else 0.0
    parts = [
        f"{generation.wall_s:.2f} s on {generation.device}",
        f"text encoder {stages.text_encoder_s:.3f} s",
        f"denoising {stages.denoising_s:.2f} s ({step_ms:.1f} ms a step)",
        f"decoder {stages.decoder_s:.3f} s",
        f"other, with previews, {stages.other_s:.2f} s",
    ]
    if memory.torch_allocated_mib is not None:
        parts.append(f"peak GPU memory {memory.torch_allocated_mib:.0f} MiB")
    elif memory.rss_mib is not None:
        parts.append(f"peak memory of the app {memory.rss_mib:.0f} MiB")
    else:
        parts.append(f"peak memory unknown ({memory.missing.get('rss_mib', 'not measured')})")
    return " · ".join(parts)


def notes(generation: Generation) -> list[str]:
    """Return what is to be said of a generation beside its times, a line each."""
    said = [f"Note: {warning}" for warning in generation.warnings]
    said += [f"Note: {note}" for note in getattr(generation, "notes", ())]
    request = generation.request
    if request.variation_seed is not None:
        said.append(
            f"Varied by {request.variation_strength:g} towards seed {request.variation_seed}."
        )
    return said
