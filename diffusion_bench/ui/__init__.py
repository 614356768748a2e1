"""The web app. Gradio is imported in this folder only, and nothing heavier before the first page.

launch.py       the server: address, password, share link, the end; own_folder.py  its files
build.py        the page: its tabs            style.py       theme, CSS, keys
text_to_image   the tab; pictures/  its fields, and what it does; asked.py  fields to a request
voice_cloning   the tab; voice/  the same
how_it_works    the tab; looking.py, looks.py, speech_looking.py
benchmark       the tab; sweeping.py, plans.py
reports         the tab; report_files.py, figures.py
tiers           the tab; upgrades.py, tier_fields.py
hardware        the tab and what it shows
jobs.py         work in a thread that ends with its watcher; waiting_line.py  its turn on the device
                visitors.py  who asks, on a shared app
outbox.py       files on their way to a browser; uploads.py  files that came from one
                upkeep.py  both a day later   intake.py, logins.py  what guests may send
complaints.py   a mistake in one line
"""
