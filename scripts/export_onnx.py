#!/usr/bin/env python3
"""Turns a ModernBERT checkpoint into a classifier directory. Runs router_training.export of scripts/training."""

import sys
from pathlib import Path

try:
    from router_training.export import main
except ModuleNotFoundError as missing:
    sys.exit(f"{missing.name} is not installed: pip install -e {Path(__file__).resolve().parent / 'training'}")

if __name__ == "__main__":
    main()
