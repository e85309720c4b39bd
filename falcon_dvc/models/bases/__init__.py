"""Features in any basis: directions, fitted components and sparse autoencoders on the activations of a layer."""
