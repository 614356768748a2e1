"""The real server, asked by `gradio_client` and by plain HTTP."""

from __future__ import annotations

import concurrent.futures
import os
import re
from pathlib import Path

import httpx
import pytest
from fake_voices import make_reference
from gradio import Markdown
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from ui_server import VALUES, busy_device, is_free, read_bytes, served, status_of, wait_until

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.pictures import read_request
from diffusion_bench.backends.voice.voices import BUNDLED_FOLDER, delete_voice, save_voice
from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.ui import launch
from diffusion_bench.ui.logins import MOST_OF_ONE

STEP = find_model(BUNDLED_MODEL).multiple


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The folders of the server, which outlives the folders that each test gets."""
    return tmp_path_factory.mktemp("served")


@pytest.fixture(autouse=True)
def _folders_of_the_server(home, uploads, monkeypatch):
    set_folders(home, monkeypatch)
    monkeypatch.setenv("GRADIO_TEMP_DIR", uploads)


@pytest.fixture(scope="module")
def page(home):
    with pytest.MonkeyPatch.context() as patch:
        set_folders(home, patch)
        with served(reports=home / "reports") as page:
            yield page


@pytest.fixture(scope="module")
def uploads(page):
    """The folder that the server made for what it takes in and hands out."""
    return os.environ["GRADIO_TEMP_DIR"]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The app behind a password; its user is Ann."""
    with served(auth="ann:correct-horse", reports=tmp_path_factory.mktemp("guarded")) as page:
        yield page


def set_folders(home, patch):
    for variable in ("DIFFUSION_BENCH_CACHE", "DIFFUSION_BENCH_VOICES", "GRADIO_TEMP_DIR"):
        patch.setenv(variable, str(home / variable.lower()))


@pytest.fixture
def client(page, tmp_path):
    client = Client(page.local_url, verbose=False, download_files=str(tmp_path))
    yield client
    client.close()


def asked(**changed):
    return list((VALUES | changed).values())


def test_a_picture_comes_as_the_file_that_was_saved(client):
    pictures, _, status, seed, *_ = client.predict(*asked(), api_name="/generate")

    request = read_request(Path(pictures[0]["image"]))
    names = ("prompt", "sampler", "steps", "seed", "width", "height")
    assert request == ImageRequest(**{name: VALUES[name] for name in names})
    assert " s on cpu" in status
    assert seed == "7"


def test_a_program_tells_only_what_it_changes_and_finds_each_call_described_and_named(client):
    calls = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    must = {
        name: [p for p in call["parameters"] if not p["parameter_has_default"]]
        for name, call in calls.items()
    }
    must = {name: [p["parameter_name"] for p in given] for name, given in must.items() if given}
    names = {p["parameter_name"] for call in calls.values() for p in call["parameters"]}

    assert must == {
        "/read_settings": ["path"],
        "/read_voice_settings": ["path"],
        "/examine": ["path"],
        "/resume_sweep": ["name"],
    }
    assert {"text", "workloads", "tariff"} < names
    assert [name for name in (*calls, *names) if re.search(r"_\d+$", name)] == []
    assert [name for name, call in calls.items() if not call["description"]] == []
    assert " s on cpu" in client.predict(prompt="a cat", steps=1, api_name="/generate")[2]


