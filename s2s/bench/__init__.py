"""How fast s2s is on this machine: matrix products, training, decoding, preparing, starting."""
