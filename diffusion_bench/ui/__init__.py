"""The web app. Gradio is imported in this folder only, and nothing heavier before the first page.

launch.py       the server: address, password, share link, the end; own_folder.py  its files
build.py        the page: its tabs            style.py       theme, CSS, keys
text_to_image   the tab; picture_fields.py, picture_results.py, comparison_panel.py  its parts
                drawing.py, comparing.py      what it does; asked.py, restoring.py  fields and back
voice_cloning   the tab; voice_fields.py, voice_listening.py  its parts
                speaking.py                   what it does; voice_restoring.py  fields back
benchmark       the tab; sweeping.py, plans.py
reports         the tab; report_files.py, figures.py
hardware        the tab and what it shows
jobs.py         work in a thread that ends with its watcher; waiting_line.py  its turn on the device
                visitors.py  who asks, on a shared app
outbox.py       files on their way to a browser; uploads.py  files that came from one
                upkeep.py  both a day later   intake.py, logins.py  what guests may send
complaints.py   a mistake in one line
"""
