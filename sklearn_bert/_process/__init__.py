"""What belongs to the process, not to a fit: caches, locks, folders, warnings."""
