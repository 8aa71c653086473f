#!/usr/bin/env python3
"""Starts the load generator in the package beside this file; `--help` tells its options."""

from __future__ import annotations

import sys

from load.cli import main

if __name__ == "__main__":
    sys.exit(main())
