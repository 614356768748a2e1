"""The first line of a report: what it says of the machine, and what it must not say."""

from __future__ import annotations

import platform
import socket
from typing import Any

import pytest

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.bench.header import make_header
from diffusion_bench.bench.sweep import parse_sweep, sweep_of
from diffusion_bench.bench.worker_messages import Ready
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu, uuid_hash
from diffusion_bench.records import BUNDLED_MODEL, GpuReading
from diffusion_bench.reports.labels import gpu_card
from diffusion_bench.reports.schema import GpuCard, StopRule
from diffusion_bench.reports.store import to_line

SWEEP = parse_sweep('name = "mine"\ndescription = "why"\nwarmups = 2\nrepeats = 4')
READY = Ready(pid=1, device="cuda:0", gpu_uuid=None, cuda="13.0", torch_threads=3, flags={"a": "1"})
UUID = "GPU-0f1e2d3c-aaaa-bbbb-cccc-1234567890ab"


class OneCard(NoGpu):
    """A sensor of one card of which the driver tells no name, and what it is `told`."""

    def __init__(self, **told: object) -> None:
        super().__init__("")
        self.reason = None
        self._told = told

    def read(self) -> tuple[GpuReading, ...]:
        return (GpuReading(index=0, uuid=UUID),)

    def cards(self) -> tuple[GpuInfo, ...]:
        card = GpuInfo(index=0, uuid=UUID, memory_total_mib=24564.0, driver="580.65")
        return (card.model_copy(update=self._told),)


def test_the_header_holds_the_plan_and_what_the_worker_said_of_itself() -> None:
    header = make_header(SWEEP, READY, NoGpu("no driver"))
    plan = header.plan
    assert (plan.name, plan.description, plan.device) == ("mine", "why", "cuda:0")
    assert (plan.warmups, plan.repeats) == (2, 4)
    assert plan.cells == SWEEP.requests()
    assert (header.software.cuda, header.software.torch_threads) == ("13.0", 3)
    assert header.software.python == platform.python_version()
    assert (header.machine.gpus, header.machine.no_gpu) == ((), "no driver")


def test_how_a_cell_is_measured_is_in_the_plan_and_its_models_and_switches_are_known() -> None:
    sweep = parse_sweep(
        'name = "mine"\nmeasured_steps = 9\ntime_limit_s = 60\nsustain_s = 30\n'
        'emulated_memory = "8GiB"\n[stop]\nnoise = 0.02\n'
        f'[axes]\nmodel = ["{BUNDLED_MODEL}", "nope"]\n'
    )
    header = make_header(sweep, READY, NoGpu("no driver"))
    plan = header.plan
    assert plan.stop == StopRule(noise=0.02)
    assert (plan.measured_steps, plan.time_limit_s, plan.sustain_s) == (9, 60.0, 30.0)
    assert plan.emulated_memory_mib == 8192.0
    bundled, unknown = plan.models
    assert (bundled.name, bundled.missing) == (BUNDLED_MODEL, {})
    assert (unknown.name, unknown.revision) == ("nope", None)
    assert "unknown model 'nope'" in unknown.missing["revision"]
    assert header.software.flags == {"a": "1"}
    (one,) = make_header(sweep, READY, NoGpu(""), cells=sweep.requests()[:1]).plan.cells
    assert one == sweep.requests()[0]


def test_two_runs_have_two_ids_and_one_environment() -> None:
    one, two = (make_header(SWEEP, READY, NoGpu("no driver")) for _ in range(2))
    assert one.report_id != two.report_id
    assert one.environment() == two.environment()


def test_how_a_cards_power_is_read_is_kept_and_makes_no_other_environment() -> None:
    """The driver's fresh power may fail to answer once: then its mean is read for a whole run."""
    ways = ({"power_w": way} for way in ("instant", "average"))
    fresh, mean = (make_header(SWEEP, READY, OneCard(methods=way)) for way in ways)
    assert [header.machine.gpus[0].power_method for header in (fresh, mean)] == [
        "instant",
        "average",
    ]
    assert fresh.environment() == mean.environment()
    assert make_header(SWEEP, READY, OneCard()).machine.gpus[0].power_method is None


def test_how_memory_is_read_and_ecc_and_mig_are_kept_and_make_no_other_environment() -> None:
    told = {"methods": {"memory_used_mib": "nvml v1"}, "ecc_enabled": True, "mig_enabled": False}
    header, older = (make_header(SWEEP, READY, OneCard(**each)) for each in (told, {}))
    (card,) = header.machine.gpus
    assert (card.memory_method, card.ecc_enabled, card.mig_enabled) == ("nvml v1", True, False)
    assert header.environment() == older.environment()


