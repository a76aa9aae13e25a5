"""A layer or network enters; its parameters, operations, receptive field, memory and latency leave."""
