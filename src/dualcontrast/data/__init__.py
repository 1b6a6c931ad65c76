"""Images of any format behind one interface, and what rides along with them."""
