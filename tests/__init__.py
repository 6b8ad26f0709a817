"""Tests of the whole program; `pictures` makes what they look at."""
