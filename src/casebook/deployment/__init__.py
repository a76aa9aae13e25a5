"""A run, or a network with weights -> a bundle that answers, and proves that it answers as the network did."""
