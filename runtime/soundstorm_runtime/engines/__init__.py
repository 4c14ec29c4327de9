"""Engines that run one graph: the table of graphs, the base class, and what engines share."""
