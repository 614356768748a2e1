"""What the words of published tables and of the command line mean."""

from __future__ import annotations

import pytest

from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.tiers.table_words import precision_named, software_named
from diffusion_bench.tiers.workload import (
    KNOWN_SAMPLERS,
    TWICE_NAMES,
    Workload,
    model_named,
    parse_workload,
    told_apart,
)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("SD1.5 (base or same-architecture fine-tune)", "sd15"),
        ("SD1.4", "sd15"),
        ("SDXL", "sdxl"),
        ("sdxl", "sdxl"),
        (BUNDLED_MODEL, BUNDLED_MODEL),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15"),
        ("SD15", "sd15"),
        ("SD 1.5", "sd15"),
        ("Stable Diffusion v1.5", "sd15"),
        ("SDXL 1.0", "sdxl"),
        ("SDXL Turbo", "sdxl-turbo"),
        ("SD3.5 Medium", "sd35-medium"),
        ("FLUX.1 [dev]", "flux1-dev"),
        ("Flux Schnell", "flux1-schnell"),
    ],
)
def test_tables_and_the_catalog_name_our_models(words: str, name: str) -> None:
    assert model_named(words) == name


@pytest.mark.parametrize("words", ["SD1.5+ControlNet", "SDXL+LCM", "SDXL base+refiner", "SD", ""])
def test_a_model_that_only_looks_like_one_of_ours_is_unknown(words: str) -> None:
    with pytest.raises(ValueError, match="known: "):
        model_named(words)


@pytest.mark.parametrize(
    ("words", "precision"),
    [
        ("fp16", "fp16"),
        ("fp16/bf16", "fp16"),
        ("fp16 (not stated)", "fp16"),
        ("fp32/TF32", "fp32"),
        ("torch.float16", "fp16"),
        ("half precision", "fp16"),
        ("fp16 autocast (bf16 VAE)", "fp16"),
        ("bfloat16", "bf16"),
        ("FP32 ", "fp32"),
    ],
)
def test_precisions_of_tables_are_read(words: str, precision: str) -> None:
    assert precision_named(words) == precision


@pytest.mark.parametrize(
    "words",
    [
        "",
        "fp8",
        "int8wo",
        "bnb nf4",
        "fp16/int8",
        "svdq nvfp4",
        "fp16 (int8 weights)",
        "bf16 (GGUF)",
    ],
)
def test_quantised_weights_are_not_taken_for_fp16(words: str) -> None:
    with pytest.raises(ValueError, match="known: fp32, bf16, fp16"):
        precision_named(words)


@pytest.mark.parametrize(
    ("backend", "variant", "name", "web_ui"),
    [
        ("diffusers", "torch2.0 eager SDPA", "eager", False),
        ("diffusers", "torch2.0 compile SDPA", "compiled", False),
        ("diffusers + torchao", "compile=False vae=False quant=None", "eager", False),
        ("diffusers 0.11", "no xformers", "plain attention", False),
        ("diffusers / stable-fast (with xformers & Triton)", "", "engine", False),
        (
            "A1111 / SD.Next / Forge, torch 2.x",
            "xformers or SDP, no medvram/lowvram, no compile",
            "eager",
            True,
        ),
        ("diffusers / TensorRT (AUTO1111 WebUI)", "", "engine", True),
        ("diffusers", "without torch.compile", "eager", False),
        ("diffusers", "not compiled, channels_last", "eager", False),
        ("diffusers", "torch.compile: off", "eager", False),
        ("diffusers", "torch.compile=0", "eager", False),
        ("diffusers", "no CPU offload", "eager", False),
        ("diffusers", "no offload, compiled", "compiled", False),
        ("diffusers", "customer build, SDPA", "eager", False),
        ("diffusers, PyTorch 2.1", "no xformers", "eager", False),
        ("diffusers, torch 1.13", "xformers=False", "plain attention", False),
        ("PyTorch 1.12 eager", "", "plain attention", False),
        ("diffusers, torch==1.13.1", "", "plain attention", False),
        ("diffusers 0.11, torch 1.13", "xformers", "eager", False),
        ("diffusers, torch 1.13", "FlashAttention", "eager", False),
        ("diffusers, torch 2.1.0", "", "eager", False),
        ("xDiT eager", "1 GPU", "eager", False),
        ("TRT 8.6", "", "engine", False),
        ("Stable Diffusion Web UI", "", "eager", True),
    ],
)
def test_software_is_told_by_its_words(backend, variant, name, web_ui) -> None:
    software = software_named(backend, variant)
    assert (software.name, software.web_ui) == (name, web_ui)


