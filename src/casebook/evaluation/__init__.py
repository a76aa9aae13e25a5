"""Runs or saved predictions, and labelled pictures enter; metrics with intervals, comparisons and pages leave."""
