"""Where images come from: a module per source, with its settings and its own words."""
