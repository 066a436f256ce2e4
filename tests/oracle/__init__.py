"""Recorded outputs of the reference implementation, and the program that compares ours with them."""
