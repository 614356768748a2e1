"""The bundled voice model: networks of our own in diffusers' folder format.

speaker.py      a recording > the speaker's embedding
prior.py        phones > durations, pitch and a mean mel spectrogram, aligned
unet.py         the U-Net that denoises what the mean lacks
vocoder.py      mel spectrogram > magnitudes and pitch > sound
blocks.py       what they are made of
"""
