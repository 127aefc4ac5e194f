"""Policy as bundles that travel: published, fetched, admitted, kept, put in force."""
