"""Optima of small instances by trying everything, written from the rules alone: nothing of a backend or the checker."""
