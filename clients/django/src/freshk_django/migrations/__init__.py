"""The table of FreshK's accounts."""
