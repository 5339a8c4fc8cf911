"""From names and files to networks and back, and the bundled files themselves."""
