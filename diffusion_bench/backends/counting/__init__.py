"""Count what models cost, from their configurations: no weights, no GPU.

operators.py       one forward pass, operator by operator, on torch's meta device
networks.py        a model's networks and what they are fed
crossing.py        what two cards that share a denoiser hand to each other
fit.py             the counts of a few sizes as exact polynomials
voice_networks.py  the same of voice models, by frames of speech; voices.py counts them
python -m diffusion_bench.backends.counting [MODEL...]     writes tiers/costs.json, voice_costs.json
"""
