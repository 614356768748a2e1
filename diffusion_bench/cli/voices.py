"""The commands that speak: clone, voices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from diffusion_bench.cli import voice_options as options
from diffusion_bench.cli.refusals import refuse_beside
from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from pathlib import Path

    from diffusion_bench.cli.cloning import Cloning
    from diffusion_bench.cli.voice_settings import Settings, Source


def clone(
    reference: options.ReferenceFile = None,
    voice: options.VoiceName = None,
    transcript: options.Transcript = None,
    text: options.Text = None,
    text_file: options.TextFile = None,
    model: options.Model = None,
    sampler: options.Sampler = None,
    steps: options.Steps = None,
    guidance: options.Guidance = None,
    temperature: options.Temperature = None,
    eta: options.Eta = None,
    speed: options.Speed = None,
    seed: options.Seed = None,
    candidates: options.Candidates = None,
    precision: options.Precision = None,
    vocoder: options.Vocoder = None,
    device: options.Device = None,
    judge: options.Judge = False,
    against_steps: options.AgainstSteps = None,
    out: options.Out = None,
    consent: options.Consent = False,
    no_watermark: options.NoWatermark = False,
    save_voice: options.SaveVoice = None,
    batch: options.Batch = None,
    overwrite: options.Overwrite = False,
    recipe: options.Recipe = None,
) -> None:
    """Say a text in the voice of a recording, or in one of the sample voices.

    diffusion-bench clone --voice ada --text "Good morning." --out morning.wav

    diffusion-bench clone --reference me.wav --text "Good morning." --yes-i-have-consent

    diffusion-bench clone --batch lines.csv --yes-i-have-consent

    diffusion-bench clone --from morning.wav --out again.wav
    """
    from diffusion_bench.cli.cloning import Cloning
    from diffusion_bench.cli.voice_settings import Settings, Source

    settings = Settings(
        model=model,
        sampler=sampler,
        steps=steps,
        guidance_scale=guidance,
        temperature=temperature,
        eta=eta,
        speed=speed,
        seed=seed,
        batch=candidates,
        precision=precision,
        vocoder=vocoder,
    )
    source = Source(reference=reference, voice=voice, transcript=transcript, consent=consent)
    cloning = Cloning(device, watermark=not no_watermark, judge=judge, against_steps=against_steps)
    told = {"--text": text, "--text-file": text_file, "--save-voice": save_voice}
    if batch is not None:
        refuse_beside("--batch", {**told, "--out": out, "--from": recipe, **source.recorded()})
        _speak_rows(cloning, batch, settings, source, overwrite=overwrite)
    elif overwrite:
        raise ValueError("--overwrite belongs to --batch; one text always replaces --out")
    elif recipe is not None:
        own = {"--no-watermark": no_watermark or None}
        refuse_beside("--from", {**told, **settings.given(), **own})
        cloning.speak_again(recipe, source, out)
    else:
        cloning.speak(_text(text, text_file), settings, source, out, save_as=save_voice)


def _text(text: str | None, file: Path | None) -> str:
    import sys

    if (text is None) == (file is None):
        raise ValueError("say what to speak by --text or by --text-file, one of them")
    if file is None:
        return text or ""
    if str(file) == "-" and sys.stdin is None:  # as `<&-` leaves it
        raise ValueError("--text-file -: the standard input is closed")
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return content.decode("utf-8-sig")
    except OSError as error:
        raise ValueError(f"--text-file {file}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"--text-file {file}: not UTF-8 text") from None


def _speak_rows(
    cloning: Cloning, file: Path, settings: Settings, source: Source, *, overwrite: bool
) -> None:
    """Speak each row; say what was wrong with those that failed, and end with 2 if any did."""
    from diffusion_bench.cli.batch_rows import perform_rows, read_rows
    from diffusion_bench.cli.cloning import candidate_files
    from diffusion_bench.cli.voice_settings import CONSENT

    # First: the files of a row are as many as there are candidates.
    settings.request("What is wrong with every row is said once.")
    optional = ("reference", "voice", "transcript", "seed")
    rows = read_rows(
        file,
        needed=("text", "out"),
        optional=optional,
        files_of=lambda out: candidate_files(out, settings.batch or 1),
        sources=("reference",),
    )
    if any("reference" in row.fields for row in rows) and not source.consent:
        raise ValueError(CONSENT)
    cloning.judges()  # whose weights may be missing, which is said once too
    perform_rows(
        rows,
        lambda row: cloning.speak_row(row, settings, source),
        done="spoken",
        keep=not overwrite,
        # Written last, and of fewer candidates where some said nothing.
        is_done=lambda row: row.files[0].is_file(),
    )


def voices(
    delete: Annotated[str | None, typer.Option(help="Delete a saved voice.")] = None,
) -> None:
    """List the voices that can be named: the bundled ones and those you saved.

    diffusion-bench voices

    diffusion-bench voices --delete mum
    """
    from diffusion_bench.backends.voice.voices import delete_voice, list_voices, unlisted_voices

    if delete is not None:
        delete_voice(delete)
        typer.echo(f"deleted the saved voice {delete}")
        return
    for voice in list_voices():
        facts = (
            voice.source,
            voice.title,
            f"for {voice.model}" if voice.model else "",
            f"saved {voice.created_utc}" if voice.created_utc else "",
            voice.licence or "",
        )
        typer.echo(f"{voice.name}: {', '.join(filter(None, facts))}")
    for complaint in unlisted_voices():
        tell(f"note: left out: {complaint}")
