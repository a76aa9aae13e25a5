"""A policy and pictures enter; augmented pictures leave, the same for the same seed."""
