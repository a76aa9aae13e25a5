"""A layer, a stack or a network enters; its weights, multiplications, additions and receptive field leave."""
