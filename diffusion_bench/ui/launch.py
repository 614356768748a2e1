"""The server: address, password, share link, and a clean end."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusion_bench.ui.address import OwnNames, free_port, is_loopback

if TYPE_CHECKING:
    import gradio as gr

    from diffusion_bench.ui.outbox import Outbox

REPORTS_VARIABLE = "DIFFUSION_BENCH_REPORTS"
ENDING = ("SIGTERM", "SIGHUP")  # signals that end a program; Windows has no SIGHUP
SAMPLE_EVERY_S = 1.0
KEPT_READINGS = 300
QUEUE_SIZE = 32
SESSIONS = 400  # that the server remembers, a megabyte each; who was away longest is forgotten
GUEST = "guest"


def launch(
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    share: bool = False,
    auth: str | None = None,
    device: str | None = None,
    reports: Path | None = None,
) -> None:
    """Serve the app until it is interrupted; raise ValueError for what cannot be served."""
    options: dict[str, Any] = {"host": host, "port": port, "share": share, "auth": auth}
    try:
        with ended_as_by_ctrl_c(), serving(**options, device=device, reports=reports) as page:
            threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
            while page.is_running:
                time.sleep(0.5)
    except KeyboardInterrupt:
        _say("Ended.")


def _say(words: str) -> None:
    """Print words of the end."""
    with contextlib.suppress(OSError):  # the terminal may be closed
        print(words, flush=True)


def _say_waiting(num_jobs: int) -> None:
    jobs = "1 job" if num_jobs == 1 else f"{num_jobs} jobs"
    _say(f"Ending: waiting for {jobs} to stop.")


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let a signal that would end the process at once end the block instead, so that it cleans up.

    Only the first one: a terminal that is closed may send two, and the second would cut that short.
    One that is ignored, as under `nohup`, stays so.
    """
    numbers = [getattr(signal, name) for name in ENDING if hasattr(signal, name)]
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    def set_all(handler: Any) -> None:
        for number in ours:
            signal.signal(number, handler)

    def end(*_: object) -> None:
        set_all(signal.SIG_IGN)
        raise KeyboardInterrupt

    set_all(end)
    try:
        yield
    finally:
        set_all(signal.SIG_DFL)


@contextmanager
def serving(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    share: bool = False,
    auth: str | None = None,
    device: str | None = None,
    reports: Path | None = None,
) -> Iterator[gr.Blocks]:
    """Serve the app while the `with` block runs; its jobs end with it. Port 0 takes a free one."""
    folder = reports_folder(reports)
    login = parse_auth(auth)
    shared = is_shared(host, share=share, login=login)
    port = free_port(host, port)
    if share and login is None:
        login = (GUEST, secrets.token_urlsafe(16))
        print(f"Ask your guests for user {login[0]!r}, password {login[1]}", flush=True)
    # Before Gradio is imported: it would otherwise report to its makers.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    with ExitStack() as stack:
        page = _build(stack, device=device, reports=folder, shared=shared)
        stack.callback(_close, page)  # also where it starts and does not answer
        _start(page, host=host, port=port, share=share, login=login, shared=shared)
        _announce(page, host=host, share=share, login=login)
        yield page


def _close(page: gr.Blocks) -> None:
    if page.is_running:
        page.close(verbose=False)


def parse_auth(auth: str | None) -> tuple[str, str] | None:
    """Return user and password of "USER:PASSWORD"; raise ValueError for another form."""
    if auth is None:
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise ValueError(
            "--auth takes USER:PASSWORD, neither of them empty, as in ann:correct-horse"
        )
    return user, password


def is_shared(host: str, *, share: bool, login: tuple[str, str] | None) -> bool:
    """Return whether others than the machine's owner are to use the app, who then are its guests.

    So is who a password is asked of: behind a tunnel or a proxy all come from this machine.
    """
    return share or login is not None or not is_loopback(host)


def reports_folder(reports: Path | None) -> Path:
    """Return where reports lie, there or not; ValueError where none can be or can be read."""
    folder = reports or Path(os.environ.get(REPORTS_VARIABLE) or "reports")
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise ValueError(f"reports cannot lie in {folder}: {place} is a file, not a folder")
    if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
        raise ValueError(f"the reports in {folder} cannot be read: no permission")
    return folder


