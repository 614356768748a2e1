"""The web app. Gradio is imported in this folder only, and nothing heavier before the first page.

launch.py       the server: address, password, share link, the end
build.py        the page: its tabs            style.py       theme, CSS, keys
text_to_image   the tab; drawing.py           what it does
benchmark       the tab; sweeping.py, plans.py
reports         the tab; report_files.py, figures.py
hardware        the tab and what it shows
jobs.py         work in a thread that ends with its watcher
outbox.py       files on their way to a browser
complaints.py   a mistake in one line
"""
