"""What sizes a model draws is read off its files, and said before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_tiny_sd16

from diffusion_bench.backends.catalog import MODELS_FOLDER, catalog, find_model
from diffusion_bench.backends.counting.networks import configurations
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.model_sizes import check_sides, side_multiple, trained_side
from diffusion_bench.cli.drawing import Settings
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE, ImageRequest
from diffusion_bench.tiers.cost import short_name
from diffusion_bench.ui.asked import to_request
from diffusion_bench.ui.pictures.sizes import size_presets

REFUSED = "width 40 is not a multiple of 16, as this model needs; the nearest are 32 and 48"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd16(tmp_path_factory.mktemp("sd16")))


@pytest.fixture(scope="module")
def backend(folder: str) -> ImageBackend:
    return ImageBackend.load(folder, device="cpu")


def ask(model: str, width: int, height: int) -> ImageRequest:
    return ImageRequest(prompt="a cat", model=model, steps=1, width=width, height=height)


def test_an_autoencoder_of_16_pixels_a_cell_draws_multiples_of_16_and_all_sizes_on_offer(
    folder: str, backend: ImageBackend
) -> None:
    entry = find_model(folder)
    assert (entry.side, entry.multiple) == (4 * 16, 16)
    offered = set(size_presets(entry).values())
    assert (entry.side, entry.side) in offered
    # Odd numbers of cells too: the U-Net, which halves them, pads.
    for width, height in offered | {(16, 16), (48, 80)}:
        assert backend.generate(ask(folder, width, height)).images[0].size == (width, height)


def test_another_size_is_refused_in_one_line_by_pipeline_page_and_command(
    folder: str, backend: ImageBackend
) -> None:
    page = {"prompt": "a cat", "model": folder, "seed": 1, "width": 40, "height": 48}
    for refuse in (
        lambda: backend.generate(ask(folder, 40, 48)),
        lambda: to_request(page, shared=False),
        lambda: Settings(model=folder, size="40x48").request("a cat"),
    ):
        with pytest.raises(ValueError, match=REFUSED) as refused:
            refuse()
        assert "\n" not in str(refused.value)
    assert to_request(page | {"width": 48}, shared=False).width == 48


def test_a_side_that_is_too_small_to_draw_has_one_nearest_below_and_above() -> None:
    with pytest.raises(ValueError, match=r"height 8 is not .* the nearest is 16$"):
        check_sides(16, 16, 8)
    check_sides(16, 16, 0)  # a request says what is wrong with nothing


def test_what_the_catalog_tells_of_the_hubs_models_is_what_their_files_tell() -> None:
    known = configurations()
    for name, entry in catalog().items():
        networks = known[short_name(name)]
        patch = networks.denoiser.config.get("patch_size") or 1
        if networks.denoiser.cls.startswith("Flux"):
            patch = 2  # cells a side, which its pipeline packs
        assert entry.multiple == networks.cell_pixels * patch, name


def test_the_bundled_models_usual_size_is_the_one_it_was_trained_at() -> None:
    folder = MODELS_FOLDER / BUNDLED_MODEL
    assert find_model(BUNDLED_MODEL).side == BUNDLED_SIDE == trained_side(folder)
    assert find_model(BUNDLED_MODEL).multiple == side_multiple(folder)
    request = ImageRequest(prompt="a cat")
    assert (request.model, request.width, request.height) == (BUNDLED_MODEL, *[BUNDLED_SIDE] * 2)


def test_a_folder_that_tells_no_sizes_is_taken_to_be_as_most_are(tmp_path: Path) -> None:
    assert (trained_side(tmp_path), side_multiple(tmp_path)) == (None, 8)
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text('{"sample_size": "8", "patch_size": []}')
    assert (trained_side(tmp_path), side_multiple(tmp_path)) == (None, 8)
