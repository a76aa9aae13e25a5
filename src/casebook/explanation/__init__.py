"""A network and a picture enter; what the network saw leaves, as a picture and as numbers."""
