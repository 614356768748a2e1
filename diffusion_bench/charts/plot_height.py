"""The script that keeps charts equally high, however many rows a page's width makes of a legend.

A figure has one height for a phone and for a desk. Its legend takes what it needs there, and the
plot would have the rest: 800 pixels under a legend that is long on a phone. What a figure wants for
its plot stands in its layout's `meta`; figures without it stay as they are.
"""

from __future__ import annotations

# What is drawn is told by the changes that it makes to the page, as Gradio draws charts anew and
# forgets who listened to them. Before plotly fits a chart to a narrower window it gets its whole
# height back, which plotly reads off the element: a legend without room is an error there.
KEEPS_HEIGHT = """<script>
(() => {
  const charts = () => [...document.querySelectorAll(".js-plotly-plot")].filter((chart) =>
    chart.offsetParent && chart._fullLayout && chart._fullLayout._size
    && chart.layout.meta && chart.layout.meta.plot_px);
  const stretch = (chart, height) => {
    const around = chart.parentElement;  // has a height in plotly's own files
    chart.style.height = `${height}px`;
    if (around.style.height) around.style.height = `${height}px`;
  };
  let waiting = 0;
  const keep = () => {
    waiting = 0;
    for (const chart of charts()) {
      const drawn = chart._fullLayout;
      const height = Math.round(drawn.height - drawn._size.h + chart.layout.meta.plot_px);
      if (Math.abs(height - drawn.height) <= 1) continue;
      stretch(chart, height);
      Plotly.relayout(chart, {height, autosize: true});
    }
  };
  const soon = () => { waiting = waiting || setTimeout(keep, 150); };
  new MutationObserver(soon).observe(document, {subtree: true, childList: true});
  addEventListener("resize", () => {
    for (const chart of charts())
      if (chart.clientWidth !== chart._fullLayout.width) stretch(chart, chart.layout.meta.whole_px);
    soon();
  });
})();
</script>"""
