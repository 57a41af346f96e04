#!/usr/bin/env python3
"""Measures a classifier directory on data that was held out of training. Runs router_training.evaluate of scripts/training."""

import sys
from pathlib import Path

try:
    from router_training.evaluate import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install -e {Path(__file__).resolve().parent / 'training'}")

if __name__ == "__main__":
    main()
