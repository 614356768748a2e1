"""Voice cloning models behind one interface.

base.py         what a model is asked and what it gives back
catalog.py      models by name, folder or hub id; describe.py says what each needs
synthesis.py    a text of any length: cut, spoken, joined, timed
voices.py       voices by name: bundled samples, and those the user saved
voice_files.py  the file of a saved voice
recipes.py      speech on disk with what made it; ranking.py puts candidates in order
measuring.py    a candidate against its text and reference; judges.py: the same with weights
vocoders.py     HiFi-GAN, UnivNet and Vocos beside the models' own
pocket_tts.py vibevoice.py longcat.py csm.py dia.py speecht5.py     the hub's models, a file each
"""
