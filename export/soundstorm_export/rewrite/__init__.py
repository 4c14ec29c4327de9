"""Rewrites of graphs: simplification, CPU forms, 16 and 8 bits."""
