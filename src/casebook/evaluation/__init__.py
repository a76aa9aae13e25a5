"""Probabilities and true labels enter; metrics with their intervals and a self-contained report leave."""
