"""Sound: recordings, spectrograms, measures of speech, vocoders, the watermark."""
