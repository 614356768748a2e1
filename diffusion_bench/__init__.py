"""Diffusion Bench: try, see, measure and compare diffusion models on your own machine.

The layer line. A file imports only from names to the right of its own; `|` parts siblings, which
do not import each other. `tests/test_architecture.py` reads every import, lazy ones included.

    cli > ui > charts | bench | training > backends > models | reports | hardware | tiers
        > diffusion | audio | pronunciation > whole_file > records
"""

__version__ = "0.1.0"
