"""Exact distances to the decision boundary, which attacks are held against."""
