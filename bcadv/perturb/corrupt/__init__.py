"""Corruptions: what happens to images without anybody's intent, at severities from 1 to 5."""
