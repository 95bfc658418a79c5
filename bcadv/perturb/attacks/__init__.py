"""One short file per attack; its row in the catalog says the rest."""
