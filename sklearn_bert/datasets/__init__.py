"""A small labelled set of texts, bundled with the package."""

from sklearn_bert.datasets._support_tickets import load_support_tickets

__all__ = ["load_support_tickets"]
