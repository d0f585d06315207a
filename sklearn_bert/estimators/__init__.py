"""The estimators: one public class per file, and what only they share."""
