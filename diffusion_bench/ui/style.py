"""How the page looks; nothing in it comes from outside the machine."""

from __future__ import annotations

import gradio as gr

from diffusion_bench.charts.text_colour import FOLLOWS_PAGE
from diffusion_bench.ui.page_script import SCRIPT

STYLE = """
.gradio-container { width: 100% !important; max-width: 1280px !important; margin: 0 auto !important;
  box-sizing: border-box; overflow-wrap: anywhere; }
.gradio-container main { min-width: 0; }
:is(#t2i-pictures, #t2i-history, #t2i-compare-pictures) img { object-fit: contain !important;
  width: 100%; height: 100%; }
.gradio-container :is(button, th) { overflow-wrap: normal; }
.gradio-container .prose h2 { font-size: 1rem !important; margin: 0 !important; }
#t2i-start .zoom-number { white-space: nowrap; }
#t2i-pictures .grid-container:has(> .thumbnail-item:only-child),
#t2i-pictures .grid-container:has(> :only-child > .thumbnail-item) { height: 100%;
  grid-template-columns: 1fr !important; }
#t2i-pictures .thumbnail-item:only-child { aspect-ratio: auto; width: 100%; height: 100%; }
#t2i-compare-pictures .grid-container { justify-content: start;
  grid-template-columns: repeat(var(--grid-cols), minmax(80px, 240px)) !important; }
#t2i-compare-pictures .caption-label { white-space: normal; left: 0; max-width: 100%; }
.look-row .fixed-height { min-height: 0 !important; max-height: none !important; }
.look-row .grid-container { justify-content: start; overflow: visible;
  grid-template-columns: repeat(auto-fill, 102px) !important; }
.look-row label[data-testid="block-label"] { position: static !important; width: fit-content; }
.look-wide .grid-container {
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 230px), 1fr)) !important; }
.look-row .thumbnail-lg { display: flex; flex-direction: column; height: auto !important;
  aspect-ratio: auto !important; }
.look-row .thumbnail-lg > img { height: auto !important; }
.look-row .caption-label { position: static !important; white-space: normal !important;
  max-width: 100% !important; font-size: .7rem; line-height: 1.2; padding: 1px 5px; }
.look-row img { image-rendering: pixelated; }
.progress-line { padding: 0 !important; }
:is(#bench-progress, [id^=look-]).progress-line:not(:has(progress)) { display: none; }
.progress-line progress { appearance: none; display: block; width: 100%; height: .5rem; border: 0;
  border-radius: .25rem; overflow: hidden; background: var(--border-color-primary); }
.progress-line progress::-webkit-progress-bar { background: var(--border-color-primary); }
.progress-line progress::-webkit-progress-value { background: var(--color-accent); }
.progress-line progress::-moz-progress-bar { background: var(--color-accent); }
.code textarea { font-family: var(--font-mono); font-size: .85rem; line-height: 1.45;
  white-space: pre; overflow-x: auto; }
.gradio-container .min_value, .gradio-container .max_value { white-space: nowrap; }
:is(#t2i-page, #voice-page) { display: grid; grid-template-rows: auto 1fr;
  grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); }
:is(#t2i-ask, #voice-ask) { grid-area: 1 / 1; }
:is(#t2i-settings, #voice-settings) { grid-area: 2 / 1; }
:is(#t2i-result, #voice-result) { grid-area: 1 / 2 / span 2; }
#voice-compare-players { display: grid;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 270px), 1fr)); }
#voice-measures table { width: 100%; font-size: .9rem; border: 0 !important; }
#voice-measures :is(thead, tbody, tr) { border: 0 !important; }
#voice-measures table * { overflow-wrap: normal !important; word-break: normal !important; }
#voice-measures :is(th, td) { padding: .3rem .5rem !important; border-style: solid;
  border-width: 0 0 1px !important; border-color: var(--border-color-primary) !important; }
@media (max-width: 700px) {  /* what comes lies below the button, the settings below that */
  :is(#t2i-page, #voice-page) { display: flex; flex-direction: column; flex-wrap: nowrap; }
  :is(#t2i-page, #voice-page) > * { width: 100%; }
}
@media (max-width: 600px) {
  .gradio-container main { padding: .5rem !important; }
  .gradio-container .fillable { padding-inline: .5rem !important; }
  #tabs .tab-container button { padding-inline: .45rem !important; font-size: .85rem !important; }
}
.gradio-container { --chart-text: var(--body-text-color); }
/* It is drawn anew with the chart, and the focus on it lost. */
:is(#hardware-plot, #hardware-gpus) .modebar { display: none; }
@media (hover: none) {  /* a finger hovers nowhere: plotly would show its tools always */
  .gradio-container .modebar { display: none; }
}
@media (max-width: 640px) {  /* where Gradio leaves links out, and not what stands between them */
  footer .divider { display: none; }
}
.gradio-container .tab-container button.selected { color: var(--primary-600); }
.dark .gradio-container .tab-container button.selected { color: var(--primary-400); }
.gradio-container input[role=combobox] { text-overflow: ellipsis; padding-right: 1.5rem; }
.gradio-container :is(button.primary, #bench-resume)[aria-disabled=true] { opacity: .5;
  cursor: progress; }
:is(#t2i-pictures, #t2i-history) :is(.caption-label, .caption) { display: none; }
@media (forced-colors: active) {  /* no background is drawn, and what it alone tells is lost */
  .gradio-container button:is(.lg, .md, .sm) { border: 1px solid ButtonText !important; }
  .gradio-container button:is(.lg, .md, .sm):disabled { border-color: GrayText !important; }
  .gradio-container .tab-container button.selected { text-decoration: underline 3px;
    text-underline-offset: .4em; }
  .gradio-container input[type=range] { appearance: auto !important; height: 1rem !important; }
  .progress-line progress { forced-color-adjust: none; outline: 1px solid CanvasText; }
  .progress-line progress, .progress-line progress::-webkit-progress-bar { background: Canvas; }
  .progress-line progress::-webkit-progress-value { background: Highlight; }
  .progress-line progress::-moz-progress-bar { background: Highlight; }
}
#announcer { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
"""

