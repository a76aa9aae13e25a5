"""A network enters and a Keras model leaves; the weights of Keras Applications enter and a network has them."""
