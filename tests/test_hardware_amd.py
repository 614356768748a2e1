"""AMD's GPUs on a tree of files like the kernel's, and without one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffusion_bench.hardware import amd, machine
from diffusion_bench.hardware.amd import NO_FILE, NOT_PERMITTED, AmdSensor
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.sensors import OTHER_TORCH, open_sensor

FILES = {
    "vendor": "0x1002",
    "product_name": "AMD Radeon PRO W7900",
    "unique_id": "1f2e3d4c5b6a7980",
    "gpu_busy_percent": "87",
    "mem_busy_percent": "40",
    "mem_info_vram_total": str(48 * 2**30),
    "mem_info_vram_used": str(3 * 2**30),
    "current_link_speed": "2.5 GT/s PCIe",
    "current_link_width": "8",
    "max_link_speed": "16.0 GT/s PCIe",
    "max_link_width": "16",
    "hwmon/hwmon5/power1_average": "241000000",
    "hwmon/hwmon5/power1_cap": "295000000",
    "hwmon/hwmon5/power1_cap_default": "300000000",
    "hwmon/hwmon5/temp1_input": "61000",
    "hwmon/hwmon5/freq1_input": "2495000000",
    "hwmon/hwmon5/freq2_input": "1124000000",
    "hwmon/hwmon5/pwm1": "102",
}


def make_card(root: Path, name: str, **changed: str | None) -> Path:
    """A card's files; a file that is `None` is left out, `__` in a name stands for `/`."""
    device = root / name / "device"
    files = {**FILES, **{file.replace("__", "/"): text for file, text in changed.items()}}
    for file, text in files.items():
        if text is not None:
            (device / file).parent.mkdir(parents=True, exist_ok=True)
            (device / file).write_text(text + "\n")
    return device


def test_every_file_is_read_in_its_unit(tmp_path: Path) -> None:
    make_card(tmp_path, "card1")
    (reading,) = AmdSensor(tmp_path).read()
    assert reading.model_dump(exclude={"missing"}, exclude_none=True) == {
        "index": 0,
        "name": "AMD Radeon PRO W7900",
        "uuid": "GPU-1f2e3d4c5b6a7980",
        "utilization_percent": 87,
        "memory_utilization_percent": 40,
        "memory_used_mib": 3072,
        "memory_total_mib": 49152,
        "power_w": 241,
        "power_limit_w": 295,
        "power_scope": "gpu",
        "temperature_c": 61,
        "sm_clock_mhz": 2495,
        "memory_clock_mhz": 1124,
        "pcie_generation_now": 1,
        "pcie_width_now": 8,
        "fan_percent": pytest.approx(40),
    }
    assert reading.missing.keys() == {
        *("energy_j", "energy_update_s", "performance_state", "throttle_reasons", "processes")
    }


def test_the_card_says_what_it_can_do_and_how_its_power_is_had(tmp_path: Path) -> None:
    make_card(tmp_path, "card0")
    make_card(tmp_path, "card1", hwmon__hwmon5__power1_input="240000000")
    average, instant = AmdSensor(tmp_path).cards()
    assert (average.vendor, average.power_limit_default_w) == ("amd", 300)
    assert (average.pcie_generation, average.pcie_width) == (4, 16)
    assert [card.methods for card in (average, instant)] == [
        {"power_w": "average"},
        {"power_w": "instant"},
    ]
    for card in (average, instant):
        untold = {name for name, value in card if value is None} - {"parent_index"}
        assert untold == card.missing.keys()


def test_a_radeon_that_does_not_tell_its_name_is_named_as_the_list_of_its_number_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "opt" / amd.IDS
    listed.parent.mkdir(parents=True)
    words = "# names\n1.0.0\n744C,\tC4,\tAMD Radeon other\n744C,\tC8,\tAMD Radeon RX 7900 XTX\n"
    listed.write_text(words)
    monkeypatch.setattr(amd, "PREFIXES", (tmp_path / "none", tmp_path / "opt"))
    make_card(tmp_path / "sys", "card0", product_name=None, device="0x744c", revision="0xc8")
    make_card(tmp_path / "sys", "card1", product_name=None, device="0x744c", revision="0x01")
    known, unknown = AmdSensor(tmp_path / "sys").read()
    assert (known.name, "name" in known.missing) == ("AMD Radeon RX 7900 XTX", False)
    assert (unknown.name, unknown.missing["name"]) == (None, NO_FILE)


