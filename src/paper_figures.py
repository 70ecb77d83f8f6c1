"""Draws Figs. 3 and 4 of the paper: `python -m src.paper_figures STUDY/trials/TRIAL`."""

import sys

from src import environment

if __name__ == "__main__":
    environment.configure_jax()
    environment.silence_orbax()
    from src.trained.report import main

    sys.exit(main(sys.argv[1:]))
