"""Results in the formats that other programs read: STAR, MRC, ChimeraX scripts."""
