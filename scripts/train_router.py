#!/usr/bin/env python3
"""Trains the router model. Runs router_training.train of scripts/training."""

import sys
from pathlib import Path

try:
    from router_training.train import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install -e {Path(__file__).resolve().parent / 'training'}")

if __name__ == "__main__":
    main()
