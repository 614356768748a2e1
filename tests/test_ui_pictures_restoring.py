"""A picture back into the fields that made it."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from diffusion_bench.backends.input_pictures import read_inputs
from diffusion_bench.backends.picture_recipes import PictureRecipe
from diffusion_bench.backends.pictures import save_png
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.ui.asked import FIELDS
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.restoring import read_settings, restored


@pytest.fixture
def drawing(tmp_path):
    return Drawing(None, None, None, shared=False)


def test_settings_are_read_from_a_picture(drawing, tmp_path):
    request = ImageRequest(prompt="a fox", sampler="ddpm", steps=9, seed=5, noise_seed=6)
    path = tmp_path / "fox.png"
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    fields = read_settings(str(path), shared=False).fields

    assert drawing.to_request(fields) == request


def test_a_noise_seed_that_a_picture_has_not_stays_unset(drawing, tmp_path):
    request = ImageRequest(prompt="a fox")
    path = tmp_path / "fox.png"
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    fields = read_settings(str(path), shared=False).fields

    assert fields["noise_seed"] == -1  # None would be shown, and sent, as 0
    assert drawing.to_request(fields) == request


@pytest.mark.parametrize("content", ["plain", "not a picture", "torn", "damaged", "none"])
def test_a_picture_without_usable_settings_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "other.png"
    Image.new("RGB", (8, 8)).save(path)
    if content == "not a picture":
        path.write_text("hello")
    elif content == "torn":
        path.write_bytes(path.read_bytes()[:40])
    elif content == "damaged":
        request = ImageRequest(prompt="a fox")
        bad = request.model_copy(update={"steps": -3})
        save_png(
            Image.new("RGB", (8, 8)),
            path,
            PictureRecipe.model_construct(
                request=bad, picture=0, device="", model_revision=None, versions={}, missing={}
            ),
        )

    with pytest.raises(ValueError, match=r"\w") as refused:
        read_settings(None if content == "none" else str(path), shared=False)

    assert "\n" not in str(refused.value)


def test_a_seed_that_a_browser_would_round_is_not_put_into_its_field(tmp_path):
    path = tmp_path / "big.png"
    request = ImageRequest(prompt="a fox", seed=2**53 + 1)
    save_png(Image.new("RGB", (8, 8)), path, PictureRecipe(request=request))

    with pytest.raises(ValueError, match="larger than a browser can hold"):
        read_settings(str(path), shared=False)


def test_a_picture_of_a_batch_brings_its_whole_batch_back_and_says_its_own_seed(drawing):
    request = ImageRequest(
        prompt="a fox",
        negative_prompt="a dog",
        sampler="ddim",
        eta=0.3,
        steps=9,
        guidance_scale=2.5,
        width=80,
        height=48,
        batch=3,
        precision="bf16",
        seed=5,
        guidance_rescale=0.4,
    )

    found = restored(PictureRecipe(request=request, picture=2), shared=False)

    assert drawing.to_request(found.fields) == request
    assert "picture 3 of a batch of 3; alone it is drawn from seed 7" in found.said
    assert set(FIELDS) <= set(found.fields)


def test_a_variation_comes_back(drawing):
    request = ImageRequest(prompt="a fox", variation_seed=9, variation_strength=0.2)

    fields = restored(PictureRecipe(request=request), shared=False).fields

    assert drawing.to_request(fields) == request


def test_other_software_and_a_picture_that_is_needed_too_are_said():
    request = ImageRequest(prompt="a fox", image="0" * 16, mask="1" * 16, strength=0.4)
    recipe = PictureRecipe(request=request, versions={"torch": "1.0.0"}, input_size=(640, 480))

    said = restored(recipe, shared=False).said

    assert (
        f"from an image of 640x480 pixels (digest {'0' * 16}) and a mask (digest {'1' * 16}), "
        "which its file does not hold: add that too" in said
    )
    assert "torch 1.0.0 then, " in said


def test_another_picture_to_start_from_than_the_restored_one_is_warned_of(drawing, tmp_path):
    colours = ("red", "blue")
    paths = {colour: str(tmp_path / f"{colour}.png") for colour in colours}
    for colour, path in paths.items():
        Image.new("RGB", (16, 8), colour).save(path)
    request = ImageRequest(prompt="a fox", **read_inputs(Path(paths["red"])).digests())
    fields = restored(PictureRecipe(request=request, input_size=(16, 8)), shared=False).fields

    def warned(colour):
        start = {"background": paths[colour], "layers": []} if colour else None
        return drawing.asked(fields | {"start": start}).warnings

    assert warned("red") == ()
    (told,) = warned("blue")
    assert f"drawn from an image of 16x8 pixels (digest {request.image}); the image given" in told
    (told,) = warned(None)
    assert told.endswith("; no image is given.")
    plain = restored(PictureRecipe(request=ImageRequest(prompt="a fox")), shared=False).fields
    assert drawing.asked(plain | {"start": {"background": paths["red"], "layers": []}}).inputs
    assert drawing.asked(plain).warnings == ()


def test_once_another_setting_is_changed_the_restored_start_is_no_concern(drawing, tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (16, 8), "red").save(path)
    digests = read_inputs(path).digests()
    request = ImageRequest(prompt="a fox", strength=0.4, **digests)
    fields = restored(PictureRecipe(request=request, input_size=(16, 8)), shared=False).fields

    def warned(**changed):
        return len(drawing.asked(fields | changed).warnings)

    assert warned() == warned(speed="auto") == warned(strength=0.5) == 1
    for changed in ({"prompt": "a cat"}, {"seed": 3}, {"style": "At night"}, {"steps": 9}):
        assert warned(**changed) == 0, changed
    other = {"start": {"background": save_plain(tmp_path / "blue.png"), "layers": []}}
    assert warned(**other) == 1
    assert warned(**other, strength=0.5) == 0


def save_plain(path):
    Image.new("RGB", (16, 8), "blue").save(path)
    return str(path)


def save_elsewhere(path, text):
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return str(path)


def test_a_picture_of_another_tool_brings_back_what_it_tells(tmp_path):
    text = (
        "a castle, dusk\nby the sea\nNegative prompt: people\n"
        "Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, "
        'Size: 512x768, Model hash: 6ce0161689, Model: "v1, 5", Lora hashes: "a: 1, b: 2"'
    )

    found = read_settings(save_elsewhere(tmp_path / "a.png", text), shared=True)

    assert found.fields == {
        "prompt": "a castle, dusk\nby the sea",
        "negative_prompt": "people",
        "sampler": "dpm++",
        "steps": 28,
        "guidance_scale": 6.5,
        "seed": 42,
        "width": 512,
        "height": 768,
        "style": "None",
        "restored": None,
    }
    assert "another tool" in found.said
    assert found.said.endswith(
        "Not read, since there is no such setting or value here: Lora hashes: a: 1, b: 2; "
        "Schedule type: Karras."
    )


def test_a_sampler_that_is_none_of_ours_is_named_and_the_field_stays(tmp_path):
    found = read_settings(
        save_elsewhere(tmp_path / "a.png", "a\nSteps: 3, Sampler: Euler a"), shared=False
    )

    assert "sampler" not in found.fields
    assert "Sampler: Euler a" in found.said


def test_a_workflow_of_comfyui_is_said_to_be_one(tmp_path):
    info = PngInfo()
    info.add_text("workflow", "{}")
    info.add_text("prompt", "{}")
    Image.new("RGB", (8, 8)).save(tmp_path / "comfy.png", pnginfo=info)

    with pytest.raises(ValueError, match="carries a workflow of ComfyUI"):
        read_settings(str(tmp_path / "comfy.png"), shared=False)


def test_a_sampler_of_another_tool_that_the_chosen_model_cannot_take_is_left_out_and_said(tmp_path):
    path = save_elsewhere(tmp_path / "a.png", "a\nSteps: 3, Sampler: DDIM")

    kept = read_settings(path, shared=False, model=BUNDLED_MODEL)
    left_out = read_settings(path, shared=False, model="black-forest-labs/FLUX.1-schnell")

    assert kept.fields["sampler"] == "ddim"
    assert kept.fields == left_out.fields | {"sampler": "ddim"}
    assert "sampler" not in kept.said
    assert "Its sampler, DDIM, does not suit this model" in left_out.said
    assert read_settings(path, shared=False, model="half-typed/").fields["sampler"] == "ddim"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a castle", "tells no steps"),
        ("", "tells no steps"),
        ("a\nSteps: 0, Seed: 1", "cannot be drawn: steps: "),
        ("a\nSteps: 3, Size: 65x64", "cannot be drawn: width 65 is not a multiple of 8"),
        ("Steps: 3", "cannot be drawn: the prompt is empty"),
        ("a\nSteps: 3, Seed: 99999999999999999", "larger than a browser can hold"),
        ("a\n" + "Steps: " * 200_000, "longer than 32768 characters"),
    ],
)
def test_a_text_of_another_tool_that_is_no_use_is_one_line(text, said, tmp_path):
    with pytest.raises(ValueError, match=said) as refused:
        read_settings(save_elsewhere(tmp_path / "a.png", text), shared=False)

    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_what_of_another_tool_has_no_place_here_is_left_out(tmp_path):
    text = "a\nSteps: 3, Sampler: Euler a, Eta: 0.5, CFG scale: x, Variation seed: 3, Seed: -1"

    fields = read_settings(save_elsewhere(tmp_path / "a.png", text), shared=False).fields

    assert fields["seed"] == -1
    assert "sampler" not in fields
    assert "guidance_scale" not in fields
    assert fields["variation_seed"] is None or fields["variation_seed"] == -1


def test_a_speed_comes_back_and_a_guest_gets_one_that_the_list_has(drawing):
    request = ImageRequest(prompt="a fox", speed="bf16, packed")
    recipe = PictureRecipe(request=request)

    assert drawing.to_request(restored(recipe, shared=False).fields) == request
    assert "differently: speed" not in restored(recipe, shared=False).said
    guests = restored(recipe, shared=True)
    assert guests.fields["speed"] == "plain"
    assert "It may come out differently: speed bf16, packed then, plain now." in guests.said
    plain = PictureRecipe(request=ImageRequest(prompt="a fox"))
    assert "differently: speed" not in restored(plain, shared=True).said


def test_a_visitor_cannot_restore_a_model_that_is_not_on_the_list(tmp_path):
    request = ImageRequest(prompt="a fox", model=str(tmp_path))

    with pytest.raises(ValueError, match="models of its list only"):
        restored(PictureRecipe(request=request), shared=True)


def test_a_noise_seed_of_0_comes_back_as_that():
    request = ImageRequest(prompt="a fox", noise_seed=0)
    assert restored(PictureRecipe(request=request), shared=False).fields["noise_seed"] == 0
