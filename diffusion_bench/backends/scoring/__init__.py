"""Judges of pictures: how well they fit their captions, how far they are from others, how varied.

The bundled scorer knows the words of the bundled image model; any CLIP of the hub gives the same
columns for other models.
"""
