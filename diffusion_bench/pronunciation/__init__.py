"""From English text to phones: sentences, numbers and abbreviations, a lexicon, unknown words."""
