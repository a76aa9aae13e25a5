"""Data and a network go in; a run folder with trained weights, its recipe and its history comes out."""
