"""Comparing methods of pose estimation: their accuracy, their cost, and what makes them fail."""
