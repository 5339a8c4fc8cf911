"""Networks: trunks, heads, their assembly and their weights."""
