"""Learned ECG: random sheets of tissue, what they show, and what predicts their ECG without simulating it."""
