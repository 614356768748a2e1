PYTHON ?= python

.PHONY: check fix smoke train-image train-voice

check: ; ruff format --check && ruff check && mypy && $(PYTHON) -m pytest
fix: ; ruff format && ruff check --fix
smoke: ; $(PYTHON) -m diffusion_bench generate "a cat on a blue background" --steps 5 --out smoke.png
train-image: ; $(PYTHON) -m diffusion_bench.training.picturebook --out diffusion_bench/models/picturebook
train-voice: ; $(PYTHON) -m diffusion_bench.training.echo --out diffusion_bench/models/echo
