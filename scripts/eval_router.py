#!/usr/bin/env python3
"""Measures a classifier directory on everything that was held out of training: the command is router_training.evaluate, in scripts/training."""

import sys
from pathlib import Path

try:
    from router_training.evaluate import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install -e {Path(__file__).resolve().parent / 'training'}")

if __name__ == "__main__":
    main()
