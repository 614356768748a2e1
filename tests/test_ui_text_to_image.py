"""Fields that follow each other: a model's choices, guidance, sizes, words and styles."""

from __future__ import annotations

import io

import numpy as np
import pytest
from gradio.components.image_editor import EditorData
from gradio.data_classes import DataWithFiles
from PIL import Image
from tiny_words import GRAMMAR, LARGE, SMALL, save_words
from ui_server import laid_out

from diffusion_bench.backends.catalog import catalog, find_model, unknown_words
from diffusion_bench.backends.downloads import Fetching, Progress
from diffusion_bench.backends.input_pictures import read_inputs
from diffusion_bench.backends.model_sizes import check_sides
from diffusion_bench.backends.words import doubts
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.training.picturebook import export
from diffusion_bench.ui.model_choices import choice_updates, choices_for
from diffusion_bench.ui.model_words import about_words, download_words, model_words, room_words
from diffusion_bench.ui.pictures.fields import (
    EXAMPLES,
    NEGATIVE_OFF,
    NUM_EXAMPLES,
    START_WORDS,
    examples_for,
    setting_fields,
    start_fields,
    start_updates,
)
from diffusion_bench.ui.pictures.known_words import (
    HOW,
    doubts_line,
    with_word,
    word_choices,
    word_groups,
    words_info,
)
from diffusion_bench.ui.pictures.limits import check_rounds
from diffusion_bench.ui.pictures.prompt_styles import NO_STYLE, prompt_styles, styled, styles_for
from diffusion_bench.ui.pictures.sizes import size_presets
from diffusion_bench.ui.pictures.starting_picture import starting_pictures
from diffusion_bench.ui.text_to_image import for_guidance

FLUX = "black-forest-labs/FLUX.1-schnell"
SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"


def test_the_negative_prompt_is_off_with_the_reason_without_guidance():
    off, rescale = for_guidance(1.0)
    assert (off.interactive, off.info) == (False, NEGATIVE_OFF)
    assert rescale.interactive is False
    on, rescale = for_guidance(1.5)
    assert on.interactive is True
    assert rescale.interactive is True
    assert for_guidance(None)[0].interactive is False


def test_samplers_follow_the_model_and_the_excluded_ones_have_a_reason():
    names = [name for _, name in choices_for(BUNDLED_MODEL, shared=False).samplers]
    assert {"ddim", "ddpm"} <= set(names)
    flux = choices_for(FLUX, shared=False)
    assert not {"ddim", "ddpm", "lcm"} & {name for _, name in flux.samplers}
    assert "flow matching" in flux.excluded


@pytest.mark.parametrize("model", list(catalog()))
def test_every_model_of_the_list_can_be_chosen(model):
    sampler, style, size, words, *sides = choice_updates(model, shared=True)

    assert sampler.value in [name for _, name in sampler.choices]
    assert style.value == NO_STYLE
    assert len(size.choices) > 4
    assert bool(words.choices) == (model == BUNDLED_MODEL)
    assert [side.step for side in sides] == [catalog()[model].multiple] * 2


def test_what_is_said_of_a_model_needs_no_network():
    words = model_words(find_model(SD15))
    assert "Licence: CreativeML Open RAIL-M." in words
    assert "GiB (predicted), not here yet." in words
    assert "Download" not in model_words(find_model(BUNDLED_MODEL))
    gated = next(entry for entry in catalog().values() if entry.gated)
    assert "is gated: the hub hands it out after" in model_words(gated)


def test_whether_it_fits_comes_with_numbers_and_follows_the_size():
    small, large = (
        about_words(SD15, "cpu", size=(side, side), batch=1, precision="fp32")
        for side in (256, 4096)
    )
    assert "Memory at 256x256: " in small
    assert "GiB free on cpu" in small
    assert small != large
    assert about_words("half/ty ped", "cpu", size=(64, 64), batch=1, precision="fp32") == ""
    assert room_words(find_model(SD15), "cpu", size=(None, 64)) == ""
    assert room_words(find_model(SD15), "cpu", size=(10**9, 64)) == ""


def test_a_download_is_told_in_readable_amounts():
    words = download_words(
        Fetching(model=find_model(SD15), progress=Progress(done_mib=512.0, total_mib=2048.0))
    )

    assert words.endswith(": 512 MiB of 2.0 GiB.")


@pytest.mark.parametrize(
    ("side", "multiple"),
    [(64, 8), (96, 8), (128, 8), (128, 16), (192, 16), (512, 8), (768, 16), (1024, 32)],
)
def test_every_size_to_choose_is_one_that_the_model_draws(side, multiple):
    entry = find_model(BUNDLED_MODEL).model_copy(update={"side": side, "multiple": multiple})
    sizes = size_presets(entry)

    assert sizes["Square"] == (side, side)
    for width, height in sizes.values():
        check_sides(multiple, width, height)
        ImageRequest(prompt="a cat", width=width, height=height)
        assert 0.75 < width * height / side**2 < 1.3


def test_where_a_size_is_chosen_it_is_said_that_a_bundled_model_has_one_to_look_at():
    for words in (setting_infos()["Shape"], choice_updates(BUNDLED_MODEL, shared=False)[2].info):
        assert words.endswith("trained at 128 px only: other sizes are for timing.")
    assert choice_updates(SD15, shared=False)[2].info == "Sets both sides."


def setting_infos():
    """Return what is said under each field of the usual settings, by its label."""
    with laid_out():
        return {field.label: field.info for field in setting_fields().values()}


