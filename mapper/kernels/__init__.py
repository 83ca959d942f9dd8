"""Operators to loop bodies: what one iteration of a nest does on an array target."""
