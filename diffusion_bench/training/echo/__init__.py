"""How the bundled voice model was made.

sentences > flite, espeak (aligned speech) > world (new speakers) > corpus > acoustic, vocoder
"""
