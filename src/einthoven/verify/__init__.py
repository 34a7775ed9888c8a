"""Exact solutions, shared by tests, documentation and benchmarks."""