# In the head rather than in `css` and `js`: Gradio adds a scope to the one that the page itself is
# not in, and runs the other some time after the page can be used.
HEAD = f"<style>{STYLE}{FOLLOWS_PAGE}\n</style>\n{SCRIPT}"

# On a phone what comes lies below the button that asks for it.
TO_RESULTS = """
() => {
  const results = document.querySelector("%s");
  if (!results || window.innerWidth >= 700) return;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  results.scrollIntoView(still ? {behavior: "auto", block: "nearest"} : {behavior: "smooth"});
}
"""
TO_PICTURES = TO_RESULTS % "#t2i-pictures"
# A download button downloads what it holds when it is clicked: what is made for a click goes into a
# hidden one, which is clicked then.
DOWNLOAD = """
() => setTimeout(() => document.querySelector("%s").click(), 100)
"""
DOWNLOAD_PICTURES = DOWNLOAD % "#t2i-packed"
DOWNLOAD_TIERS = DOWNLOAD % "#tiers-page"
TO_SPEECH = TO_RESULTS % "#voice-result"


def make_theme() -> gr.themes.Base:
    """Return a calm theme of system fonts: contrasts of 4.5 of words, 3 of focus and tick boxes."""
    theme = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    )
    return theme.set(
        body_text_color_subdued="*neutral_500",
        link_text_color_dark="*secondary_400",
        link_text_color_visited="*secondary_600",
        link_text_color_visited_dark="*secondary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        input_border_color_focus="*primary_600",
        input_border_color_focus_dark="*primary_400",
        input_shadow_focus="0 0 0 1px *primary_600",
        input_shadow_focus_dark="0 0 0 1px *primary_400",
    )


def progress_line(done: int, total: int, label: str) -> str:
    """Return a progress bar as HTML. Made of numbers and our own words only, never a user's."""
    if total < 1:
        return ""
    return f'<progress aria-label="{label}" max="{int(total)}" value="{int(done)}"></progress>'
