"""Stands in for torchvision where it is not installed: the few transforms that the peer's data sets use."""
