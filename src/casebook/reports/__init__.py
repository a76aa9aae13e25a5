"""Results enter; the pages, charts and pictures that people look at leave."""
