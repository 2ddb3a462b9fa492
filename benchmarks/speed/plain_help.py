"""The help of a plain script that imports what it works with at the top, as scripts do.

python -m benchmarks.speed.plain_help --help
"""

from __future__ import annotations

import argparse

import numpy as np  # noqa: F401
import torch  # noqa: F401
from PIL import Image  # noqa: F401

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights")
    parser.add_argument("folder")
    parser.add_argument("out")
    parser.parse_args()
