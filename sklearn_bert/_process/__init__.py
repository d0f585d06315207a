"""Services of the process, not of one fit: caches, locks, folders, warnings."""
