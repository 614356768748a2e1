"""An inaudible keyed mark in speech, and the test for it.

    samples > spectrum of 16 ms frames > every tile a little louder or softer, by the key > samples
    samples > level of every tile against its neighbours > agreement with the key > Detection

A tile is 8 ms by 125 Hz, between 219 and 3969 Hz. A key gives each tile of a 2 s pattern a sign,
the pattern repeats, and the mark multiplies a tile by 0.4 to 1 dB up or down: spread spectrum
(Cox et al., 1997, "Secure Spread Spectrum Watermarking for Multimedia") on log magnitudes. Speech
itself changes slowly from one tile to the next, compared with tiles this short; what is left after
the neighbours in time are subtracted is mostly the mark. The detector knows neither where a cut
began nor the sample rate of the original, and tries all 500 offsets.

How sure it is. With signs s and evidence y that does not depend on them, S = sum(s y) / |y| has
P(S > t) <= exp(-t**2 / 2) over the keys (Hoeffding, 1963), whatever the sound: no model of speech
is assumed. `Detection.p_value` is this bound times the number of offsets and windows tried.

What it does not do. It marks, it does not prove: the key lies in this repository, so anybody can
take the mark out, or put it on the speech of people. Played 1 percent faster it is lost; a mel
spectrogram and a vocoder leave little of it. Noise of 10 dB hides it in some files, and less than
2 s may be too short.
`benchmarks/self/watermark_robustness.py` has the figures.

pattern.py   the key's signs, and where in time and frequency they lie
marking.py   puts the mark on sound, whole or in pieces
search.py    looks for it
"""
