"""Run the command line: `python -m diffusion_bench`."""

from diffusion_bench.cli import main

if __name__ == "__main__":
    main()
