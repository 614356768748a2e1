"""A sweep file becomes its cells, or one line that says which field is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffusion_bench.bench.sweep import MAX_CELLS, Sweep, parse_sweep, read_sweep, sweep_of
from diffusion_bench.records import ImageRequest, Speed
from diffusion_bench.reports.schema import Plan, StopRule

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def cells_of(axes: str) -> list[tuple[object, ...]]:
    sweep = parse_sweep(f'name = "x"\n[axes]\n{axes}')
    return [
        (cell.sampler, cell.eta, cell.steps, cell.width, cell.height, cell.batch)
        for cell in sweep.requests()
    ]


def test_the_cells_are_the_product_and_the_sampler_varies_fastest() -> None:
    assert cells_of('steps = [5, 10]\nresolution = [64, "96x32"]\nbatch = [2]') == [
        ("ddim", 0.0, 5, 64, 64, 2),
        ("ddpm", 0.0, 5, 64, 64, 2),
        ("ddim", 0.0, 10, 64, 64, 2),
        ("ddpm", 0.0, 10, 64, 64, 2),
        ("ddim", 0.0, 5, 96, 32, 2),
        ("ddpm", 0.0, 5, 96, 32, 2),
        ("ddim", 0.0, 10, 96, 32, 2),
        ("ddpm", 0.0, 10, 96, 32, 2),
    ]


def test_every_axis_reaches_the_requests() -> None:
    sweep = parse_sweep(
        'name = "x"\nprompt = "a dog"\nnegative_prompt = "blue"\n[axes]\nmodel = ["a/b"]\n'
        'sampler = ["ddim"]\neta = [0.5]\nsteps = [7]\nresolution = ["32x40"]\nbatch = [3]\n'
        'precision = ["bf16"]\nguidance_scale = [1.5]\nseed = [11]\n'
        'speed = ["channels-last"]\n'
    )
    (request,) = sweep.requests()
    assert request == ImageRequest(
        prompt="a dog",
        negative_prompt="blue",
        model="a/b",
        sampler="ddim",
        eta=0.5,
        steps=7,
        guidance_scale=1.5,
        width=32,
        height=40,
        batch=3,
        precision="bf16",
        seed=11,
        speed=Speed(channels_last=True),
    )


def test_eta_is_an_axis_of_ddim_and_one_cell_of_ddpm() -> None:
    assert [cell[:2] for cell in cells_of("eta = [0.0, 0.5, 1.0]")] == [
        ("ddim", 0.0),
        ("ddpm", 0.0),
        ("ddim", 0.5),
        ("ddim", 1.0),
    ]


@pytest.mark.parametrize("sampler", ["ddpm", "dpm++", "euler", "unipc", "lcm", "native"])
def test_eta_is_left_out_for_every_sampler_but_ddim(sampler: str) -> None:
    axes = f'sampler = ["{sampler}"]\neta = [0.0, 0.5]\nsteps = [5]'
    assert [cell[:2] for cell in cells_of(axes)] == [(sampler, 0.0)]


def test_a_cell_named_twice_is_measured_once() -> None:
    assert len(cells_of('steps = [5, 5]\nresolution = [64, "64x64"]')) == 2


def test_a_sweep_of_too_many_cells_is_refused_before_they_are_made() -> None:
    at_most = ", ".join(map(str, range(MAX_CELLS // 2)))
    assert len(cells_of(f"seed = [{at_most}]")) == MAX_CELLS
    long = str(list(range(1, 1001)))
    axes = f"steps = {long}\nseed = {long}\neta = {[1 / i for i in range(1, 1001)]}\nbatch = {long}"
    with pytest.raises(ValueError, match=f"^sweep: the sweep has more than {MAX_CELLS} cells"):
        cells_of(axes)


MISTAKES = [
    ("name = ", "is no TOML file: Invalid value (at end of document)"),
    ("= 3", "is no TOML file"),
    ("[axes]", "name is missing"),
    ('name = ""', "name: String should have at least 1 character"),
    ('name = "x"\nrepeat = 3', "repeat is no setting; did you mean repeats? there are axes, desc"),
    (
        'name = "x"\nsteps = [4]',
        "steps is no setting; it belongs under [axes] or under [voice_axes]",
    ),
    ('name = "x"\nnoise = 0.1', "noise is no setting; it belongs under [stop]"),
    (
        'name = "x"\n[axes]\nrepeats = 3',
        "axes.repeats is no setting; it belongs at the top, above every table",
    ),
    ('name = "x"\n[axes]\ntext = ["a"]', "axes.text is no setting; it belongs under [voice_axes]"),
    ('name = "x"\nrepeats = 0', "repeats: Input should be greater than or equal to 1 (got 0)"),
    ('name = "x"\nwarmups = 0', "warmups: Input should be greater than or equal to 1 (got 0)"),
    ('name = "x"\nrepeats = "many"', "repeats: Input should be a valid integer"),
    ('name = "x"\nprompt = " "', "the prompt is empty"),
    ('name = "x"\naxes = 3', "axes should be a table, as [stop] is (got 3)"),
    ('name = "x"\n[axes]\nsteps = 20', "axes.steps should be a list, as in [2, 3] (got 20)"),
    ('name = "x"\n[axes]\nsteps = []', "axes.steps is an empty list; it needs a value"),
    ('name = "x"\n[axes]\nsteps = [2.5]', "axes.steps, value 1: Input should be a valid integer"),
    ('name = "x"\n[axes]\nsteps = [20, 0]', "steps: Input should be greater than or equal to 1"),
    ('name = "x"\n[axes]\nsteps = [1001]', "steps: Input should be less than or equal to 1000"),
    (
        'name = "x"\n[axes]\nsampler = ["heun"]',
        "axes.sampler, value 1: Input should be 'ddim', 'ddpm'",
    ),
    (
        'name = "x"\n[axes]\nsamplers = ["ddim"]',
        "axes.samplers is no setting; did you mean sampler? there are att",
    ),
    ('name = "x"\n[axes]\nsize = ["64x64"]', "axes.size is no setting; there are attention, batch"),
    ('name = "x"\n[voice_axes]\nsize = [1]', "voice_axes.size is no setting; there are batch, eta"),
    ('name = "x"\n[axes]\neta = [1.5]', "eta: Input should be less than or equal to 1 (got 1.5)"),
    ('name = "x"\n[axes]\neta = [nan]', "axes.eta, value 1: Input should be a finite number"),
    ('name = "x"\n[axes]\nresolution = [65]', "width 65 is not a multiple of 8"),
    ('name = "x"\n[axes]\nresolution = ["64x70"]', "height 70 is not a multiple of 8"),
    ('name = "x"\n[axes]\nresolution = ["big"]', "axes.resolution, value 1: Input"),
    ('name = "x"\n[axes]\nresolution = ["99999x64"]', "width: Input should be less than or equal"),
    ('name = "x"\n[axes]\nbatch = [0]', "batch: Input should be greater than or equal to 1"),
    ('name = "x"\n[axes]\nprecision = ["fp8"]', "axes.precision, value 1: Input should be 'fp32'"),
    (
        'name = "x"\n[axes]\nguidance_scale = [inf]',
        "axes.guidance_scale, value 1: Input should be a fin",
    ),
    (
        'name = "x"\n[axes]\nseed = [-1]',
        "axes.seed, value 1: Input should be greater than or equal to 0",
    ),
    ('name = "x"\n[axes]\nmodel = [""]', "model: String should have at least 1 character"),
    (f'name = "x"\n[axes]\nseed = [{"9" * 5000}]', "Exceeds the limit"),
    ('name = "x"\nstop = 3', "stop should be a table, as [stop] is"),
    ('name = "x"\n[stop]\nnoise = 0', "stop.noise: Input should be greater than 0 (got 0)"),
    ('name = "x"\n[stop]\nnoise = nan', "stop.noise: Input should be a finite number"),
    ('name = "x"\n[stop]\nmax_time_s = 0', "stop.max_time_s: Input should be greater than 0"),
    ('name = "x"\n[stop]\nmax_repeats = 0', "stop.max_repeats: Input should be greater than or"),
    (
        'name = "x"\n[stop]\nmin_calls = 3',
        "stop.min_calls is no setting; there are max_repeats, max_time_s",
    ),
    ('name = "x"\nmeasured_steps = 1', "measured_steps: Input should be greater than or equal"),
    ('name = "x"\nmeasured_steps = 2.5', "measured_steps: Input should be a valid integer"),
    ('name = "x"\ntime_limit_s = 0', "time_limit_s: Input should be greater than 0 (got 0)"),
    ('name = "x"\nsustain_s = inf', "sustain_s: Input should be a finite number"),
    ('name = "x"\nemulated_memory = "lots"', "emulated_memory: 'lots' is no amount of memory"),
    ('name = "x"\nemulated_memory = "1,5GiB"', "emulated_memory: '1,5GiB' is no amount of"),
    ('name = "x"\nemulated_memory = -1', "emulated_memory: could not parse value and unit"),
    ('name = "x"\nemulated_memory = 12', "emulated_memory: Input should be greater than or equal"),
    ('name = "x"\nemulated_memory = "9999PiB"', "emulated_memory: Input should be less than or"),
    ('name = "x"\nemulated_memory = inf', "emulated_memory: could not parse value and unit"),
    ("x = " + "[" * 5000, "nested too deeply"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_one_line_that_names_the_file_and_the_field(
    text: str, words: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"mine\.toml") as caught:
        read_sweep(path)
    message = str(caught.value)
    assert words in message
    assert "\n" not in message
    assert len(message) < 500 + len(str(path))


def test_the_settings_that_there_are_are_told_once_however_many_are_mistaken() -> None:
    with pytest.raises(ValueError, match="colour is no setting") as caught:
        parse_sweep('name = "x"\ncolour = 1\nshade = 2\n[axes]\nhue = [1]\ntint = [2]')
    words = str(caught.value)
    assert all(f"{name} is no setting" in words for name in ("shade", "axes.hue", "axes.tint"))
    assert words.count("there are axes, ") == words.count("there are attention, ") == 1


def test_how_much_of_a_cell_to_run_is_read_with_the_usual_where_nothing_is_said() -> None:
    usual = parse_sweep('name = "x"')
    assert (usual.stop, usual.measured_steps, usual.sustain_s) == (None, None, None)
    assert (usual.emulated_memory_mib, usual.time_limit_s) == (None, 1800.0)
    told = parse_sweep(
        'name = "x"\nmeasured_steps = 20\ntime_limit_s = 60\nsustain_s = 600\n'
        'emulated_memory = "12GiB"\n[stop]\nnoise = 0.01\nmax_repeats = 7\n'
    )
    assert told.stop == StopRule(noise=0.01, max_repeats=7)
    assert (told.measured_steps, told.time_limit_s, told.sustain_s) == (20, 60.0, 600.0)
    assert told.emulated_memory_mib == 12 * 1024
    assert parse_sweep('name = "x"\nemulated_memory = 1048576').emulated_memory_mib == 1.0


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in (
        (tmp_path / "none.toml", "No such file"),
        (tmp_path, "directory"),
        (binary, "it is not text in UTF-8"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            read_sweep(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("folder", [r"C:\Users\ann\sd15", r"D:\models\sd15"])
def test_a_path_of_windows_in_double_quotes_is_told_how_it_is_written(folder: str) -> None:
    text = 'name = "x"\n[axes]\nmodel = ["{}"]'
    with pytest.raises(ValueError, match=r"line 3.*; a path of Windows stands in single quotes: '"):
        parse_sweep(text.format(folder))
    assert parse_sweep(text.replace('"{}"', "'{}'").format(folder)).axes.model == (folder,)


def test_the_mark_that_windows_editors_add_is_no_part_of_a_sweep(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes(b'\xef\xbb\xbfname = "x"\n')
    assert read_sweep(path).name == "x"


def test_the_main_sweep_compares_what_the_papers_compare() -> None:
    cells = read_sweep(BENCHMARKS / "ddpm_vs_ddim.toml").requests()
    assert {cell.steps for cell in cells} >= {10, 20, 50, 100, 250, 1000}
    assert len({(cell.width, cell.height) for cell in cells}) >= 3
    assert {cell.sampler for cell in cells} == {"ddim", "ddpm"}
    assert {cell.batch for cell in cells} == {1, 4}
    assert len(cells) == 6 * 3 * 2 * 2


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("*.toml")), ids=lambda path: path.name)
def test_every_sweep_that_comes_along_is_whole_and_repeats_enough(path: Path) -> None:
    sweep = read_sweep(path)
    assert sweep.repeats >= 3
    assert sweep.warmups >= 1
    compares_speeds = len({str(cell.speed) for cell in sweep.requests()}) > 1
    samplers = {"ddim"} if compares_speeds or sweep.devices else {"ddim", "ddpm"}
    assert {cell.sampler for cell in sweep.requests()} == samplers
    assert sweep.description


def plan_of(text: str) -> Plan:
    return plan_of_sweep(parse_sweep(text))


def plan_of_sweep(sweep: Sweep) -> Plan:
    return Plan(
        name=sweep.name,
        description=sweep.description,
        device="cpu",
        warmups=sweep.warmups,
        repeats=sweep.repeats,
        stop=sweep.stop,
        measured_steps=sweep.measured_steps,
        time_limit_s=sweep.time_limit_s,
        emulated_memory_mib=sweep.emulated_memory_mib,
        sustain_s=sweep.sustain_s,
        cells=sweep.requests(),
    )


@pytest.mark.parametrize(
    "axes",
    [
        "steps = [3, 5]\nresolution = [64, '96x64']\nbatch = [1, 2]",
        "sampler = ['ddpm']\nseed = [3, 4]\nprecision = ['fp32', 'bf16']",
        "sampler = ['ddpm', 'ddim']\neta = [0.0, 1.0]\nguidance_scale = [1.0, 3.0]",
        "sampler = ['ddpm', 'ddim']\neta = [1.0]",
    ],
)
def test_an_unfinished_reports_sweep_is_found_from_its_plan(axes):
    plan = plan_of(f'name = "x"\nprompt = "a fox"\nrepeats = 2\n[axes]\n{axes}')

    sweep = sweep_of(plan)

    assert plan_of(f'name = "x"\nprompt = "a fox"\nrepeats = 2\n[axes]\n{axes}').cells == (
        sweep.requests()
    )
    assert (sweep.name, sweep.repeats, sweep.warmups) == ("x", 2, 1)


def test_an_unfinished_reports_sweep_is_measured_as_it_was_begun():
    told = (
        'name = "x"\nmeasured_steps = 20\ntime_limit_s = 60\nsustain_s = 600\n'
        'emulated_memory = "8000001kB"\n[stop]\nnoise = 0.01\n[axes]\nsteps = [5]'
    )
    for text in (told, 'name = "x"'):
        assert plan_of(text) == plan_of_sweep(sweep_of(plan_of(text)))


def test_a_plan_that_no_grid_makes_is_not_guessed():
    cells = (ImageRequest(prompt="a", steps=3), ImageRequest(prompt="a", steps=4, width=96))
    plan = Plan(name="x", device="cpu", warmups=1, repeats=1, cells=cells)

    with pytest.raises(ValueError, match="not made from axes"):
        sweep_of(plan)