def test_a_card_is_told_by_a_hash_and_not_by_its_uuid() -> None:
    header = make_header(SWEEP, READY, OneCard())
    (card,) = header.machine.gpus
    assert (card.name, card.uuid_hash) == ("unknown", uuid_hash(UUID))
    assert UUID.encode() not in to_line(header)
    assert UUID[4:].encode() not in to_line(header)


class Cards(OneCard):
    """A sensor of cards with those UUIDs, `None` where the driver tells none."""

    def __init__(self, *uuids: str | None) -> None:
        super().__init__()
        self._uuids = uuids

    def cards(self) -> tuple[GpuInfo, ...]:
        return tuple(GpuInfo(index=i, name="A", uuid=each) for i, each in enumerate(self._uuids))


def test_the_card_of_the_plan_is_torchs_by_uuid_whatever_its_number_is() -> None:
    """torch writes a UUID without GPU before it, and counts in another order than the driver."""
    other = UUID.replace("0f1e", "aaaa")
    ready = READY.model_copy(update={"gpu_uuid": UUID.removeprefix("GPU-")})
    header = make_header(SWEEP, ready, Cards(other, UUID))
    assert header.plan.gpu_uuid_hash == header.machine.gpus[1].uuid_hash == uuid_hash(UUID)
    assert gpu_card(header) == header.machine.gpus[1]
    assert gpu_card(make_header(SWEEP, ready, Cards(other))) is None


@pytest.mark.parametrize("told", [(None, UUID), ("1234", None)])
def test_where_torch_or_a_card_tells_no_uuid_the_plan_does_not_guess(
    told: tuple[str | None, str | None],
) -> None:
    ready = READY.model_copy(update={"gpu_uuid": told[0]})
    header = make_header(SWEEP, ready, Cards(told[1]))
    assert header.plan.gpu_uuid_hash is None
    assert gpu_card(header) == header.machine.gpus[0]


def test_a_machine_that_was_started_anew_is_the_same_and_one_with_other_memory_is_not() -> None:
    """What the system takes for itself differs: by 8 KiB between two starts of one machine."""

    def environment_of(ram_mib: float) -> dict[str, Any]:
        header = make_header(SWEEP, READY, NoGpu("no driver"))
        machine = header.machine.model_copy(update={"ram_mib": ram_mib})
        return header.model_copy(update={"machine": machine}).environment()

    assert environment_of(24105.55859375) == environment_of(24105.55078125)
    assert environment_of(24105.6) != environment_of(32105.6)


def test_a_screen_that_sleeps_is_no_other_environment_and_a_slower_slot_is() -> None:
    def environment_with(**card: Any) -> dict[str, Any]:
        header = make_header(SWEEP, READY, NoGpu("no driver"))
        facts = {"display_active": True, "pcie_width": 16} | card
        gpus = (GpuCard(index=0, name="A", **facts),)
        machine = header.machine.model_copy(update={"gpus": gpus})
        return header.model_copy(update={"machine": machine}).environment()

    assert environment_with(display_active=False) == environment_with()
    assert environment_with(pcie_width=4) != environment_with()


def test_neither_the_machine_nor_its_user_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are made up, since the real ones are often as short as `root` and `vm`."""
    for variable in ("USER", "LOGNAME", "LNAME", "USERNAME", "HOSTNAME"):
        monkeypatch.setenv(variable, "ann-the-tester")
    real = socket.gethostname()
    for module, name in ((socket, "gethostname"), (socket, "getfqdn"), (platform, "node")):
        monkeypatch.setattr(module, name, lambda: "anns-laptop")
    line = to_line(make_header(SWEEP, READY, NoGpu("no driver"))).decode()
    assert "ann-the-tester" not in line
    assert "anns-laptop" not in line
    assert len(real) < 4 or real not in line


def test_a_model_in_the_home_folder_is_one_cell_however_typed_and_its_user_is_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bundled models lie in the home folder here, and are named by their path."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(MODELS_FOLDER))
    typed = [f"{MODELS_FOLDER}/{BUNDLED_MODEL}", f"~/{BUNDLED_MODEL}", f"{MODELS_FOLDER}/none"]
    plans = [
        parse_sweep(
            f"name = 'mine'\n[axes]\nmodel = ['{model}']\n"
            f"[quality]\nscorer = '{MODELS_FOLDER}/scorer'"
        )
        for model in typed
    ]
    whole, short, unknown = (make_header(plan, READY, NoGpu("no driver")) for plan in plans)
    (facts,) = whole.plan.models
    assert (facts.name, facts.missing) == (f"~/{BUNDLED_MODEL}", {})
    assert whole.plan.revision(whole.plan.cells[0].model) == facts.revision is not None
    assert whole.planned_ids() == short.planned_ids() != unknown.planned_ids()
    assert whole.plan.quality.scorer == "~/scorer"
    for header in (whole, short, unknown):
        assert str(MODELS_FOLDER).encode() not in to_line(header)
    assert sweep_of(whole.plan).requests() == whole.plan.cells
