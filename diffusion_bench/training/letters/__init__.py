"""How the lexicon was packed, and how the net that says words outside it was made."""
