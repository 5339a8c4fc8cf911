"""Weights files and what they say of themselves: names and files to networks, and back."""
