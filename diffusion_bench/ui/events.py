"""How the page's events are wired, besides what they do."""

from __future__ import annotations

from typing import Any

# Shows no spinner and is no part of the app's programming interface.
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Answered at once, beside the queue.
HIDDEN: dict[str, Any] = {**QUIET, "queue": False}
# Says something in the page's corner: Gradio carries that in its queue only.
TELLING: dict[str, Any] = {**QUIET, "concurrency_limit": None}
