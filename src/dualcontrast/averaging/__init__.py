"""Laying the particles of a class over each other, with no template: how they lie, averages, states."""