def test_known_words_are_found_by_kind_and_go_to_the_end_of_the_prompt():
    groups = word_groups(BUNDLED_MODEL)
    assert "cat" in groups["objects"]
    assert "words" not in groups
    assert ("cat (objects)", "cat") in word_choices(BUNDLED_MODEL)
    assert words_info(SD15) == words_info("no such model") == HOW
    assert word_choices(SD15) == word_choices("no such model") == []
    assert with_word("a big ", "cat") == "a big cat"
    assert with_word(None, "cat") == "cat"


def test_what_will_not_be_drawn_is_said_before_it_is_asked_for():
    assert "zebu (near: zebra" in doubts_line(BUNDLED_MODEL, "a zebu on mars", None)
    assert "apex (near: ape" in doubts_line(BUNDLED_MODEL, "a cat", "an apex")
    for typed in ("a re", "a red", "a cat on a whi", "a cat and "):
        assert "trained on" not in doubts_line(BUNDLED_MODEL, typed, typed)
    assert doubts_line(BUNDLED_MODEL, "a re cat", "").endswith("(near: red, trex, tree); left out")
    for model in (BUNDLED_MODEL, SD15, "half/", ""):
        assert doubts_line(model, "a cat on mars", "") == ""
        assert doubts_line(model, None, None) == ""


def test_the_words_of_either_shape_are_grouped_and_none_is_left_out_unsaid(tmp_path):
    large = save_words(tmp_path / "large", LARGE)
    assert list(word_groups(large)) == [
        "objects",
        "colours",
        "settings",
        "sizes",
        "relations",
        "numbers",
    ]
    choices = word_choices(large)
    assert ("in the sea (settings)", "in the sea") in choices
    assert ("two (numbers)", "two") in choices
    assert with_word("a cat", dict(choices)["on mars (settings)"]) == "a cat on mars"
    said = {word for _, phrase in choices for word in phrase.split()}
    assert set(LARGE["words"]) - said - set(GRAMMAR) == LARGE["synonyms"].keys()
    assert words_info(large) == f"{HOW} 5 more are read as one of these: kitty as cat."
    for _, phrase in choices:
        assert unknown_words(large, phrase) == ()

    small = save_words(tmp_path / "small", {**SMALL, "weather": ["rain"]})
    kinds = ["objects", "colours", "sizes", "relations", "weather"]
    assert list(word_groups(small)) == kinds
    assert words_info(small) == HOW
    only = save_words(tmp_path / "only", {"words": ["cat"]})
    assert word_groups(only) == {"words": ("cat",)}


def test_the_examples_are_those_that_a_model_has_the_words_for(tmp_path):
    known = [prompt for prompt in EXAMPLES if not unknown_words(BUNDLED_MODEL, prompt)]
    assert examples_for(BUNDLED_MODEL) == known[:NUM_EXAMPLES]
    assert len(known) >= NUM_EXAMPLES
    picturebook = save_words(tmp_path, export.known_words())
    assert examples_for(picturebook) == list(EXAMPLES[:NUM_EXAMPLES])
    assert all(not doubts(picturebook, prompt) for prompt in EXAMPLES)


def test_a_model_sets_its_side_and_a_picture_that_comes_back_keeps_its_own():
    *_, width, height = choice_updates(SD15, shared=False, side=512)
    assert (width.value, height.value) == (512, 512)
    *_, width, _ = choice_updates(SD15, shared=False)
    assert "value" not in width._constructor_args[0]


def test_a_style_is_offered_only_for_a_model_that_knows_its_words():
    bundled = styles_for(BUNDLED_MODEL)
    assert bundled[0] == NO_STYLE
    assert "Blue background" in bundled
    assert "Oil painting" not in bundled
    for name in bundled[1:]:
        assert unknown_words(BUNDLED_MODEL, styled(name, "a cat", "")[0]) == ()
    assert styles_for(SD15) == [NO_STYLE, *prompt_styles()]


def test_a_style_is_put_around_the_prompt_and_beside_the_negative_one():
    assert styled("Oil painting", " a cat ", "a dog") == (
        "a cat, oil painting on canvas, visible brush strokes",
        "a dog, photograph",
    )
    assert styled(NO_STYLE, "a cat", "") == styled(None, "a cat", "") == ("a cat", "")
    assert styled("Oil painting", " ", "") == (" ", "")
    with pytest.raises(ValueError, match="unknown style 'Cubist'"):
        styled("Cubist", "a cat", "")


def test_a_click_asks_for_a_bounded_number_of_pictures():
    check_rounds(4, 64, shared=False)
    with pytest.raises(ValueError, match="5 rounds of 64 pictures are more than 256"):
        check_rounds(5, 64, shared=False)
    with pytest.raises(ValueError, match="rounds must be 1 or more"):
        check_rounds(-1, 1, shared=False)


def test_the_picture_to_start_from_reaches_the_request_to_the_bit(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    own = read_inputs(Image.fromarray(noise))
    with laid_out():
        editor = start_fields()["start"]
    editor.GRADIO_CACHE = str(tmp_path)
    sent = io.BytesIO()
    own.image.convert("RGBA").save(sent, format="PNG")  # as the browser uploads its canvas
    blob = {"type": "background", "index": "null", "id": "click"}
    editor.accept_blobs(DataWithFiles(data=blob, files=[("image.png", sent.getvalue())]))

    edited = editor.preprocess(EditorData(id="click"))

    assert starting_pictures(edited).digests() == own.digests()


def test_starting_from_a_picture_is_offered_where_the_model_can_else_the_reason_is_said():
    for model in (BUNDLED_MODEL, FLUX, SD15, "half-typed/"):
        words, editor, strength = start_updates(model)
        assert (words.value, editor.visible, strength.visible) == (START_WORDS, True, True)

    sana = next(name for name in catalog() if "Sana" in name)
    words, editor, strength = start_updates(sana)
    assert "no image to image for SanaPipeline" in words.value
    assert (editor.visible, editor.value, strength.visible) == (False, None, False)
