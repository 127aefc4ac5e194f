"""`make demo-picture`: what the demo shows, as a picture of a terminal, for light pages and for dark ones."""
