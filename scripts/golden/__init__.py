"""Golden numbers of the reference implementation, beside those that `bottomup` computes.

`comparison` says what a case and a deviation are, and reads the files. `network`, `maps`, `people`
and `training` list and compare the cases of the families. `families` runs them.
"""
