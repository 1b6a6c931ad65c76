"""DualContrast (Uddin & Xu), section 3 of the paper."""
