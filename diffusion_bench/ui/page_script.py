"""The page's own script: its keys, and what Gradio's parts lack for a keyboard and an ear."""

from __future__ import annotations

# Ctrl+Enter (Command+Enter on a Mac) draws or speaks, from any field of the tab that is open. Small
# pictures are shown with their pixels. A box of words is disabled by Gradio, so that no key reaches
# it, and where it has a Copy button its label is that button's: it is made one that can be read,
# and the label its own. `announce` says words in a place that screen readers listen to. While the
# work of a button goes on, Gradio takes no second click and does not say so: the button's looks do.
# How far it is stands in the window's title, and that it has ended, until somebody looks.
SCRIPT = """<script>
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  const buttons = [...document.querySelectorAll("#t2i-generate, #voice-speak")];
  const button = buttons.find((one) => one.offsetParent !== null);
  if (!button) return;
  event.preventDefault();
  const field = document.activeElement;
  if (field) field.blur();  // a number counts when it is left
  const isList = field && field.getAttribute("role") === "combobox";  // it opens when it is entered
  (field && field !== document.body && !isList ? field : button).focus({preventScroll: true});
  setTimeout(() => button.click(), 50);
}, true);
document.addEventListener("load", (event) => {
  const picture = event.target;
  if (!(picture instanceof HTMLImageElement) || !picture.closest("#t2i-pictures")) return;
  picture.style.imageRendering = picture.naturalWidth <= 160 ? "pixelated" : "auto";
}, true);
document.addEventListener("beforeinput", (event) => {
  const field = event.target;
  if (!event.data?.includes(",") || field.type !== "number" || field.step % 1 === 0) return;
  if ((1.5).toLocaleString().includes(",")) return;
  event.preventDefault();
  document.execCommand("insertText", false, event.data.replace(",", "."));
}, true);
const ear = document.createElement("div");
ear.id = "announcer";
ear.setAttribute("role", "status");
function announce(words) {
  ear.textContent = "";  // the same words again are said again
  setTimeout(() => { ear.textContent = words; }, 100);
}
const primaries = "button.primary[id], #bench-resume";
const isAtWork = (button) => {
  const lines = [...document.querySelectorAll(".progress-line")]
    .filter((line) => button.id.startsWith(line.id.replace(/progress$/, "")))
    .sort((one, other) => other.id.length - one.id.length);
  const bar = lines[0]?.querySelector("progress");
  return Boolean(bar && bar.value < bar.max);
};
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element && event.target.closest(primaries);
  if (button && isAtWork(button))
    announce("What was asked for before is still at work. Cancel ends it.");
}, true);
let title = "";  // the page's own
let isWorking = false;
function entitle() {
  const bars = [...document.querySelectorAll(".progress-line progress")];
  const bar = bars.find((one) => one.value < one.max);
  if (bar) title ||= document.title;
  const before = bar ? `${Math.floor(100 * bar.value / bar.max)} % · ` : "";
  if (isWorking && !bar && document.hidden) document.title = `Ended · ${title}`;
  // The same words again would be a change of the page, which calls this.
  else if ((bar || isWorking) && document.title !== before + title) document.title = before + title;
  isWorking = Boolean(bar);
}
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !isWorking && title) document.title = title;
});
new MutationObserver(() => {
  entitle();
  for (const button of document.querySelectorAll(primaries))
    button.setAttribute("aria-disabled", isAtWork(button));
  if (document.body && !ear.isConnected) document.body.append(ear);
  for (const box of document.querySelectorAll(".readout :is(textarea, input):disabled")) {
    box.readOnly = true;
    box.disabled = false;
    const label = box.closest("label");
    if (!label || !label.querySelector("button")) continue;
    box.id = `${box.closest(".readout").id}-words`;
    label.htmlFor = box.id;
    const title = label.querySelector("[data-testid=block-info]");
    box.setAttribute("aria-label", title.textContent.trim());
  }
}).observe(document, {subtree: true, childList: true, attributeFilter: ["disabled", "value"]});
</script>"""
