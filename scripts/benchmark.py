"""Measure what the framework costs: python scripts/benchmark.py [PART ...]."""

from gdm.cli.benchmark import benchmark

if __name__ == "__main__":
    benchmark()
