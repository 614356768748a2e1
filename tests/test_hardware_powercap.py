"""The processor's energy counter, read from folders like those of Linux."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from processes import as_nobody

from diffusion_bench.hardware import powercap
from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.powercap import PackageEnergy

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="folder names with a colon")

RANGE_UJ = 262_143_328_850


@pytest.fixture(autouse=True)
def on_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(powercap.sys, "platform", "linux")


def add_domain(root: Path, folder: str, name: str, energy_uj: int = 0) -> Path:
    """Make the folder of one counter, and return the file of its count."""
    (root / folder).mkdir(parents=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return count(root / folder / "energy_uj", energy_uj)


def count(file: Path, energy_uj: int) -> Path:
    file.write_text(f"{energy_uj}\n")
    return file


def test_the_counter_is_in_joules_since_the_first_look(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    energy = PackageEnergy(tmp_path)
    assert energy.read_j() == (0, None)
    count(file, 7_500_000)
    assert energy.read_j() == (2.5, None)


def test_packages_add_up_and_their_parts_do_not_count_twice(tmp_path: Path) -> None:
    domains = {
        "intel-rapl:0": "package-0",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "package-1-die-1",
        "intel-rapl:3": "psys",
        "intel-rapl:0:0": "core",
        "intel-rapl-mmio:0": "package-0",
    }
    files = [add_domain(tmp_path, folder, name) for folder, name in domains.items()]
    energy = PackageEnergy(tmp_path)
    energy.read_j()
    for file in files:
        count(file, 1_000_000)
    assert energy.read_j()[0] == 3


def test_a_counter_that_starts_anew_goes_on(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    energy = PackageEnergy(tmp_path)
    energy.read_j()
    for energy_uj, total_j in ((2_000_000, 3), (5_000_000, 6)):
        count(file, energy_uj)
        assert energy.read_j()[0] == total_j


def test_a_counter_that_was_set_back_adds_nothing_and_does_not_fall(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    energy = PackageEnergy(tmp_path)
    energy.read_j()
    for energy_uj, total_j in ((9_000_000, 8), (100_000, 8), (1_100_000, 9)):
        count(file, energy_uj)
        assert energy.read_j()[0] == total_j


def test_without_a_counter_there_is_a_reason_and_no_zero(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl:0").mkdir()  # as a container shows it: the folder, and nothing in it
    for root in (tmp_path, tmp_path / "gone"):
        assert PackageEnergy(root).read_j() == (None, powercap.NO_COUNTER)


def test_a_counter_that_only_root_may_read_says_how_to_permit_it(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0")
    energy = PackageEnergy(tmp_path)
    energy.read_j()
    file.chmod(0)
    with as_nobody():
        value, reason = energy.read_j()
    assert value is None
    assert "sudo chmod o+r" in str(reason)
    file.chmod(0o600)
    count(file, 4_000_000)
    assert energy.read_j() == (4, None)


def test_a_counter_that_is_not_a_number_is_a_reason(tmp_path: Path) -> None:
    file = add_domain(tmp_path, "intel-rapl:0", "package-0")
    file.write_text("?")
    value, reason = PackageEnergy(tmp_path).read_j()
    assert value is None
    assert "cannot be read" in str(reason)


def test_other_systems_show_no_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add_domain(tmp_path, "intel-rapl:0", "package-0")
    monkeypatch.setattr(powercap.sys, "platform", "darwin")
    assert PackageEnergy(tmp_path).read_j() == (None, powercap.NOT_LINUX)


def test_a_look_at_the_host_carries_the_counter_or_the_reason(tmp_path: Path) -> None:
    without = HostSensor(powercap=tmp_path / "gone").read()
    assert without.package_energy_j is None
    assert without.missing["package_energy_j"] == powercap.NO_COUNTER
    file = add_domain(tmp_path, "intel-rapl:0", "package-0")
    sensor = HostSensor(powercap=tmp_path)
    sensor.read()
    count(file, 1_500_000)
    reading = sensor.read()
    assert reading.package_energy_j == 1.5
    assert "package_energy_j" not in reading.missing
