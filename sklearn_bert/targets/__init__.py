"""y as a net learns it: labels, numbers, tags, views, and the validation split."""
