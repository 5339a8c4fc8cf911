"""Drawn crowds with exact labels: poses, bodies, backgrounds, and the crowd itself."""
