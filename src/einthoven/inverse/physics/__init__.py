"""Imaging with cell physics: a wave of excitable cells, seen through a forward operator."""
