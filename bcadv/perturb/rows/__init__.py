"""The rows of the catalog of attacks, a file per family; none imports torch."""
