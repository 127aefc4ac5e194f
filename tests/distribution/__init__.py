"""Bundles that travel: sources and destinations, good ones and those that lie, real and made up."""
