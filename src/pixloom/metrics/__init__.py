"""How good a translation is: paired measures, learnt distances, distances between sets, colour. Data-free, on tensors in [-1, 1]."""
