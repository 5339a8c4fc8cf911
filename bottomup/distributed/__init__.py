"""A run on many machines: where its results lie, and how Ray spreads its work."""
