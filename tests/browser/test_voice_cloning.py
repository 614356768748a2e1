"""The tab Voice cloning in Debian's Chromium: speak, listen, upload, cancel; on a phone too.

The model is a tiny Echo of random weights in the place of the bundled one, so that nothing of this
waits for a network of full size.
"""

from __future__ import annotations

import re

import pytest
from tiny_echo import save_tiny_echo
from ui_server import is_free, served, wait_until
from visit import PATIENCE_MS, browser, open_page, pytestmark, reports, sync_api, visit

from diffusion_bench.backends.voice import catalog, voices
from diffusion_bench.backends.voice.recipes import read_recipe
from diffusion_bench.ui.voice import listening as voice_listening

__all__ = ["browser", "open_page", "pytestmark", "reports", "visit"]

LONG = " ".join(["The river was quiet that morning, and a thin mist lay over the fields."] * 12)
VOICE = voices.BUNDLED_FOLDER / "ben.flac"


@pytest.fixture(scope="module")
def url(reports, tmp_path_factory):
    known = dict(catalog.voice_catalog())
    location = str(save_tiny_echo(tmp_path_factory.mktemp("model") / "echo"))
    known["echo"] = known["echo"].model_copy(update={"location": location})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "voice_catalog", lambda: known)
        with served(reports=reports) as page:
            yield page.local_url


def speak_as_a_sample_voice(visit, folder):
    page = visit.page
    page.click("#voice-voice input")
    page.get_by_role("option", name=re.compile("ben", re.IGNORECASE)).first.click()
    page.fill("#voice-text textarea", "The river was quiet.")
    page.fill("#voice-steps input", "2")
    page.fill("#voice-batch input", "2")
    page.keyboard.press("Control+Enter")
    visit.has_text("#voice-status", r"real-time factor \d+\.\d\d")
    seed = int(page.locator("#voice-used-seed textarea").input_value())
    drawn = page.locator("#voice-spectrogram .heatmaplayer image")
    sync_api.expect(drawn).to_have_count(2, timeout=PATIENCE_MS)
    sync_api.expect(page.locator("#voice-measures")).to_contain_text("median pitch")
    return download_of(visit, folder), seed


def download_of(visit, folder):
    """Return the file that the player offers."""
    link = visit.page.locator("#voice-audio a[download]").first
    sync_api.expect(link).to_be_attached(timeout=PATIENCE_MS)
    path = folder / "said.wav"
    path.write_bytes(visit.page.request.get(link.get_attribute("href")).body())
    return path


def hear_the_other_candidate(visit):
    link = visit.page.locator("#voice-audio a[download]").first
    before = link.get_attribute("href")
    visit.page.locator("#voice-candidate label").nth(1).click()
    sync_api.expect(link).not_to_have_attribute("href", before, timeout=PATIENCE_MS)


def clone_a_recording_of_ones_own(visit):
    page = visit.page
    page.locator("#voice-recording input[type=file]").set_input_files(VOICE)
    sync_api.expect(page.locator("#voice-report")).to_contain_text(
        "s of speech in", timeout=PATIENCE_MS
    )
    page.click("#voice-speak")
    visit.has_text("#voice-status", "^Error: a voice belongs to the person")
    page.locator("#voice-consent input").check()
    page.click("#voice-speak")
    visit.has_text("#voice-status", "real-time factor")


def hear_a_long_text_while_it_is_made(visit):
    """The player's clock runs while chunks are still to come."""
    page = visit.page
    page.fill("#voice-text textarea", LONG)
    page.fill("#voice-steps input", "150")
    page.fill("#voice-batch input", "1")
    page.click("#voice-speak")
    page.wait_for_function(
        """() => {
            const player = document.querySelector("#voice-live audio");
            const status = document.querySelector("#voice-status textarea").value;
            return player && !player.paused && player.currentTime > 0 && /^Chunk /.test(status);
        }"""
    )
    visit.has_text("#voice-status", "real-time factor")
    page.fill("#voice-text textarea", "The river was quiet.")


def compare_two_samplers(visit):
    page = visit.page
    page.locator("#voice-compare > button").click()
    visit.fill_opened("#voice-compare-steps :is(input, textarea)", "1 2")
    page.click("#voice-compare-speak")
    visit.has_text("#voice-compare-status", "^4 candidates in .* are from DDIM, 2 steps")
    players = page.locator("#voice-compare-players a[download]")
    sync_api.expect(players).to_have_count(4, timeout=PATIENCE_MS)
    sync_api.expect(page.locator("#voice-compare-figures")).to_contain_text("DDPM, 2 steps")
    drawn = page.locator("#voice-compare-spectrograms .heatmaplayer image")
    sync_api.expect(drawn).to_have_count(4, timeout=PATIENCE_MS)


def cancel(visit):
    page = visit.page
    page.fill("#voice-steps input", "1000")
    page.click("#voice-speak")
    visit.has_text("#voice-status", "^Step ")
    page.click("#voice-cancel")
    visit.has_text("#voice-status", r"^Cancelled\.")
    wait_until(is_free, "the device is free")


def test_speak_listen_clone_cancel_and_compare_with_no_network(visit, tmp_path):
    visit.open("Voice cloning")

    path, seed = speak_as_a_sample_voice(visit, tmp_path)
    recipe = read_recipe(path)
    assert (recipe.request.voice, recipe.request.steps) == ("ben", 2)
    assert recipe.request.seed == seed
    hear_the_other_candidate(visit)
    clone_a_recording_of_ones_own(visit)
    if voice_listening.can_stream():
        hear_a_long_text_while_it_is_made(visit)
    cancel(visit)
    compare_two_samplers(visit)


def test_on_a_phone_the_player_follows_the_button_and_nothing_is_wider(open_page):
    visit = open_page(viewport={"width": 393, "height": 850})
    visit.open("Voice cloning")

    sync_api.expect(visit.page.locator("#voice-speak")).to_be_visible()
    visit.page.locator("#voice-compare > button").click()
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 393
    fits = "one => one.scrollWidth <= one.clientWidth"  # else it reads "DD..." of two samplers
    assert visit.page.locator("#voice-sampler input").evaluate(fits)
    tops = [
        visit.page.locator(f"#voice-{name}").bounding_box()["y"]
        for name in ("text", "speak", "audio", "status", "model")
    ]
    assert tops == sorted(tops)