def _build(stack: ExitStack, *, device: str | None, reports: Path, shared: bool) -> gr.Blocks:
    outbox = _outbox(stack)  # before Gradio is imported: it makes a folder where uploads go
    from diffusion_bench.backends.device import cached_file
    from diffusion_bench.backends.engine import Engine
    from diffusion_bench.hardware.sensors import open_sensor
    from diffusion_bench.hardware.shared_sampler import SharedSampler
    from diffusion_bench.reports.index import INDEX_NAME, ReportIndex
    from diffusion_bench.ui.build import build
    from diffusion_bench.ui.hardware import Machine
    from diffusion_bench.ui.jobs import Jobs
    from diffusion_bench.ui.report_files import ReportFolder
    from diffusion_bench.ui.visitors import visitor

    sensor = stack.enter_context(closing(open_sensor()))
    sampler = stack.enter_context(
        closing(SharedSampler(sensor, SAMPLE_EVERY_S, keep=KEPT_READINGS))
    )
    jobs = Jobs(visitor if shared else None)
    stack.callback(jobs.close, _say_waiting)
    return build(
        Engine(device),
        reports_folder=ReportFolder(reports, ReportIndex(cached_file(INDEX_NAME))),
        machine=Machine(sensor, sampler),
        jobs=jobs,
        outbox=outbox,
        shared=shared,
    )


def _outbox(stack: ExitStack) -> Outbox:
    """Return the outbox; what visitors upload lies in the same folder, unless its owner says where.

    There too in a folder of its own: nothing of theirs is left when the app ends.
    """
    from diffusion_bench.ui.intake import UPLOADS_VARIABLE
    from diffusion_bench.ui.outbox import Outbox
    from diffusion_bench.ui.own_folder import own_folder
    from diffusion_bench.ui.upkeep import kept_up

    home = stack.enter_context(own_folder(Path(tempfile.gettempdir())))
    given = os.environ.get(UPLOADS_VARIABLE)
    around = stack.enter_context(own_folder(Path(given).absolute())) if given else home
    served = around / "gradio"
    if given:
        stack.callback(os.environ.update, {UPLOADS_VARIABLE: given})
    else:
        stack.callback(os.environ.pop, UPLOADS_VARIABLE)
    os.environ[UPLOADS_VARIABLE] = str(served)
    folders = home / "outbox", served / "previews"
    for folder in folders:
        folder.mkdir(parents=True)
    stack.enter_context(kept_up(served))
    return Outbox(*folders)


def _start(
    page: gr.Blocks,
    *,
    host: str,
    port: int,
    share: bool,
    login: tuple[str, str] | None,
    shared: bool,
) -> None:
    from starlette.middleware import Middleware

    from diffusion_bench.charts.plot_height import KEEPS_HEIGHT
    from diffusion_bench.ui.intake import Intake
    from diffusion_bench.ui.logins import NOTICE, Logins
    from diffusion_bench.ui.self_check import launch_page
    from diffusion_bench.ui.style import HEAD, make_theme

    # Not `api_open`: it would let callers pass by the queue.
    page.queue(api_open=False, max_size=QUEUE_SIZE, default_concurrency_limit=2)
    guards = [Middleware(Logins)] if login else []
    guards += [Middleware(Intake if shared else OwnNames)]
    said = io.StringIO()
    options: dict[str, Any] = {
        "allowed_paths": [],
        "max_file_size": "64mb",
        "state_session_capacity": SESSIONS,
        # FastAPI tells all paths to who has no password, too.
        "app_kwargs": {"openapi_url": None, "middleware": guards},
        "enable_monitoring": False,
        "run_history": not shared,
        "show_error": not shared,
        "footer_links": ["settings"] if shared else ["api", "settings", "runs"],
        "ssr_mode": False,
    }
    # Gradio explains a missing tunnel in a paragraph, and prints it whatever `quiet` is.
    with contextlib.redirect_stdout(said):
        launch_page(
            page,
            server_name=host,
            server_port=port,
            share=share,
            auth=login,
            auth_message=NOTICE,
            prevent_thread_lock=True,
            quiet=True,
            inbrowser=False,
            theme=make_theme(),
            head=HEAD + KEEPS_HEIGHT,
            **options,
        )
    if share and page.share_url is None and "Checksum" in said.getvalue():
        _forget_tunnel_program()


def _announce(page: gr.Blocks, *, host: str, share: bool, login: tuple[str, str] | None) -> None:
    print(f"Diffusion Bench is at {page.local_url}", flush=True)
    if page.share_url is not None:
        print(f"Shared at {page.share_url} for up to a week, while this runs.", flush=True)
    elif share:
        print(
            "No share link: the tunnel could not be had (no network, or the tunnel's program could "
            "not be fetched). The app is served at the address above only.",
            flush=True,
        )
    if login is None and not is_loopback(host):
        print(
            f"Warning: anybody who reaches {host} can use this app; --auth USER:PASSWORD asks "
            "for a password.",
            flush=True,
        )


def _forget_tunnel_program() -> None:
    """Remove a tunnel program with a wrong checksum: Gradio checks it after a download only."""
    from gradio.tunneling import BINARY_PATH

    Path(BINARY_PATH).unlink(missing_ok=True)


def _warm_up() -> None:
    """Import what the first picture and the first chart need, while nobody waits for it."""
    from diffusion_bench.backends.first_import import import_libraries

    import_libraries()
    import diffusion_bench.backends.images
    import diffusion_bench.charts.page  # noqa: F401
