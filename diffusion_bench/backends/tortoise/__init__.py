"""Tortoise TTS: transformers' CLVP and UnivNet around a diffusion decoder of our own.

pipeline.py       the voice model: voice in, text in, speech out
weights.py        where the pieces come from
conditioning.py   a recording becomes the two latents of its voice
latents.py        text becomes codes, the best are kept, codes become latents
decoder.py        the diffusion decoder, with the names and shapes of the original's tensors
sampling.py       latents become a mel spectrogram, by DDPM or DDIM
vocoder.py        a mel spectrogram becomes sound

James Betker, "Better speech synthesis through scaling", 2023, arXiv 2305.07243.
"""
