"""Small models of the families that people export, in PyTorch with random weights; benchmarks/exporters.py writes them.

One file per kind. Each has `MINIS`, a table from a name to a function that builds the module and its example inputs.
Sizes are small enough that a whole model is simulated on values in seconds; structure is that of the original.
"""

from __future__ import annotations

from . import cached, language, recurrent, speech, vision
from .mini import Mini

__all__ = ["MINIS", "Mini"]

MINIS = {**vision.MINIS, **language.MINIS, **cached.MINIS, **speech.MINIS, **recurrent.MINIS}
