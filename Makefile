PYTHON ?= python

.PHONY: check fix smoke train-image train-voice

check: ; ruff format --check && ruff check && mypy && $(PYTHON) -m pytest
fix: ; ruff format && ruff check --fix
smoke: ; $(PYTHON) -m diffusion_bench generate "a cat on a blue background" --steps 5 --out smoke.png
train-image: ; $(PYTHON) -m diffusion_bench.training.pictogram --work build/pictogram --out diffusion_bench/models/pictogram
train-voice: ; @echo "there is no voice model yet; see CHANGELOG.md" >&2; exit 1
