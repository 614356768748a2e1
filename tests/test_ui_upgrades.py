"""The tab Tiers without its page: what a question's answer holds, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import test_reports_shared
from fakes import make_cell, make_header

from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.hardware.sensors import GpuInfo, uuid_hash
from diffusion_bench.reports import index
from diffusion_bench.reports.index import ReportIndex
from diffusion_bench.reports.store import to_line
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.tier_fields import FIT_WIDTHS
from diffusion_bench.ui.tiers import to_updates
from diffusion_bench.ui.upgrades import (
    ALL,
    CHOSEN,
    HERE,
    MAX_WORKLOADS,
    NONE,
    Question,
    Upgrades,
    View,
    card_choices,
    check_path,
    shipped_text,
    to_question,
    workload_choices,
)

SECONDS = "seconds an image"
SD15 = "sd15 512x512 b4 fp16 20"
UUID = "GPU-1234"
PAIR = '[[tier]]\nname = "two"\ngpu = "RTX 4090"\ncount = 2\nram_gib = 64\ncores = 12\n'


def machine(gpu: str | None = None, memory_mib: float = 12282.0) -> MachineInfo:
    gpus = (GpuInfo(index=0, name=gpu, uuid=UUID, memory_total_mib=memory_mib),) if gpu else ()
    return MachineInfo(
        os="Linux",
        architecture="x86_64",
        cpu="Test CPU",
        cores_logical=4,
        ram_mib=16000.0,
        gpus=gpus,
        no_gpu=None if gpu else "no NVIDIA GPU: the driver is not installed",
    )


def write(
    path: Path, seconds: float = 8.0, mine: bool = False, labels: tuple[str, ...] = ()
) -> Path:
    cell = make_cell(
        wall_s=(seconds,) * 3,
        model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        width=512,
        height=512,
        batch=4,
        steps=20,
        precision="fp16",
    )
    header = make_header(gpu="NVIDIA GeForce RTX 4070 Ti", cells=[cell.request])
    if mine:
        gpu = header.machine.gpus[0].model_copy(update={"uuid_hash": uuid_hash(UUID)})
        known = header.machine.model_copy(update={"gpus": (gpu,)})
        header = header.model_copy(update={"machine": known})
    cell = cell.model_copy(update={"labels": labels})
    path.write_bytes(to_line(header) + to_line(cell))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "reports").mkdir()
    return tmp_path / "reports"


@pytest.fixture
def upgrades(tmp_path, folder):
    return make(tmp_path, folder)


def make(
    tmp_path, folder, gpu: str | None = None, index_file: ReportIndex | None = None
) -> Upgrades:
    (tmp_path / "outbox").mkdir(exist_ok=True)
    outbox = Outbox(tmp_path / "outbox")
    index_file = index_file or ReportIndex(tmp_path / "index")
    return Upgrades(ReportFolder(folder), index_file, outbox, lambda: machine(gpu))


def ask(**given) -> Question:
    return Question(**({"path": shipped_text(), "workloads": (SD15,)} | given))


def first(upgrades: Upgrades, question: Question) -> View:
    return next(iter(upgrades.views(question, SECONDS)))


def kinds(view: View) -> set[str]:
    return {row[3] for row in view.bars.table["data"]}


def six_read_by_two(monkeypatch, folder):
    """Write six reports, of which an answer reads two, at once, and waits for no more."""
    monkeypatch.setattr(index, "ALWAYS_READ", 2)
    monkeypatch.setattr("diffusion_bench.ui.upgrades.PATIENCE_S", 0.0)
    monkeypatch.setattr("diffusion_bench.ui.upgrades.MORE_S", 0.0)
    for number in range(6):
        write(folder / f"{number}.jsonl")


def test_without_reports_everything_is_there_at_once(upgrades) -> None:
    (view,) = upgrades.views(ask(), SECONDS)
    assert view.status.startswith("No report is used")
    assert "After initial build" in view.status
    assert "approximate: set your own" in view.status
    for chart in (view.vram, view.bars, view.gains):
        assert chart.figure.data
        assert chart.table["data"]
    assert len(view.fits["data"]) == len(view.keys) == 3
    assert view.why == upgrades.why(ask(), view.keys[0])
    assert len(to_updates(view)) == 11
    assert view.speech["data"] == []


def test_speech_has_a_table_of_its_own_beside_pictures_and_alone(upgrades) -> None:
    view = first(upgrades, ask(workloads=(SD15, "echo 160chars b1 fp32 25")))
    assert len(view.fits["data"]) == len(view.speech["data"]) == 3
    assert {row[2] for row in view.speech["data"]} == {"echo 10s b1 fp32 25 steps"}
    assert {row[-2] for row in view.speech["data"]} == {"predicted"}
    assert "note: 160 characters read as 10 s of speech of echo" in view.status
    alone = first(upgrades, ask(workloads=("echo 10s",)))
    assert (alone.fits["data"], alone.keys, alone.why) == ([], (), "")
    assert len(alone.speech["data"]) == 3
    assert to_updates(alone)[-1].value["data"] == alone.speech["data"]
    shown, hidden = (to_updates(each)[-1].visible for each in (alone, first(upgrades, ask())))
    assert (shown, hidden) == (True, False)


def test_every_column_of_what_fits_has_a_width(upgrades) -> None:
    assert len(first(upgrades, ask()).fits["headers"]) == len(FIT_WIDTHS)


def test_saved_reports_correct_and_stand_as_evidence(upgrades, folder) -> None:
    write(folder / "a.jsonl")
    view = first(upgrades, ask(use=ALL))
    assert "Rests on 1 report (0 workloads measured on this machine's card, 1 imported" in (
        view.status
    )
    assert "imported report" in kinds(view)
    assert "imported report: 2 s/image" in upgrades.why(ask(use=ALL), view.keys[0])
    assert kinds(first(upgrades, ask(use=NONE))) == {"predicted"}
    by_diffusers = ("sd15 512x512 b4 fp16 50",)  # published of an RTX 4090
    found = first(upgrades, ask(use=NONE, workloads=by_diffusers))
    assert kinds(found) == {"predicted", "published"}


def test_a_report_of_nothing_but_contended_cells_is_said_to_be_left_out(upgrades, folder) -> None:
    write(folder / "a.jsonl", labels=("contended",))
    status = first(upgrades, ask(use=ALL)).status
    assert "Rests on 1 report (0 workloads measured on this machine's card, 0 imported" in status
    assert "1 measured cell left out: 1 contended." in status
    write(folder / "a.jsonl")
    assert "cell left out" not in first(upgrades, ask(use=ALL)).status


def test_reports_can_be_chosen_by_name_and_a_made_up_one_is_refused(upgrades, folder) -> None:
    write(folder / "a.jsonl", 8.0)
    write(folder / "b.jsonl", 16.0)
    key = first(upgrades, ask()).keys[0]
    assert "2 s/image" in upgrades.why(ask(use=CHOSEN, names=("a.jsonl",)), key)
    assert "4 s/image" in upgrades.why(ask(use=CHOSEN, names=("b.jsonl",)), key)
    with pytest.raises(ValueError, match="no report"):
        first(upgrades, ask(use=CHOSEN, names=("../../etc/passwd",)))
    with pytest.raises(ValueError, match="no choice of reports"):
        first(upgrades, ask(use="everything"))


def test_this_machines_report_is_measured_here_and_an_upload_never_is(tmp_path, folder) -> None:
    upgrades = make(tmp_path, folder, "NVIDIA GeForce RTX 4070 Ti")
    mine = write(folder / "mine.jsonl", mine=True)
    assert "measured here" in kinds(first(upgrades, ask(use=ALL)))
    uploaded = first(upgrades, ask(uploads=(str(mine),)))
    assert "imported report" in kinds(uploaded)
    assert "measured here" not in kinds(uploaded)


def test_an_upload_of_two_cards_is_imported_even_where_it_names_the_cards_in_here(
    tmp_path, folder
) -> None:
    uuids = ("GPU-0", "GPU-1")
    header = test_reports_shared.header()
    cards = tuple(
        card.model_copy(update={"uuid_hash": uuid_hash(uuid)})
        for card, uuid in zip(header.machine.gpus, uuids, strict=True)
    )
    named = header.machine.model_copy(update={"gpus": cards})
    header = header.model_copy(update={"machine": named})
    mine = folder / "two.jsonl"
    mine.write_bytes(to_line(header) + to_line(test_reports_shared.cell(head=header)))
    gpus = tuple(
        GpuInfo(index=index, name=card.name, uuid=uuids[index], memory_total_mib=24564.0)
        for index, card in enumerate(cards)
    )
    here = machine().model_copy(update={"gpus": gpus, "no_gpu": None})
    outbox = Outbox(tmp_path)
    upgrades = Upgrades(ReportFolder(folder), ReportIndex(None), outbox, lambda: here)
    asked = ask(path=PAIR, workloads=("sd15 512x512 b8 fp16 20",))

    def together(question: Question) -> str:
        lines = upgrades.why(question, first(upgrades, question).keys[0]).splitlines()
        return next(line for line in lines if "two.jsonl" in line)

    assert "measured here" in together(asked._replace(use=ALL))
    assert "imported report" in together(asked._replace(uploads=(str(mine),)))


def test_a_file_that_is_no_report_is_told_and_stops_no_other(upgrades, folder, tmp_path) -> None:
    write(folder / "good.jsonl")
    (folder / "bad.jsonl").write_text("<html>")
    view = first(upgrades, ask(use=ALL))
    assert "Left out: bad.jsonl" in view.status
    assert "imported report" in kinds(view)


def test_reports_not_read_yet_do_not_keep_the_first_answer_waiting(
    upgrades, folder, monkeypatch
) -> None:
    six_read_by_two(monkeypatch, folder)
    views = list(upgrades.views(ask(use=ALL), SECONDS))
    told = [view.status for view in views if view.vram is None]
    assert told[0].startswith("Reading reports: 4 to go")
    assert views[0].vram is not None
    assert "Rests on 2 reports" in views[0].status
    assert "Rests on 6 reports" in views[-1].status


def test_another_metric_is_drawn_alone(upgrades) -> None:
    chart = upgrades.bars(ask(per_kwh=0.3), "money for 1000 images")
    assert "USD for 1000 images" in chart.table["headers"]
    with pytest.raises(ValueError, match="price of a kWh"):
        upgrades.bars(ask(), "money for 1000 images")


def test_a_cloud_price_fills_the_break_even(upgrades) -> None:
    view = first(upgrades, ask(cloud_per_hour=0.5))
    column = view.gains.table["headers"].index("even with the cloud after (h)")
    assert [row[column] for row in view.gains.table["data"]] == ["3200", "3600", "5200"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"path": "name = "}, "the path is no TOML file"),
        (
            {"path": "[[tier]]\nname = 'a'\ngpu = 'RTX 4090'\ncores = 8"},
            "tier 'a': ram_gib is missing",
        ),
        ({"workloads": ("sd99 512x512",)}, "known: "),
        ({"workloads": ("sd15 513x512",)}, "multiples of 8"),
        ({"workloads": (SD15,) * (MAX_WORKLOADS + 1)}, "at most 12 are shown"),
        ({"cloud_per_hour": -1.0}, "cloud price of an hour"),
    ],
)
def test_a_mistake_is_one_line(upgrades, change, complaint) -> None:
    try:
        view = first(upgrades, ask(**change))
        told = view.status + str(view.bars.table)
    except ValueError as error:
        told = str(error)
        assert "\n" not in told
    assert complaint in told


def test_the_line_under_the_path_says_what_it_is() -> None:
    assert check_path(shipped_text()) == (
        "3 tiers, prices in USD, 3 of their prices approximate: set your own."
    )
    assert "of RTX 4O90 nothing can be told" in check_path(
        shipped_text().replace("RTX 4090", "RTX 4O90")
    )
    with pytest.raises(ValueError, match="no TOML file"):
        check_path("[[tier")


def test_a_name_of_two_cards_is_not_told_to_be_no_card() -> None:
    told = check_path(shipped_text().replace("RTX 4070 Ti", "RTX 4060 Ti"))
    assert told == (
        "3 tiers; of RTX 4060 Ti nothing can be told: "
        "RTX 4060 Ti may be RTX 4060 Ti 16GB or RTX 4060 Ti 8GB; say which"
    )


OWN = """
[[card]]
name = "RTX 4090 48GB"
memory_gib = 48
bandwidth_gbs = 1008
fp32_tflops = 82.58
tensor_tflops = 165.2
l2_mib = 72
tdp_w = 450
"""


def test_a_card_that_the_path_describes_is_answered_for_everywhere_on_the_page(upgrades) -> None:
    path = PAIR.replace('"RTX 4090"', '"RTX 4090 48GB"') + OWN
    assert check_path(path) == "1 tier, 1 card of your own, prices in USD."
    asked = ask(path=path, per_kwh=0.3)
    view = first(upgrades, asked)
    assert {row[3] for row in view.fits["data"]} == {"fits (predicted)"}
    assert "RTX 4090 48GB" in {row[0] for row in view.vram.table["data"]}
    assert "The card: 1008 GB/s" in view.why
    assert "450 W" in view.bars.table["data"][0][8] or "450 W" in view.why
    assert upgrades.room(asked, "RTX 4090 48GB")[0].startswith("RTX 4090 48GB (48 GiB) runs")
    assert "RTX 4090 48GB" in Path(upgrades.page(asked, "RTX 4090 48GB")).read_text()
    assert "describe it as a [[card]]" in check_path(PAIR.replace("4090", "4O90 of mine"))


def test_reports_of_a_card_that_the_path_describes_are_taken_in(upgrades, folder) -> None:
    write(folder / "mine.jsonl")
    path = PAIR.replace('"RTX 4090"', '"RTX 4070 Ti OC"') + OWN.replace(
        "RTX 4090 48GB", 'RTX 4070 Ti OC"\nalso = ["RTX 4070 Ti"]#'
    ).replace("= 48", "= 12")
    assert "imported report" in kinds(first(upgrades, ask(path=path, use=ALL)))


def test_a_path_that_is_none_takes_nothing_from_what_a_card_can_run(upgrades) -> None:
    assert upgrades.room(ask(path="[[tier"), "RTX 5090")[0].startswith("RTX 5090 (31.8 GiB) runs")
    with pytest.raises(ValueError, match="no card is called") as raised:
        upgrades.room(ask(), "x" * 10**6)
    assert len(str(raised.value)) < 400


def test_that_cores_change_no_figure_is_said_where_tiers_differ_by_them(upgrades) -> None:
    assert "cores are shown and change no figure" in first(upgrades, ask()).status
    assert "cores are shown" not in first(upgrades, ask(path=PAIR)).status


def test_a_machine_without_a_gpu_runs_on_its_processor_and_says_why(upgrades) -> None:
    words, chart = upgrades.room(ask(), HERE)
    assert words.startswith("Test CPU (15.6 GiB) runs")
    assert "the driver is not installed" in words
    assert chart.table["data"]


def test_a_machine_with_a_known_card_runs_on_it_and_any_card_can_be_asked(tmp_path, folder) -> None:
    upgrades = make(tmp_path, folder, "NVIDIA GeForce RTX 4070 Ti")
    assert upgrades.room(ask(), HERE)[0].startswith("RTX 4070 Ti (12 GiB) runs sd15")
    assert upgrades.room(ask(), "RTX 5090")[0].startswith("RTX 5090 (31.8 GiB) runs")
    with pytest.raises(ValueError, match="cannot tell: no card is called"):
        upgrades.room(ask(), "RTX 4090 Laptop GPU")


def test_the_card_of_this_machine_is_judged_by_what_its_driver_reports(tmp_path, folder) -> None:
    """Drivers differ by what they keep: 15,360 MiB of a T4 for one, 15,109 for another."""
    index, outbox = ReportIndex(tmp_path / "index"), Outbox(tmp_path)
    here = machine("Tesla T4", memory_mib=15109)
    upgrades = Upgrades(ReportFolder(folder), index, outbox, lambda: here)
    assert upgrades.room(ask(), HERE)[0].startswith("T4 (14.8 GiB) runs")
    assert upgrades.room(ask(), "T4")[0].startswith("T4 (15 GiB) runs")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (
            ("RTX 4070 Ti", "RTX 3090"),
            "2 GPUs are in here, and this is what one RTX 4070 Ti can run alone; "
            "ask for RTX 3090 by name",
        ),
        (("RTX 3090", "RTX 3090"), "2 GPUs are in here, and this is what one RTX 3090 can run"),
        (("Quadro X", "RTX 3090"), "no card is called 'NVIDIA GeForce Quadro X'"),
    ],
)
def test_of_two_cards_in_here_it_is_said_which_one_is_shown(tmp_path, folder, names, told) -> None:
    memory = {"RTX 4070 Ti": 12282.0, "RTX 3090": 24576.0}
    gpus = tuple(
        GpuInfo(
            index=index,
            name=f"NVIDIA GeForce {name}",
            uuid=f"GPU-{index}",
            memory_total_mib=memory.get(name, 8192.0),
        )
        for index, name in enumerate(names)
    )
    here = machine().model_copy(update={"gpus": gpus, "no_gpu": None})
    upgrades = Upgrades(ReportFolder(folder), ReportIndex(None), Outbox(tmp_path), lambda: here)
    words, _ = upgrades.room(ask(), HERE)
    shown = next(name for name in names if name in memory)
    assert words.startswith(f"{shown} (")
    assert told in words


@pytest.mark.parametrize(
    ("visible", "begins", "told"),
    [
        ("1", "RTX 3090 (24 GiB)", "CUDA_VISIBLE_DEVICES=1 hides GPU 0 from CUDA programs"),
        ("1,0", "RTX 3090 (24 GiB)", "this is what one RTX 3090 can run alone"),
        ("GPU-0", "RTX 4070 Ti (12 GiB)", "hides GPU 1 from CUDA programs"),
        ("-1", "Test CPU (15.6 GiB)", "hides GPU 0, GPU 1 from CUDA programs; this is what the"),
    ],
)
def test_a_gpu_that_is_hidden_from_programs_runs_nothing(
    tmp_path, folder, monkeypatch, *, visible, begins, told
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    gpus = tuple(
        GpuInfo(index=i, name=f"NVIDIA GeForce {name}", uuid=f"GPU-{i}", memory_total_mib=mib)
        for i, (name, mib) in enumerate({"RTX 4070 Ti": 12282.0, "RTX 3090": 24576.0}.items())
    )
    here = machine().model_copy(update={"gpus": gpus, "no_gpu": None})
    upgrades = Upgrades(ReportFolder(folder), ReportIndex(None), Outbox(tmp_path), lambda: here)
    words, _ = upgrades.room(ask(), HERE)
    assert words.startswith(f"{begins} runs")
    assert told in words


def test_where_cuda_counts_by_speed_it_is_said_that_nobody_can_tell_what_is_hidden(
    tmp_path, folder, monkeypatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    names = ("RTX 4070 Ti", "RTX 3090")
    gpus = tuple(GpuInfo(index=i, name=name, uuid=f"GPU-{i}") for i, name in enumerate(names))
    here = machine().model_copy(update={"gpus": gpus, "no_gpu": None})
    upgrades = Upgrades(ReportFolder(folder), ReportIndex(None), Outbox(tmp_path), lambda: here)
    words, _ = upgrades.room(ask(), HERE)
    assert words.startswith("RTX 4070 Ti (")
    assert "cannot tell what CUDA_VISIBLE_DEVICES=1 hides" in words


@pytest.mark.parametrize(
    ("instances", "begins", "told"),
    [
        (1, "NVIDIA A100-SXM4-40GB MIG 1g.5gb (4.75 GiB) runs", "this goes by its memory"),
        (0, "Test CPU (15.6 GiB) runs", "no instance is made"),
    ],
)
def test_a_card_that_is_split_runs_what_an_instance_of_it_does(
    tmp_path, folder, instances, begins, told
) -> None:
    name = "NVIDIA A100-SXM4-40GB"
    card = GpuInfo(index=0, name=name, uuid=UUID, memory_total_mib=40960.0, mig_enabled=True)
    part = {"name": f"{name} MIG 1g.5gb", "uuid": "MIG-1", "memory_total_mib": 4864.0}
    gpus = (card, *(GpuInfo(index=1, parent_index=0, **part) for _ in range(instances)))
    here = machine().model_copy(update={"gpus": gpus, "no_gpu": None})
    upgrades = Upgrades(ReportFolder(folder), ReportIndex(None), Outbox(tmp_path), lambda: here)
    words, _ = upgrades.room(ask(), HERE)
    assert words.startswith(begins)
    assert told in words


def test_a_card_by_a_known_name_with_other_memory_is_no_known_card(tmp_path, folder) -> None:
    upgrades = make(tmp_path, folder, "NVIDIA GeForce RTX 4090")  # with 12 GiB
    words, _ = upgrades.room(ask(), HERE)
    assert words.startswith("NVIDIA GeForce RTX 4090 (12 GiB) runs sd15")
    assert "it is another card" in words


def test_the_download_is_the_page_of_all(upgrades) -> None:
    path = Path(upgrades.page(ask(cloud_per_hour=0.5, per_kwh=0.3), "RTX 4070 Ti"))
    text = path.read_text()
    assert path.name == "tiers.html"
    assert "VRAM is king" in text
    assert "What RTX 4070 Ti can run" in text


def test_the_download_says_what_it_rests_on_and_what_is_to_be_known_of_the_card(
    upgrades, folder, monkeypatch
) -> None:
    assert "No report is used" in Path(upgrades.page(ask(), "RTX 4070 Ti")).read_text()
    six_read_by_two(monkeypatch, folder)
    text = Path(upgrades.page(ask(use=ALL), HERE)).read_text()
    assert "Rests on 2 reports" in text
    assert "4 reports not read yet." in text
    assert "the driver is not installed; this is what the processor can run." in text


def test_a_bar_that_is_not_there_has_no_reason(upgrades) -> None:
    with pytest.raises(ValueError, match="there is no figure"):
        upgrades.why(ask(), "<script> | x")


def test_fields_make_a_question_empty_ones_too() -> None:
    asked = to_question(["text", None, 0, None, NONE, None, None])
    assert asked == Question("text", (), None, None, NONE, (), ())


def test_every_choice_can_be_asked(upgrades) -> None:
    assert card_choices()[0] == HERE
    for text in workload_choices():
        view = first(upgrades, ask(workloads=(text,)))
        assert view.keys or view.speech["data"], text


def test_reports_of_which_nothing_can_be_kept_are_counted_in_a_whole_last_answer(
    tmp_path, folder, monkeypatch
) -> None:
    six_read_by_two(monkeypatch, folder)
    # What has no file keeps nothing, so that every answer reads the same two.
    upgrades = make(tmp_path, folder, index_file=ReportIndex(None))
    last = list(upgrades.views(ask(use=ALL), SECONDS))[-1]
    assert last.status.startswith("4 reports could not be read")
    assert "Rests on 2 reports" in last.status
    assert "After initial build" in last.status
    assert last.vram is not None
    assert last.keys