def test_a_file_that_is_not_there_costs_only_its_field(tmp_path: Path) -> None:
    device = make_card(tmp_path, "card0", product_name="", unique_id=None, gpu_busy_percent="?")
    (device / "mem_busy_percent").unlink()
    (device / "mem_busy_percent").mkdir()
    (reading,) = AmdSensor(tmp_path).read()
    assert reading.name is reading.uuid is reading.utilization_percent is None
    assert reading.missing["name"] == reading.missing["uuid"] == NO_FILE
    assert "cannot be read" in reading.missing["utilization_percent"]
    assert "cannot be read" in reading.missing["memory_utilization_percent"]
    assert reading.power_w == 241


def test_a_figure_does_not_change_its_meaning_during_a_run(tmp_path: Path) -> None:
    device = make_card(tmp_path, "card0", hwmon__hwmon5__power1_input="240000000")
    sensor = AmdSensor(tmp_path)
    assert sensor.read()[0].power_w == 240
    (device / "hwmon/hwmon5/power1_input").unlink()
    (reading,) = sensor.read()
    assert (reading.power_w, reading.missing["power_w"]) == (None, NO_FILE)


def test_a_gpu_that_goes_away_is_a_reason_and_the_other_goes_on(tmp_path: Path) -> None:
    make_card(tmp_path, "card0").joinpath("gpu_busy_percent").write_text("5")
    make_card(tmp_path, "card1")
    sensor = AmdSensor(tmp_path)
    (tmp_path / "card0").rename(tmp_path / "gone")
    first, second = sensor.read()
    assert (first.name, first.power_w) == ("AMD Radeon PRO W7900", None)
    assert first.missing["power_w"] == NO_FILE
    assert second.power_w == 241
    (tmp_path / "gone").rename(tmp_path / "card0")
    assert sensor.read()[0].utilization_percent == 5


def test_a_file_that_may_not_be_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_card(tmp_path, "card0")
    read_text = Path.read_text

    def refuse(path: Path, *args: Any, **options: Any) -> str:
        if path.name == "gpu_busy_percent":
            raise PermissionError(13, "Permission denied")
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert AmdSensor(tmp_path).read()[0].missing["utilization_percent"] == NOT_PERMITTED


def test_only_cards_of_amd_count_and_connectors_are_none(tmp_path: Path) -> None:
    make_card(tmp_path, "card10", product_name="ten")
    make_card(tmp_path, "card2", product_name="two")
    make_card(tmp_path, "card0", vendor="0x8086")
    make_card(tmp_path, "card2-DP-1")
    make_card(tmp_path, "renderD128")
    (tmp_path / "card3").mkdir()
    assert [gpu.name for gpu in AmdSensor(tmp_path).read()] == ["two", "ten"]
    assert AmdSensor(tmp_path / "nowhere").cards() == ()


def test_torchs_uuid_of_an_amd_gpu_is_the_drivers(tmp_path: Path) -> None:
    make_card(tmp_path, "card0")
    torchs = "GPU-31663265-3364-3463-3562-366137393830"  # the digits' own bytes
    assert same_gpu(AmdSensor(tmp_path).read()[0].uuid, torchs)


def test_a_torch_built_for_rocm_opens_amds_gpus_and_another_torch_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(amd, "ROOT", tmp_path)
    monkeypatch.setattr(machine, "torch_build", lambda toolkit: "7.1" if toolkit == "hip" else None)
    sensor = open_sensor()
    assert sensor.reason is not None
    assert "there is no AMD GPU under" in sensor.reason
    make_card(tmp_path, "card0")
    sensor = open_sensor()
    assert [card.vendor for card in sensor.cards()] == ["amd"]
    sensor.close()
    monkeypatch.setattr(machine, "torch_build", lambda toolkit: None)
    sensor = open_sensor()
    assert "amd" not in [card.vendor for card in sensor.cards()]
    if not sensor.cards():  # then it is told what would use it
        assert (sensor.reason or "").startswith(OTHER_TORCH)
    sensor.close()