@pytest.mark.parametrize(
    "variant",
    [
        "model offload",
        "medvram",
        "FBCache rdt=0.08",
        "quant=fp8dq",
        "tiny VAE",
        "TAESD",
        "ToMe 0.5",
        "int8 weights",
        "8 steps, LoRA",
        "no compile, CPU offload",
        "SageAttention",
        "DirectML",
        "8-bit weights",
        "8bit T5",
        "torchao float8wo",
        "nunchaku",
        "no T5",
        "precomputed text embeddings",
        "ulysses+ring",
        "Ring-2",
        "context parallel",
        "2 GPUs",
    ],
)
def test_what_changes_the_work_is_not_taken_for_plain_software(variant: str) -> None:
    with pytest.raises(ValueError, match="not counted"):
        software_named("diffusers", variant)


def test_a_workload_is_typed_in_a_few_words() -> None:
    asked = parse_workload("sdxl 1024x768 b4 bf16 30 steps")
    assert asked == Workload(
        model="sdxl", width=1024, height=768, batch=4, precision="bf16", steps=30, guided=True
    )
    assert parse_workload("sdxl-turbo, 512x512").guided is False


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sdxl 1024 b1 fp16 30", "says its steps twice, 1024 and 30; say it as 'sdxl 1024x1024"),
        ("sdxl 512x512 768x512", "says its width twice, 512 and 768"),
        ("sdxl fp32 fp16", "says its precision twice"),
        ("sdxl b2 b4", "says its batch twice"),
        ("sdxl 1024 fp16", "1024 in workload 'sdxl 1024 fp16' may be a side or steps"),
    ],
)
def test_a_workload_that_says_two_things_of_one_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_workload(text)


def test_many_steps_are_taken_where_they_are_called_so() -> None:
    assert parse_workload("sd15 1000 steps").steps == 1000
    assert parse_workload(parse_workload("sd15 1000 steps").name).steps == 1000


@pytest.mark.parametrize("text", ["", "sd15 big", "sd99", "sd15 512x512 b0", "sd15 1e3"])
def test_words_that_say_nothing_known_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"known|workload|batch"):
        parse_workload(text)


@pytest.mark.parametrize(
    "sampler",
    [
        "Heun",
        "HeunDiscreteScheduler",
        "DPM2",
        "DPM2 a Karras",
        "dpm_2",
        "dpm_2_ancestral",
        "k_dpm_2",
        "kdpm_2",
        "kdpm_2_a",
        "KDPM2DiscreteScheduler",
        "DPM++ 2S a",
        "DPM++ 2S a Karras",
        "DPM++ SDE Karras",
        "dpmpp_2s_ancestral",
        "dpmpp_sde",
        "dpm++_sde",
        "DPMSolverSDEScheduler",
    ],
)
def test_samplers_of_second_order_call_the_network_twice_whoever_names_them(sampler: str) -> None:
    assert Workload(model="sd15", steps=20, sampler=sampler).calls == 40


@pytest.mark.parametrize(
    "sampler",
    [
        "DPM++ 2M",
        "dpm++",
        "dpmpp_2m",
        "dpmpp_2m_sde",
        "dpm_2m",
        "DPM++ 3M SDE",
        "DPM++ 2M SDE Heun",
        "DPM++ 2M SDE Heun Karras",
        "dpmpp_2m_sde_heun",
        "dpmpp_2s",
        "dpmpp_2s_k",
        "DPMSolverSinglestepScheduler",
        "DPMSolverMultistepScheduler",
        "Euler a",
        "ddim",
        "UniPC",
        "lcm",
    ],
)
def test_samplers_that_remember_the_step_before_call_it_once(sampler: str) -> None:
    assert Workload(model="sd15", steps=20, sampler=sampler).calls == 20


@pytest.mark.parametrize("text", ["", "  ", ","])
def test_a_workload_of_no_words_is_told_to_be_empty(text: str) -> None:
    with pytest.raises(ValueError, match="a workload is empty; say it as 'sdxl "):
        parse_workload(text)


def test_of_the_samplers_that_can_be_asked_for_those_count_twice_that_are_said_to() -> None:
    twice = [each for each in KNOWN_SAMPLERS if Workload(model="sd15", sampler=each).calls == 40]
    assert tuple(twice) == TWICE_NAMES


def test_workloads_of_a_model_are_told_apart_by_what_differs_and_by_no_more() -> None:
    asked = [
        parse_workload(words)
        for words in ("sdxl 1024x1024 b1", "sdxl 1024x1024 b4", "sdxl 512x512 b4", "sd15 b2")
    ]
    told = [told_apart(one, asked) for one in asked]
    assert told == ["1024x1024 b1", "1024x1024 b4", "512x512 b4", ""]
    twice = [asked[0], asked[0].model_copy(update={"precision": "fp32", "guided": False})]
    assert [told_apart(one, twice) for one in twice] == ["fp16 guided", "fp32 not guided"]