def test_previews_are_served_where_they_lie_and_are_not_gathered(client, home, monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_EVERY_S", 0.0)
    monkeypatch.setattr("diffusion_bench.ui.pictures.previews.PREVIEW_SHARE", 1.0)
    copies = home / "gradio_temp_dir"
    before = set(copies.rglob("*.*g"))

    job = client.submit(*asked(steps=8), api_name="/generate")
    job.result(timeout=60)

    galleries = [update[0] for update in job.outputs() if isinstance(update[0], list)]
    shown = {Path(item["image"]).name for gallery in galleries for item in gallery}
    added = set(copies.rglob("*.*g")) - before
    previews = {path for path in added if "previews" in path.parts}
    assert {path.name for path in previews} == {f"preview-{n}.jpg" for n in range(1, 8)} < shown
    assert [path.name for path in added - previews] == ["picture-seed-7.png"]


def test_the_same_seed_gives_the_same_bytes(client):
    first, again, other = (
        read_bytes(client.predict(*asked(seed=seed), api_name="/generate")[0]) for seed in (3, 3, 4)
    )

    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"width": 70}, f"width 70 is not a multiple of {STEP}, as this model needs; the nearest"),
        ({"prompt": ""}, "the prompt is empty"),
        ({"model": "nowhere"}, "unknown model 'nowhere'"),
        ({"model": "some/body"}, "could not be fetched from the hub"),
        ({"eta": 0.5, "steps": 0}, "0"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(client, changed, said):
    with pytest.raises(AppError) as refused:
        client.predict(*asked(**changed), api_name="/generate")

    assert said in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert "\n" not in str(refused.value).strip()


def test_a_second_generation_waits_for_the_device(client):
    with busy_device():
        job = client.submit(*asked(), api_name="/generate")
        wait_until(lambda: _said(job, "Waiting for the device"), "the wait is said")
        assert not job.done()

    assert job.result(timeout=60)[0]


def test_a_cancelled_generation_frees_the_device(client):
    job = client.submit(*asked(steps=1000), api_name="/generate")
    wait_until(lambda: _said(job, "Step"), "it draws")
    assert not is_free()

    job.cancel()

    wait_until(is_free, "the device is free", limit_s=10)


def test_settings_come_back_from_an_uploaded_picture(client):
    pictures = client.predict(*asked(steps=3, sampler="ddpm", noise_seed=5), api_name="/generate")[
        0
    ]

    fields = client.predict(handle_file(pictures[0]["image"]), api_name="/read_settings")

    given = VALUES | {"steps": 3, "sampler": "ddpm", "noise_seed": 5}
    names = [name for name in given if name in ImageRequest.model_fields]
    assert list(fields) == [given[name] for name in (*names, "style", "rounds")]


def test_a_recording_goes_when_its_page_is_closed(page, home):
    at, handler = next(
        (at, one)
        for at, one in page.fns.items()
        if getattr(one.fn, "__name__", "") == "on_recording"
    )
    with (
        httpx.Client(base_url=f"{page.local_url}gradio_api/", timeout=60) as visitor,
        visitor.stream("GET", "heartbeat/me") as alive,
    ):
        lines = alive.iter_lines()  # dropped, it would end the page
        next(lines)
        file = ("mine.flac", (BUNDLED_FOLDER / "ben.flac").read_bytes())
        (path,) = visitor.post("upload", files={"files": file}).json()
        given = [{"path": path, "meta": {"_type": "gradio.FileData"}}]
        given += [None] * (len(handler.inputs) - 1)
        asked = {"fn_index": at, "data": given, "session_hash": "me"}
        said = visitor.post("run/predict", json=asked).json()["data"]
        assert "s of speech in" in said[1]
        assert Path(path).exists()

    held = page.state_holder["me"].state_data
    wait_until(lambda: not list(home.rglob("mine*")), "the recording is gone", limit_s=20)
    wait_until(lambda: held[handler.outputs[0]._id] is None, "and what was heard in it", limit_s=20)


def test_a_voice_that_is_saved_or_deleted_elsewhere_is_so_on_an_open_page(page):
    arrivals = [
        at for at, one in page.fns.items() if getattr(one.fn, "__name__", "") == "on_arrive"
    ]
    events = {name for at in arrivals for _, name in page.fns[at].targets}
    assert events == {"load", "select"}

    def arrive(chosen):
        """Return what a page that has chosen a voice is told when somebody comes to it."""
        asked = {"fn_index": arrivals[0], "data": [chosen], "session_hash": "lister"}
        url = f"{page.local_url}gradio_api/run/predict"
        told = httpx.post(url, json=asked, timeout=60).json()
        return told["data"][0] if "data" in told else told["error"]

    def listed(update):
        return [name for _, name in update["choices"]]

    assert "choices" not in arrive("ada"), "a list that is as it was is let be"
    save_voice("mum", make_reference())
    told = arrive("ada")
    assert "mum" in listed(told)
    assert told["value"] == "ada"
    assert "choices" not in arrive("mum")

    delete_voice("mum")
    told = arrive("mum")
    assert "mum" not in listed(told)
    assert told["value"] == "ada"


def test_no_call_passes_by_the_queue(page):
    assert status_of(f"{page.local_url}gradio_api/run/generate", {"data": asked()}) == 404


def test_calls_at_the_same_time_draw_one_after_the_other(client, monkeypatch):
    from diffusion_bench.backends.images import ImageBackend

    drawing, most = [], []
    draw = ImageBackend.generate

    def watched(self, request, *rest, **options):
        drawing.append(request.seed)
        most.append(len(drawing))
        try:
            return draw(self, request, *rest, **options)
        finally:
            drawing.remove(request.seed)

    monkeypatch.setattr(ImageBackend, "generate", watched)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        jobs = [
            pool.submit(client.predict, *asked(seed=seed), api_name="/generate")
            for seed in range(3)
        ]
        results = [job.result(timeout=120) for job in jobs]

    assert all(result[0] for result in results)
    assert most == [1, 1, 1]


@pytest.mark.parametrize("path", ["/etc/passwd", __file__])
def test_the_servers_files_are_not_handed_out(page, path):
    assert status_of(f"{page.local_url}gradio_api/file={path}") in (403, 404)


def test_a_report_is_opened_by_name_only(client, tmp_path):
    secret = tmp_path / "secret.jsonl"
    secret.write_text("{}")

    words = client.predict([str(secret), "../x.jsonl"], None, api_name="/open_reports")[0]

    assert words.count("there is no report") == 2


def test_what_the_bars_boxes_and_lines_of_charts_stand_for_is_said_in_every_tab(page):
    texts = [block.value for block in page.blocks.values() if isinstance(block, Markdown)]
    said = "\n".join(filter(None, texts))
    times = {"latency": 2, "throughput": 2, "memory": 2}  # the tab Benchmark has them too
    for name in ("latency", "throughput", "memory", "step-times", "roofline", "quality"):
        assert said.count(CAPTIONS[name]) == times.get(name, 1), name
    assert CAPTIONS["bars"] in said
    assert CAPTIONS["gains"] in said


def test_who_goes_from_heading_to_heading_finds_no_level_left_out(page):
    texts = [block.value for block in page.blocks.values() if isinstance(block, Markdown)]
    lines = "\n".join(filter(None, texts)).splitlines()
    levels = [line.partition(" ")[0] for line in lines if line.startswith("#")]
    assert levels.count("#") == 1
    assert levels.count("##") == len(levels) - 1 > 10


def test_nothing_is_served_without_the_password_and_who_has_it_is_a_guest(guarded):
    for path in ("config", "gradio_api/info", "gradio_api/file=/etc/passwd"):
        assert status_of(guarded.local_url + path) == 401
    client = Client(guarded.local_url, auth=("ann", "correct-horse"), verbose=False)
    assert client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    client.close()
    model = next(block for block in guarded.blocks.values() if block.elem_id == "t2i-model")
    assert not model.allow_custom_value  # of a folder of this machine, or of the hub


def test_a_guest_without_the_password_is_told_no_paths_and_one_with_it_sends_no_endless_request(
    guarded,
):
    with httpx.Client(base_url=guarded.local_url, trust_env=False) as guest:
        assert guest.get("openapi.json").status_code == 404
        login = {"username": "ann", "password": "correct-horse"}
        assert guest.post("login", data=login | {"more": "a" * 2**21}).status_code == 413
        assert guest.post("login", data=login).status_code == 200
        asked = {"data": ["a" * 2**21], "fn_index": 0, "session_hash": "s"}
        assert guest.post("gradio_api/queue/join", json=asked).status_code == 413
        everything = "gradio_api/call/upload"
        assert guest.post(everything, json=asked).status_code == 413
        assert guest.get("gradio_api/deep_link?session_hash=s").status_code == 404
        assert guest.get("config", headers={"Host": "demo.example"}).status_code == 200


def test_a_password_is_not_to_be_guessed_and_who_is_in_stays_in(tmp_path):
    with (
        served(auth="ann:correct-horse", reports=tmp_path) as page,
        httpx.Client(base_url=page.local_url, trust_env=False) as guest,
    ):

        def log_in(password):
            return guest.post("login", data={"username": "ann", "password": password}).status_code

        assert log_in("correct-horse") == 200
        assert [log_in(f"{number}") for number in range(MOST_OF_ONE)] == [400] * MOST_OF_ONE
        assert log_in("correct-horse") == 429
        assert guest.get("config").status_code == 200


def test_a_page_of_another_site_is_not_the_owner(page):
    url = f"{page.local_url}config"
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 403
    assert httpx.get(url).status_code == 200


def test_no_more_pages_are_remembered_than_memory_has_room_for(tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "SESSIONS", 3)
    with (
        served(reports=tmp_path) as page,
        httpx.Client(base_url=page.local_url, trust_env=False) as guest,
    ):
        number = next(key for key, fn in page.fns.items() if fn.api_name == "for_guidance")
        for visit in range(9):
            asked = {"data": [1], "fn_index": number, "session_hash": f"s{visit}"}
            assert guest.post("gradio_api/run/predict", json=asked).status_code == 200
        assert len(page.state_holder.session_data) <= 3


def _said(job, words):
    return any(words in str(update[2]) for update in job.outputs())
