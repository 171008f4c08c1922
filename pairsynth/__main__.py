"""`python -m pairsynth`: the same as `pairsynth`."""

from pairsynth.cli import app

app(prog_name="pairsynth")
